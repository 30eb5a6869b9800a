"""Nothing of a credential is in what this room's objects show of themselves, log or raise."""

from __future__ import annotations

import gc
import io
import sys
import traceback
from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.access import Authenticator
from gptproxy.config import AllowSettings, GitLabSettings, Secret, UserTokenSettings
from gptproxy.http import ConnectFailed, MalformedMessage, Origin, OwnCalls
from gptproxy.wire import Refusal
from tests.access.rig import AUDIENCE, BOB, BOT, JOB, NARROW, OAUTH, SERVICE, URL, GitLabInMemory
from tests.upstream.standins import Answer, ScriptedAgent, Step, leaks

CANARY = "CANARY-5Yq8Zr2WkLm0Vx7N"
OPERATORS = "OPERATOR-9cTf3JhUe6BsQp1D"
AZURE_KEY = "AZUREKEY4uGa8Rj2MzXw7EvKd"

STEPS: list[Step] = [
    Answer(200, b'{"id":1,"username":"alice","state":"active"}'),
    Answer(200, b'{"id":1,"username":"alice","state":"blocked"}'),
    Answer(200, f"<html>{CANARY}</html>".encode()),
    Answer(302, b"", ((b"location", f"https://evil/{CANARY}".encode()),)),
    Answer(401, f'{{"message":"{CANARY}"}}'.encode()),
    Answer(401, b'{"error":"invalid_token"}'),
    Answer(403, f'{{"message":"{CANARY}"}}'.encode()),
    Answer(403, b'{"error":"insufficient_scope"}'),
    Answer(429, CANARY.encode()),
    Answer(502, CANARY.encode()),
    Answer(200, CANARY.encode() * 10_000),
    ConnectFailed(Origin(True, "git.corp.com", 443), Failure(OSError())),
    ConnectionLost(),
    MalformedMessage("not HTTP"),
    None,
]


BEARERS = (
    CANARY,
    f"glcbt-{CANARY}",
    f"gldt-{CANARY}",
    OPERATORS,
    f"gpt1:gpt-4|d:{AZURE_KEY}",
    f"gpt1:gpt-4:{AZURE_KEY}",
    f"gpt1/x:gpt-4|d:{AZURE_KEY}",
    f"{CANARY}\x7f",
    f"{CANARY} {CANARY}",
    f"eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.{CANARY}.{CANARY}",
)
HEADERS = ("authorization", "api-key", "private-token", "job-token")


class CanaryTests(SynchronousTestCase):
    """Every way in and every refusal, and everything that was said grepped."""

    def setUp(self) -> None:
        self.log, self.written = io.StringIO(), io.StringIO()
        observer = textFileLogObserver(self.log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for name in ("stdout", "stderr"):
            self.patch(sys, name, self.written)

    def said(self) -> str:
        return self.log.getvalue() + self.written.getvalue()

    def test_every_outcome(self) -> None:
        """By repr, str, message, cause, traceback, log and output."""
        for step in STEPS:
            for bearer in BEARERS:
                for pure_proxy, header in [(True, "authorization"), *((False, h) for h in HEADERS)]:
                    self.check(step, bearer, pure_proxy, header)
        gc.collect()
        for secret in (CANARY, AZURE_KEY, OPERATORS, SERVICE.reveal()):
            self.assertFalse(leaks(secret, self.said()))

    def check(self, step: Step, bearer: str, pure_proxy: bool, header: str) -> None:
        clock = Clock()
        calls = OwnCalls(ScriptedAgent(lambda _: step), clock, lambda: 1.0)
        access = self.access(calls, clock, pure_proxy=pure_proxy)
        scheme = "Bearer " if header == "authorization" else ""
        fields = [(header.encode(), f"{scheme}{bearer}".encode())]
        outcome = self.outcome(access, fields, clock)
        self.grep(outcome, access, calls, (CANARY, OPERATORS, AZURE_KEY, SERVICE.reveal()))

    def access(
        self,
        calls: OwnCalls,
        clock: Clock,
        *,
        pure_proxy: bool = False,
        allow: tuple[AllowSettings, ...] = (),
        **settings: object,
    ) -> Authenticator:
        chosen: dict[str, object] = {"audience": AUDIENCE, "service_token": SERVICE, **settings}
        return Authenticator(
            user_tokens=[UserTokenSettings("ann", Secret(OPERATORS))],
            gitlab=GitLabSettings(URL, allow=allow, **chosen),  # type: ignore[arg-type]  # by name
            calls=calls,
            pure_proxy=pure_proxy,
            clock=clock,
        )

    def outcome(
        self, access: Authenticator, fields: Iterable[tuple[bytes, bytes]], clock: Clock
    ) -> object:
        outcomes: list[object] = []
        Deferred.fromCoroutine(access.caller(fields, "192.0.2.1")).addBoth(outcomes.append)
        clock.pump([0.5, 1.0, 5.0, 15.0])
        (outcome,) = outcomes
        return outcome

    def grep(
        self, outcome: object, access: Authenticator, calls: OwnCalls, secrets: Iterable[str]
    ) -> str:
        """:return: everything that was looked at."""
        shown: list[object] = [outcome, access, calls]
        for each in vars(access).values():
            shown += [each, vars(each) if hasattr(each, "__dict__") else ""]
        for each in vars(access._gitlab).values():
            shown += [each, vars(each) if hasattr(each, "__dict__") else ""]
        if isinstance(outcome, Failure):
            error = outcome.value
            assert isinstance(error, Refusal)
            shown += [vars(error), error.args, outcome.getTraceback(), error.body()]
            shown.append("".join(traceback.format_exception(error)))
        for secret in secrets:
            self.assertFalse(
                leaks(secret, *shown), (secret, outcome, [x for x in shown if leaks(secret, x)])
            )
        return "\n".join(f"{each!r} {each!s}" for each in shown)

    def test_every_refusal_of_known_tokens(self) -> None:
        """Scopes, bots, memberships, models, jobs, id_tokens: what GitLab knows well is not shown either."""
        clock = Clock()
        clock.advance(1_700_000_000)
        gitlab = GitLabInMemory(clock)
        nobody = AllowSettings(group="nobody", models=("x",))
        statuses = set()
        tokens = [BOB, BOT, NARROW, OAUTH, JOB, "glpat-sandbox-blocked", "glpat-sandbox-revoked"]
        queries = ("", "age=99999", "aud=other", "age=-99999")
        tokens += [gitlab.id_token(query) for query in queries]
        for token in tokens:
            for settings in (
                {},
                {"allow": (nobody,)},
                {"scopes": ("no_such_scope",)},
                {"job_tokens": False},
                {"service_token": Secret("glpat-sandbox-expired"), "allow": (nobody,)},
            ):
                for header in HEADERS:
                    calls = OwnCalls(gitlab.agent, clock, lambda: 1.0)
                    access = self.access(calls, clock, **settings)  # type: ignore[arg-type]  # by name
                    scheme = "Bearer " if header == "authorization" else ""
                    fields = [(header.encode(), f"{scheme}{token}".encode())]
                    outcome = self.outcome(access, fields, clock)
                    error = getattr(outcome, "value", None)
                    statuses.add(error.status if isinstance(error, Refusal) else 200)
                    # The sandbox's tokens say whose they are, which is told; of id_tokens nothing is.
                    secrets = [token] if token.startswith("ey") else []
                    shown = self.grep(outcome, access, calls, secrets) + self.said()
                    for secret in (token, SERVICE.reveal()):
                        self.assertNotIn(secret, shown)
        self.assertEqual(statuses, {200, 401, 403, 503})

    def test_two_credentials(self) -> None:
        """Neither is repeated."""
        clock = Clock()
        calls = OwnCalls(ScriptedAgent([]), clock, lambda: 1.0)
        access = self.access(calls, clock)
        fields = [(b"authorization", f"Bearer {CANARY}".encode()), (b"api-key", OPERATORS.encode())]
        outcome = self.outcome(access, fields, clock)
        self.assertEqual(getattr(outcome, "value", None).status, 400)  # type: ignore[union-attr]
        self.grep(outcome, access, calls, (CANARY, OPERATORS))
