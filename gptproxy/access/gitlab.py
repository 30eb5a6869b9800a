"""
GitLab, asked who a token belongs to and whether they may come in.

May import the access, HTTP, config and wire rooms and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from attrs import evolve
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptproxy.access.caller import Caller, Identity
from gptproxy.access.credential import JobSecret
from gptproxy.access.gitlab_answers import (
    NARROW,
    account_refused,
    is_narrow,
    read_facts,
    read_job,
    read_oauth_facts,
    read_user,
    refused,
)
from gptproxy.access.gitlab_api import GitLabAPI
from gptproxy.access.id_token import NOT_SIGNED, key_id, looks_like_id_token, read_id_token
from gptproxy.access.membership import Memberships, Standing
from gptproxy.access.refusals import GitLabAway, forbidden, invalid_credential
from gptproxy.access.signing_keys import SigningKeys
from gptproxy.access.slots import Slots
from gptproxy.access.verdicts import Judgement, TokenFacts
from gptproxy.config import ACCESS_LEVELS, AllowSettings, GitLabSettings, Secret
from gptproxy.http import OwnCalls
from gptproxy.wire import Refusal

__all__ = ["JOB_SECONDS", "VERDICT_SECONDS", "GitLab"]

VERDICT_SECONDS = 15.0
"""How long a verdict may take when it needs several calls, each of which has its own bound."""

JOB_SECONDS = 60.0
"""How long a job token is good without asking: it dies with its job."""

_PLACES_NAMED = 3

_Result = TypeVar("_Result")

_NO_SELF = frozenset((400, 404))
_NO_JOB = frozenset((404,))


class GitLab:
    """
    :param settings: which GitLab, and whom it lets in.
    :param calls: makes the calls.
    :param clock: for what ends in time.
    :param other_rules: rules of other rooms (who may read a collection, say): they are looked up along with
        ``settings.allow``, while the caller's own token is at hand.
    """

    def __init__(
        self,
        settings: GitLabSettings,
        calls: OwnCalls,
        clock: IReactorTime,
        other_rules: Iterable[AllowSettings] = (),
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.rules: tuple[AllowSettings, ...] = tuple(
            dict.fromkeys((*settings.allow, *other_rules))
        )
        self._api = GitLabAPI(settings.url, calls)
        self._slots = Slots(clock)
        self._memberships = Memberships(self._api, settings.service_token)
        self._keys = SigningKeys(self._api, self._slots, clock)

    async def judge(
        self, token: Secret, facts: TokenFacts | None, look: Callable[[], None]
    ) -> Judgement:
        """
        Find out whose token it is, and whether they may come in.

        :param token: a credential; nothing that could be somebody else's secret.
        :param facts: what is known of it from before.
        :param look: is called when it comes to it; raises where it should not.
        :return: the verdict.
        :raise GitLabAway: none could be had.
        """
        if self._settings.audience and looks_like_id_token(token.reveal()):
            look()
            return evolve(await self._id_token(token.reveal()), offline=True)

        async def asked() -> Judgement:
            look()
            return await self._asked(token, facts)

        return await self._in_time(lambda: self._slots.run(asked))

    async def standing(self, identity: Identity, rules: Sequence[AllowSettings]) -> Standing:
        """
        :param identity: of a caller.
        :param rules: what is to be known.
        :return: which of them are about the caller, as far as it can be known without their token.
        :raise GitLabAway: there was no answer.
        """
        return await self._in_time(
            lambda: self._slots.run(lambda: self._memberships.standing(identity, rules, None))
        )

    async def _in_time(self, call: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        everything = Deferred.fromCoroutine(call())
        everything.addTimeout(VERDICT_SECONDS, self._clock)
        try:
            return await everything
        except defer.TimeoutError:
            raise GitLabAway(f"GitLab gave no verdict in {VERDICT_SECONDS:g} s") from None

    # CI id_tokens

    async def _id_token(self, text: str) -> Judgement:
        kid = key_id(text)
        key = None if kid is None else await self._keys.key(kid)
        if key is None:
            return Judgement(invalid_credential(NOT_SIGNED))
        read = read_id_token(
            text,
            key,
            issuer=self._settings.url,
            audience=self._settings.audience,
            now=self._clock.seconds(),
        )
        if isinstance(read, Refusal):
            return Judgement(read)
        identity, ends = read.identity, read.ends
        if not self.rules:
            return Judgement(Caller("gitlab", identity.username, identity=identity), ends)
        standing = await self.standing(identity, self.rules)
        return self._admitted(identity, standing, ends, None)

    # Everything that GitLab is asked about

    async def _asked(self, token: Secret, facts: TokenFacts | None) -> Judgement:
        # GitLab takes nothing that begins so for any other kind (Gitlab::Auth::AuthFinders).
        if isinstance(token, JobSecret) or token.reveal().startswith("glcbt-"):
            return await self._job(token)
        status, content = await self._api.get("/user", token)
        if status == 200:
            return await self._user(token, content, facts)
        if is_narrow(status, content):
            return await self._narrow(token)
        if status == 401 and "error" not in content and self._settings.job_tokens:
            # No token that it knows; job tokens have had no prefix for many years.
            return await self._job(token)
        return refused(status, content)

    async def _user(
        self, token: Secret, content: dict[str, object], facts: TokenFacts | None
    ) -> Judgement:
        identity, active, bot = read_user(content)
        if not active:
            return account_refused(identity.user_id)
        if bot is not False and not self._settings.bots:
            return _bot()
        found = await self._facts(token) if facts is None else facts
        if isinstance(found, Judgement):
            return found
        return await self._scoped(token, identity, found)

    async def _facts(self, token: Secret) -> TokenFacts | Judgement:
        """:return: what the token itself is; nothing of it where this GitLab does not tell."""
        status, content = await self._api.get(
            "/personal_access_tokens/self", token, expected=_NO_SELF
        )
        if status == 200:
            read = read_facts(content)
            return _revoked() if read is None else read[1]
        if status == 400:
            # What GitLab says to an OAuth token there.
            status, content = await self._api.get("/oauth/token/info", token, expected=_NO_SELF)
            if status == 200:
                return read_oauth_facts(content, self._clock.seconds())
        return TokenFacts() if status in _NO_SELF else refused(status, content)

    async def _narrow(self, token: Secret) -> Judgement:
        """A token whose scope has not read_user: it may be asked about itself, and no more."""
        status, content = await self._api.get(
            "/personal_access_tokens/self", token, expected=_NO_SELF
        )
        if status in _NO_SELF:
            return Judgement(forbidden(NARROW))
        if status != 200:
            return refused(status, content)
        read = read_facts(content)
        if read is None:
            return _revoked()
        user_id, facts = read
        user = await self._memberships.user(user_id)
        if user is not None:
            identity, active, bot = read_user(user)
            if not active:
                return account_refused(user_id)
        else:
            identity, bot = Identity(user_id, f"user-{user_id}"), None
        if bot is not False and not self._settings.bots:
            # It is not known whether the token is a bot's, and with read_user it would be.
            return Judgement(forbidden(NARROW)) if bot is None else _bot()
        return await self._scoped(token, identity, facts)

    async def _scoped(self, token: Secret, identity: Identity, facts: TokenFacts) -> Judgement:
        scopes = self._settings.scopes
        if scopes and facts.scopes.isdisjoint(scopes):
            return Judgement(
                forbidden(
                    f"Your GitLab token lacks a scope: create one that has {' or '.join(scopes)}."
                ),
                user_id=identity.user_id,
            )
        standing = await self._memberships.standing(identity, self.rules, token)
        return self._admitted(identity, standing, facts.ends, facts)

    async def _job(self, token: Secret) -> Judgement:
        if not self._settings.job_tokens:
            return Judgement(
                invalid_credential(
                    "CI job tokens are not taken here: use an id_token, or your own GitLab token."
                )
            )
        since = self._clock.seconds()
        status, content = await self._api.get("/job", token, job=True, expected=_NO_JOB)
        if status == 404:
            # What GitLab says to a good token of another kind.
            return refused(401, {})
        if status != 200:
            return refused(status, content)
        job, active = read_job(content, self._settings.url)
        if not active:
            return account_refused(job.user_id)
        standing = await self._memberships.standing(job, self.rules, None)
        return self._admitted(job, standing, since + JOB_SECONDS, None)

    # Who may come in

    def _admitted(
        self, identity: Identity, standing: Standing, ends: float, facts: TokenFacts | None
    ) -> Judgement:
        allow = self._settings.allow
        letting_in = [rule for rule in allow if rule in standing.matched]
        if allow and not letting_in:
            refusal = forbidden(_wanting(allow, identity, standing))
            return Judgement(refusal, user_id=identity.user_id)
        caller = Caller(
            "gitlab",
            identity.username,
            models=_models_of(letting_in),
            identity=identity,
            matched=standing.matched,
        )
        return Judgement(caller, ends, facts, user_id=identity.user_id)


def _bot() -> Judgement:
    return Judgement(
        forbidden(
            "Project and group access tokens and service accounts are not taken here: "
            "use your own token, or in CI an id_token."
        )
    )


def _revoked() -> Judgement:
    return refused(401, {"error": "invalid_token"})


def _models_of(rules: Sequence[AllowSettings]) -> tuple[str, ...] | None:
    """:return: the union of the rules' models; None for all, as without rules."""
    if not rules or any(rule.models is None for rule in rules):
        return None
    return tuple(dict.fromkeys(model for rule in rules for model in rule.models or ()))


def _wanting(allow: Sequence[AllowSettings], identity: Identity, standing: Standing) -> str:
    """:return: what somebody lacks. Users that rules name are not told: that is nobody else's business."""
    if not standing.told:
        return "Your GitLab token does not tell your groups: create one with the scopes read_user and read_api."
    places = [_place(rule) for rule in allow if not rule.user]
    if not places:
        return "Your GitLab account is not among those that may use this gateway: ask its operator."
    more = " or others" if len(places) > _PLACES_NAMED else ""
    listed = " or ".join(places[:_PLACES_NAMED]) + more
    if identity.is_job:
        return f"This CI job may not use this gateway: it must run for {listed}."
    return f"Your GitLab account may not use this gateway: become a member of {listed}."


def _place(rule: AllowSettings) -> str:
    role = next(name for name, level in ACCESS_LEVELS.items() if level == rule.min_access_level)
    where = f"the group {rule.group}" if rule.group else f"the project {rule.project}"
    protected = ", on a protected branch or tag" if rule.protected_refs_only else ""
    return f"{where} (as {role} or more{protected})"
