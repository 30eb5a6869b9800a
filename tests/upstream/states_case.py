"""One Sender over an agent in memory for several calls, as the tests of what it remembers use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import RetrySettings
from gptproxy.http import ConnectFailed
from gptproxy.upstream import Call, NoUpstreamAnswer, Sender, Target, UpstreamAnswer
from tests.upstream.examples import a_call
from tests.upstream.sender_case import BOTH, OK, ONE, ORIGIN, error
from tests.upstream.standins import ScriptedAgent, Step

THROTTLED = error(429, "429", (b"retry-after", b"20"))
UNREACHABLE = ConnectFailed(ORIGIN, Failure(ConnectionLost()))


class StatesCase(SynchronousTestCase):
    """One Sender over an agent that follows a script."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.script: list[Step] = []
        self.agent = ScriptedAgent(lambda _: self.script.pop(0) if self.script else OK)
        self.sender = self.a_sender()
        self.events: list[dict[str, Any]] = []
        observer: Callable[[Any], None] = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def a_sender(self, **retry: float) -> Sender:
        settings = evolve(RetrySettings(), **retry)
        return Sender(self.agent, self.clock, lambda: 1.0, settings)  # type: ignore[arg-type]  # its stand-in

    def send(
        self,
        *script: Step,
        call: Call | None = None,
        targets: tuple[Target, ...] = BOTH,
        own_key: bool = False,
    ) -> Deferred[UpstreamAnswer]:
        self.script = list(script)
        self.agent.asked.clear()
        return Deferred.fromCoroutine(
            self.sender.send(call or a_call(), targets, own_key=own_key, request_id="r")
        )

    def hosts(self) -> list[str]:
        return [asked.origin.host.partition(".")[0] for asked in self.agent.asked]

    def sent_to(self, sending: Deferred[UpstreamAnswer]) -> list[str]:
        """:return: who was asked by a call that got its answer."""
        self.assertIsNotNone(self.successResultOf(sending))
        return self.hosts()

    def refused(self, sending: Deferred[UpstreamAnswer]) -> NoUpstreamAnswer:
        refusal = self.failureResultOf(sending, NoUpstreamAnswer).value
        assert isinstance(refusal, NoUpstreamAnswer)
        return refusal

    def take_down(self, targets: tuple[Target, ...] = ONE) -> None:
        """Five failures."""
        for _ in range(3):
            sending = self.send(*[UNREACHABLE] * 4, targets=targets)
            sending.addErrback(lambda _: None)

    def said(self, level: LogLevel) -> list[str]:
        return [
            event["log_format"].format(**event)
            for event in self.events
            if event["log_level"] is level and "sending" in event["log_namespace"]
        ]
