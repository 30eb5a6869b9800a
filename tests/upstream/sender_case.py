"""The Sender over an agent in memory, as the tests of sending use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import RetrySettings
from gptproxy.http import Origin
from gptproxy.upstream import Call, HeldAnswer, NoUpstreamAnswer, Sender, Target, UpstreamAnswer
from tests.upstream.examples import PRIMARY, SECONDARY, a_call
from tests.upstream.standins import Answer, ScriptedAgent, Step

ONE = (Target(PRIMARY, "gpt-4-east"),)
BOTH = (*ONE, Target(SECONDARY, "gpt-4-west"))
OK = Answer(200, b'{"id":"c1"}', ((b"content-type", b"application/json"), (b"server", b"x")))
ORIGIN = Origin(True, "gpt1.openai.azure.com", 443)


def error(status: int, code: object = None, *fields: tuple[bytes, bytes]) -> Answer:
    return Answer(status, orjson.dumps({"error": {"code": code, "message": f"m {code}"}}), fields)


FILTERED = error(400, "content_filter")


class SenderCase(SynchronousTestCase):
    """The Sender with a clock in memory; waits are as long as they can be."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[dict[str, Any]] = []
        observer: Callable[[Any], None] = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def send(
        self,
        *script: Step,
        targets: tuple[Target, ...] = BOTH,
        call: Call | None = None,
        own_key: bool = False,
        retry: RetrySettings | None = None,
    ) -> Deferred[UpstreamAnswer]:
        self.agent = ScriptedAgent(script)
        sender = Sender(
            self.agent,  # type: ignore[arg-type]  # its stand-in
            self.clock,
            lambda: 1.0,
            retry or RetrySettings(),
        )
        return Deferred.fromCoroutine(
            sender.send(call or a_call(), targets, own_key=own_key, request_id="r-1")
        )

    def answered(self, sending: Deferred[UpstreamAnswer], status: int) -> UpstreamAnswer:
        answer = self.successResultOf(sending)
        got = answer.answer.status if isinstance(answer.answer, HeldAnswer) else answer.answer.code
        self.assertEqual(got, status)
        self.assertEqual(answer.attempts, len(self.agent.asked))
        return answer

    def refused(self, sending: Deferred[UpstreamAnswer]) -> NoUpstreamAnswer:
        refusal = self.failureResultOf(sending, NoUpstreamAnswer).value
        assert isinstance(refusal, NoUpstreamAnswer)
        self.assertEqual(refusal.attempts, len(self.agent.asked))
        last = self.hosts()[-1]
        self.assertIn(
            (refusal.upstream, True), [(u.name, last in u.url) for u in (PRIMARY, SECONDARY)]
        )
        self.assertIn((b"x-should-retry", b"false"), refusal.headers)
        return refusal

    def hosts(self) -> list[str]:
        return [asked.origin.host.partition(".")[0] for asked in self.agent.asked]

    def said(self, level: LogLevel) -> list[str]:
        return [
            event["log_format"].format(**event)
            for event in self.events
            if event["log_level"] is level and "sending" in event["log_namespace"]
        ]
