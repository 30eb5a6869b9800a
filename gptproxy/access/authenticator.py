"""
From a request's headers to the caller.

May import the access, config and wire rooms and Twisted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from gptproxy.access.caller import Caller
from gptproxy.access.credential import credential_in, is_never_a_key
from gptproxy.access.gitlab import GitLab
from gptproxy.access.invalid_limit import InvalidTokens
from gptproxy.access.outage import Outage
from gptproxy.access.reading import Reading
from gptproxy.access.refusals import GitLabAway, invalid_credential, too_many_invalid
from gptproxy.access.user_tokens import UserTokens
from gptproxy.access.verdicts import Digest, Digester, Verdict, VerdictCache
from gptproxy.config import (
    AllowSettings,
    GitLabSettings,
    MalformedAzureKey,
    Secret,
    UserTokenSettings,
    parse_azure_key,
)
from gptproxy.figures import NOBODY, Figures
from gptproxy.http import OwnCalls
from gptproxy.http.single_flight import SingleFlight
from gptproxy.wire import Refusal

__all__ = ["Authenticator", "Stranger"]


@frozen
class Stranger:
    """
    A credential that nothing is known about.

    :param digest: its own.
    :param credential: the whole of it.
    """

    digest: Digest = field(repr=False)
    credential: Secret


class Authenticator:
    """
    Judges credentials, each kind in its turn.

    :param user_tokens: the operator's own.
    :param gitlab: who is asked about all others; None where there is none.
    :param calls: makes the calls to it.
    :param pure_proxy: a bearer may carry the caller's own Azure key.
    :param clock: wall-clock time, for the verdicts' age: tokens end on dates.
    :param other_rules: those that :meth:`may_read` will be asked about: they are looked up along with ``gitlab.allow``,
        while the caller's own token is at hand. About others the service token has to tell.
    :param figures: told of verdicts, and whether they were at hand.
    :param before: that of a configuration which is given up. Callers whom it knew are known, where the same GitLab is
        asked the same about them; whoever was refused is asked about anew.
    """

    def __init__(
        self,
        *,
        user_tokens: Iterable[UserTokenSettings],
        gitlab: GitLabSettings | None,
        calls: OwnCalls,
        pure_proxy: bool,
        clock: IReactorTime,
        other_rules: Iterable[AllowSettings] = (),
        figures: Figures = NOBODY,
        before: Authenticator | None = None,
    ) -> None:
        self._figures = figures
        self._digester: Digester = before._digester if before is not None else Digester()
        self._user_tokens = UserTokens(user_tokens, self._digester)
        self._pure_proxy = pure_proxy
        self._clock = clock
        rules = tuple(other_rules)
        self._asked_about = (gitlab, rules)
        self._gitlab: GitLab | None = None
        self._reading: Reading | None = None
        self._verdicts = VerdictCache(0, 0, 0)
        if gitlab is not None:
            self._gitlab = GitLab(gitlab, calls, clock, rules)
            self._reading = Reading(self._gitlab, gitlab, clock)
            self._verdicts = VerdictCache(
                gitlab.cache_size,
                gitlab.cache_seconds,
                gitlab.refused_seconds,
                gitlab.grace_seconds,
            )
        self._outage = Outage()
        self._invalid = InvalidTokens()
        self._asking: SingleFlight[Digest, Verdict] = SingleFlight()
        if before is not None:
            self._take_over(before)

    def _take_over(self, before: Authenticator) -> None:
        self._invalid = before._invalid
        if self._asked_about != before._asked_about:
            return
        self._gitlab, self._reading = before._gitlab, before._reading
        self._verdicts, self._outage = before._verdicts, before._outage
        self._asking = before._asking
        self._verdicts.forget_refusals()

    async def caller(self, fields: Iterable[tuple[bytes, bytes]], address: str = "") -> Caller:
        """
        :param fields: a request's field lines, names in lower case.
        :param address: the client's, as text; empty where it is not known.
        :return: who is calling.
        :raise Refusal: the credential is missing, malformed or refused; 503 when GitLab cannot be asked.
        """
        found = self.look_up(fields)
        return found if isinstance(found, Caller) else await self.ask_about(found, address)

    def look_up(self, fields: Iterable[tuple[bytes, bytes]]) -> Caller | Stranger:
        """
        :param fields: a request's field lines, names in lower case.
        :return: who is calling, as nearly always; else what :meth:`ask_about` is to be asked about.
        :raise Refusal: the credential is missing, malformed or known to be refused.
        """
        credential = credential_in(fields)
        own = _own_azure_key(credential) if self._pure_proxy else None
        if isinstance(own, Caller):
            return own
        digest = self._digester.digest(credential)
        # Only what GitLab said stands there, so a known caller of GitLab's need not be looked for elsewhere.
        verdict = self._verdicts.get(digest, self._clock.seconds())
        if verdict is None:
            # In a slip of the former's form there may be an Azure key too: GitLab is not to see that.
            verdict = self._user_tokens.caller(digest) or own
        if verdict is None:
            self._figures.count("cache_lookups", "verdicts", "miss")
            return Stranger(digest, credential)
        self._figures.count("cache_lookups", "verdicts", "hit")
        return _let_in(verdict)

    async def ask_about(self, stranger: Stranger, address: str = "") -> Caller:
        """
        :param stranger: from :meth:`look_up`.
        :param address: the client's, as text; empty where it is not known.
        :return: who is calling.
        :raise Refusal: the credential is refused; 503 when GitLab cannot be asked.
        """
        return _let_in(await self._unknown(stranger.digest, stranger.credential, address))

    def gitlab_away_seconds(self) -> float | None:
        """:return: for how long GitLab has not answered; None while it does, or nobody asked, or there is none."""
        since = self._outage.since
        return None if since is None else max(0.0, self._clock.seconds() - since)

    def known_callers(self) -> int:
        """:return: verdicts that are kept."""
        return len(self._verdicts)

    async def may_read(self, caller: Caller, rules: Sequence[AllowSettings]) -> bool:
        """
        :param caller: somebody who came in.
        :param rules: who may read something; none: everybody.
        :return: whether one of the rules is about the caller. What GitLab does not tell, or cannot now, is no.
        """
        if self._reading is None:
            return not rules
        return await self._reading.allowed(caller, rules)

    async def _unknown(self, digest: Digest, credential: Secret, address: str) -> Verdict:
        """:return: the verdict about what nothing is known of any more, or never was."""
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
        if is_never_a_key(credential):
            return invalid_credential(
                "Incorrect API key provided: tokens of this kind are no key; give a personal access token of GitLab's, "
                "or in CI an id_token."
            )
        now = self._clock.seconds()
        caller = self._verdicts.welcome(digest, now)
        if caller is None:
            pause = self._outage.pause(digest, now)
            if pause:
                raise GitLabAway(
                    "GitLab asked to be left alone about this token", retry_after=pause
                )
            # It is looked at again when it comes to it; here it takes half the time, and they come by the thousand.
            if digest not in self._asking and (wait := self._invalid.wait(address, now)):
                raise too_many_invalid(wait)
        elif self._outage.spares(digest, now):
            return caller
        try:
            return await self._asking.join(
                digest, lambda: self._ask(gitlab, digest, credential, address)
            )
        except GitLabAway as away:
            # Again: what is known may have been forgotten meanwhile.
            caller = self._verdicts.welcome(digest, self._clock.seconds())
            if caller is None:
                raise away.again() from None
            return caller

    async def _ask(
        self, gitlab: GitLab, digest: Digest, credential: Secret, address: str
    ) -> Verdict:
        since = self._clock.seconds()
        was_good = self._verdicts.welcome(digest, since) is not None

        def look() -> None:
            wait = self._invalid.wait(address, self._clock.seconds())
            if wait and not was_good:
                raise too_many_invalid(wait)

        try:
            judgement = await gitlab.judge(credential, self._verdicts.facts(digest), look)
        except GitLabAway as away:
            now = self._clock.seconds()
            self._outage.met(digest, away, now)
            self._figures.count("gitlab_verdicts", "away")
            self._figures.observe("gitlab_seconds", max(0.0, now - since))
            raise
        refused = isinstance(judgement.verdict, Refusal)
        self._figures.count("gitlab_verdicts", "refused" if refused else "known")
        if not judgement.offline:
            self._outage.answered()
            self._figures.observe("gitlab_seconds", max(0.0, self._clock.seconds() - since))
        self._verdicts.put(digest, judgement, since)
        verdict = judgement.verdict
        if isinstance(verdict, Refusal) and verdict.status == 401:
            self._invalid.sent(address, self._clock.seconds())
        return verdict


def _let_in(verdict: Verdict) -> Caller:
    if isinstance(verdict, Refusal):
        # A known refusal is raised again and again: a new one each time, or its traceback grows.
        raise verdict.again()
    return verdict


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
