"""Nothing of a credential is in what this room's objects show of themselves, log or raise."""

from __future__ import annotations

import io
import traceback

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher, textFileLogObserver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.access import Authenticator, GitLab
from gptproxy.access.user_tokens import UserTokens
from gptproxy.access.verdicts import Digester, VerdictCache
from gptproxy.config import Secret, UserTokenSettings
from gptproxy.http import ConnectFailed, MalformedMessage, Origin, OwnCalls
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


class CanaryTests(SynchronousTestCase):
    """Every way in and every refusal, and everything that was said grepped."""

    def test_every_outcome(self) -> None:
        """By repr, str, message, cause, traceback and log."""
        log = io.StringIO()
        observer = textFileLogObserver(log)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        for step in STEPS:
            for pure_proxy in (False, True):
                for bearer in (
                    CANARY,
                    OPERATORS,
                    f"gpt1:gpt-4|d:{AZURE_KEY}",
                    f"gpt1:gpt-4:{AZURE_KEY}",
                    f"gpt1/x:gpt-4|d:{AZURE_KEY}",
                    f"{CANARY}\x7f",
                    f"{CANARY} {CANARY}",
                ):
                    self.check(step, bearer, pure_proxy)
        self.assertFalse(any(leaks(each, log.getvalue()) for each in (CANARY, AZURE_KEY)))

    def check(self, step: Step, bearer: str, pure_proxy: bool) -> None:
        clock, digester = Clock(), Digester()
        calls = OwnCalls(ScriptedAgent(lambda _: step), clock, lambda: 1.0)
        gitlab = GitLab("https://git.corp.com", calls)
        user_tokens = UserTokens([UserTokenSettings("ann", Secret(OPERATORS))], digester)
        verdicts = VerdictCache(10, 60, 30)
        authenticator = Authenticator(
            user_tokens=user_tokens,
            gitlab=gitlab,
            verdicts=verdicts,
            digester=digester,
            pure_proxy=pure_proxy,
            clock=clock,
        )
        outcomes: list[object] = []
        fields = [(b"authorization", b"Bearer " + bearer.encode())]
        Deferred.fromCoroutine(authenticator.caller(fields)).addBoth(outcomes.append)
        clock.pump([0.5, 1.0, 5.0])
        (outcome,) = outcomes
        shown = [outcome, authenticator, gitlab, user_tokens, verdicts, digester, calls]
        shown += [vars(user_tokens), vars(verdicts), vars(digester), vars(gitlab)]
        if isinstance(outcome, Failure):
            error = outcome.value
            shown += [vars(error), error.args, outcome.getTraceback()]
            shown.append("".join(traceback.format_exception(error)))
        for secret in (CANARY, OPERATORS, AZURE_KEY):
            self.assertFalse(leaks(secret, *shown), (step, bearer))
