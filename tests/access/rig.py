"""A whole Authenticator in front of the sandbox's GitLab, in memory: every answer may be replaced by another."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from json import loads
from urllib.parse import parse_qs

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.access import Authenticator, Caller
from gptproxy.config import AllowSettings, GitLabSettings, Secret, UserTokenSettings
from gptproxy.http import Origin, OwnCalls
from gptproxy.sandbox.gitlab import gitlab_answer
from gptproxy.sandbox.messages import Call
from gptproxy.wire import Refusal
from tests.upstream.standins import Answer, Asked, ScriptedAgent, Step

ORIGIN = Origin(False, "127.0.0.1", 8929)
URL = "http://127.0.0.1:8929"
AUDIENCE = "https://gpt.example.com"
USER_TOKEN = "sk-user-0123456789"
ALICE, BOB, NARROW, BOT = (f"glpat-sandbox-{name}" for name in ("alice", "bob", "narrow", "bot"))
OAUTH = "5a" * 32
JOB, TOPIC_JOB, NOTES_JOB = (f"glcbt-sandbox-{name}" for name in ("alice", "topic", "notes"))
SERVICE = Secret("glpat-sandbox-service")
START = 1_700_000_000.0

SELF = "/api/v4/personal_access_tokens/self"
USER = "/api/v4/user"


def sandbox_call(asked: Asked, now: float) -> Call:
    """:return: what the agent was asked, as the sandbox sees it."""
    target = asked.target.decode()
    query = {name: tuple(each) for name, each in parse_qs(target.partition("?")[2]).items()}
    headers = [(name.decode(), value.decode()) for name, value in asked.fields]
    host = f"{asked.origin.host}:{asked.origin.port}"
    return Call(
        "gitlab",
        asked.method.decode(),
        target,
        query=query,
        headers=(("host", host), *headers),
        now=now,
    )


class GitLabInMemory:
    """
    :param clock: what its tokens' dates count from.

    :ivar instead: a path's prefix, and what is answered there instead of what the sandbox would.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.instead: dict[str, Step | Callable[[Asked], Step]] = {}
        self.agent = ScriptedAgent(self._answer)

    def _answer(self, asked: Asked) -> Step:
        for prefix, step in self.instead.items():
            if asked.target.decode().startswith(prefix):
                return step(asked) if callable(step) else step
        return self.really(asked)

    def really(self, asked: Asked) -> Answer:
        """:return: what the sandbox answers."""
        reply = gitlab_answer(sandbox_call(asked, self.clock.seconds()))
        fields = tuple((name.lower().encode(), value.encode()) for name, value in reply.headers)
        return Answer(reply.status, reply.body, fields)

    def paths(self) -> list[str]:
        """:return: what was asked, in turn, without queries."""
        return [each.target.decode().partition("?")[0] for each in self.agent.asked]

    def id_token(self, query: str = "") -> str:
        """:return: one for the job and claims that the query names."""
        asked = Asked(b"GET", ORIGIN, f"/-/sandbox/id_token?{query}".encode(), (), None, None)
        return str(loads(self.really(asked).body)["id_token"])


class AccessCase(SynchronousTestCase):
    """Over the sandbox's GitLab."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.gitlab = GitLabInMemory(self.clock)
        self.access = self.make()

    def make(
        self,
        *allow: AllowSettings,
        pure_proxy: bool = False,
        without_gitlab: bool = False,
        other_rules: Iterable[AllowSettings] = (),
        user_tokens: Iterable[UserTokenSettings] = (
            UserTokenSettings("user1", Secret(USER_TOKEN)),
        ),
        **settings: object,
    ) -> Authenticator:
        """:return: an Authenticator with these settings of ``[gitlab]``."""
        self.access = Authenticator(
            user_tokens=user_tokens,
            gitlab=None if without_gitlab else GitLabSettings(URL, allow=allow, **settings),  # type: ignore[arg-type]  # by name
            calls=OwnCalls(self.gitlab.agent, self.clock, lambda: 1.0),
            pure_proxy=pure_proxy,
            clock=self.clock,
            other_rules=other_rules,
        )
        return self.access

    def ask(
        self, token: str, address: str = "192.0.2.1", name: bytes = b"authorization"
    ) -> Deferred[Caller]:
        """:return: what comes of a call with this token."""
        scheme = b"Bearer " if name.startswith(b"auth") else b""
        fields = [(b"host", b"gpt"), (name, scheme + token.encode())]
        return Deferred.fromCoroutine(self.access.caller(fields, address))

    def caller(self, token: str, name: bytes = b"authorization") -> Caller:
        """:return: the caller, who must be let in."""
        return self.successResultOf(self.ask(token, name=name))

    def refusal(
        self, token: str, address: str = "192.0.2.1", name: bytes = b"authorization"
    ) -> Refusal:
        """:return: the refusal, which must come; GitLab may be asked three times for it."""
        asking = self.ask(token, address, name)
        outcome: list[object] = []
        asking.addErrback(outcome.append)
        if not outcome:
            self.clock.pump([0.5, 1.0])
        if not outcome:
            self.clock.advance(4)
        failure = outcome[0]
        error = getattr(failure, "value", None)
        assert isinstance(error, Refusal), failure
        return error

    def calls_made(self) -> int:
        """:return: how many calls GitLab got."""
        return len(self.gitlab.agent.asked)


def user_answer(name: str, number: int = 1, state: str = "active") -> Answer:
    """:return: what GitLab says of a user."""
    text = f'{{"id":{number},"username":"{name}","state":"{state}","bot":false}}'
    return Answer(200, text.encode())
