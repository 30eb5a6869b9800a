"""
From a request's headers to the caller.

May import the access, config and wire rooms and Twisted.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from gptproxy.access.caller import Caller
from gptproxy.access.credential import credential_in, invalid_credential
from gptproxy.access.gitlab import GitLab
from gptproxy.access.single_flight import SingleFlight
from gptproxy.access.user_tokens import UserTokens
from gptproxy.access.verdicts import Digest, Digester, Verdict, VerdictCache
from gptproxy.config import MalformedAzureKey, Secret, parse_azure_key
from gptproxy.wire import Refusal

__all__ = ["Authenticator"]


class Authenticator:
    """
    Judges credentials, each kind in its turn.

    :param user_tokens: the operator's own.
    :param gitlab: who is asked about all others; None where there is none.
    :param verdicts: what GitLab said lately.
    :param digester: the same that ``user_tokens`` was made with.
    :param pure_proxy: a bearer may carry the caller's own Azure key.
    :param clock: for the verdicts' age.
    """

    def __init__(
        self,
        *,
        user_tokens: UserTokens,
        gitlab: GitLab | None,
        verdicts: VerdictCache,
        digester: Digester,
        pure_proxy: bool,
        clock: IReactorTime,
    ) -> None:
        self._user_tokens = user_tokens
        self._gitlab = gitlab
        self._verdicts = verdicts
        self._digester = digester
        self._pure_proxy = pure_proxy
        self._clock = clock
        self._asking: SingleFlight[Digest, Verdict] = SingleFlight()

    async def caller(self, fields: Iterable[tuple[bytes, bytes]]) -> Caller:
        """
        :param fields: a request's field lines, names in lower case.
        :return: who is calling.
        :raise Refusal: the credential is missing, malformed or refused; 503 when GitLab cannot be asked.
        """
        credential = credential_in(fields)
        own = _own_azure_key(credential) if self._pure_proxy else None
        if isinstance(own, Caller):
            return own
        digest = self._digester.digest(credential)
        known = self._user_tokens.caller(digest)
        if known is not None:
            return known
        if own is not None:
            # A slip in it, but there may be an Azure key in it too: GitLab is not to see that.
            raise own
        verdict = self._verdicts.get(digest, self._clock.seconds())
        if verdict is None:
            verdict = await self._ask_gitlab(digest, credential)
        if isinstance(verdict, Refusal):
            # A cached refusal is raised again and again: a new one each time, or its traceback grows.
            raise verdict.again()
        return verdict

    async def _ask_gitlab(self, digest: Digest, credential: Secret) -> Verdict:
        gitlab = self._gitlab
        if gitlab is None:
            return invalid_credential(
                "Incorrect API key provided: it is not one of this gateway's tokens."
            )
        if "|" in credential.reveal():
            # In none of GitLab's tokens, but in each of the pure proxy's: the key in it is not for GitLab to see.
            return invalid_credential(
                "Incorrect API key provided: this gateway takes no Azure key; give your GitLab token as the API key."
            )

        async def ask() -> Verdict:
            since = self._clock.seconds()
            verdict = await gitlab.verdict(credential)
            self._verdicts.put(digest, verdict, since)
            return verdict

        return await self._asking.join(digest, ask)


def _own_azure_key(credential: Secret) -> Verdict | None:
    """:return: the verdict about the pure proxy's bearer; None where the credential is something else."""
    text = credential.reveal()
    if ":" not in text:
        return None
    try:
        key = parse_azure_key(text)
    except MalformedAzureKey as malformed:
        return invalid_credential(
            f"The key is not of the form RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]: {malformed}."
        )
    return Caller("azure_key", key.resource, key)
