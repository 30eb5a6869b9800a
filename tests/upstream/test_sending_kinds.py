"""Answers that were looked at before they are relayed, and calls that are not a JSON body in a POST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.logger import LogLevel
from zope.interface import implementer

from gptproxy.http import IBodyReceiver, IRequestBody, Response, StreamedUpload
from gptproxy.upstream import Call
from gptproxy.upstream import attempt as attempt_module
from gptproxy.upstream.holding import BrokenOff, Intercepted
from tests.upstream.examples import a_call
from tests.upstream.sender_case import OK, ONE, error
from tests.upstream.standins import Answer
from tests.upstream.states_case import UNREACHABLE, StatesCase


class HeldAnswersTests(StatesCase):
    """What becomes of answers that were looked at before the caller sees them."""

    def hold(self, *verdicts: Callable[[Response], object]) -> None:
        """The inspection says these in turn."""
        left = list(verdicts)

        async def hold(call: Call, response: Response, clock: object, settings: object) -> object:
            return left.pop(0)(response)

        self.patch(attempt_module, "hold", hold)

    def test_intercepted(self) -> None:
        """The next upstream; the first answer's connection is dropped."""
        self.hold(Intercepted, lambda response: response)
        answer = self.successResultOf(self.send(Answer(200, b"filtered", end=None), OK))
        self.assertEqual((answer.upstream, answer.attempts), ("secondary", 2))
        self.assertEqual(self.agent.dropped, 1)

    def test_both_intercepted(self) -> None:
        """The caller gets the first, live; the second is dropped."""
        self.hold(Intercepted, Intercepted)
        live = Answer(200, b"filtered", end=None)
        answer = self.successResultOf(self.send(live, live))
        self.assertEqual((answer.upstream, answer.attempts), ("primary", 2))
        self.assertIs(answer.answer, self.agent.responses[0])
        self.assertEqual(answer.fields, ())
        self.assertEqual(self.agent.dropped, 1)

    def test_the_caller_leaves_between(self) -> None:
        """The first answer is dropped too."""
        self.hold(Intercepted)
        sending = self.send(Answer(200, b"filtered", end=None), None)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.assertEqual(self.agent.dropped, 2)

    def test_intercepted_though_it_may_not_be_repeated(self) -> None:
        """A work that was intercepted is none."""
        self.hold(Intercepted, lambda response: response)
        answer = self.successResultOf(self.send(OK, OK, call=a_call(repeatable=False)))
        self.assertEqual(answer.upstream, "secondary")

    def test_broken_off(self) -> None:
        """As a failure that may pass; where words came, they are the caller's in the end."""
        self.hold(*[lambda response: BrokenOff("the stream ended", True)] * 3)
        sending = self.send(targets=ONE)
        self.clock.pump([0.5, 1.0])
        refusal = self.refused(sending)
        self.assertEqual((refusal.status, refusal.code), (502, "upstream_broke_off"))
        self.assertEqual(refusal.cause, "the stream ended")
        self.hold(*[lambda response: BrokenOff("server_error", True, response)] * 3)
        sending = self.send(targets=ONE)
        self.clock.pump([0.5, 1.0])
        answer = self.successResultOf(sending)
        self.assertIs(answer.answer, self.agent.responses[-1])
        # Six failures of six: it is down.
        self.assertEqual(self.sender.states()[0].state, "down")

    def test_broken_off_for_good(self) -> None:
        """A quota that is used up: the next, and loud."""
        self.hold(lambda response: BrokenOff("quota", False), lambda response: response)
        self.assertEqual(self.sent_to(self.send()), ["gpt1", "gpt2"])
        self.assertIn("upstream primary broke its answer off: quota", self.said(LogLevel.error)[0])


@implementer(IPushProducer)
class Source:
    """Where a client's body comes from."""

    def pauseProducing(self) -> None:
        """Nothing."""

    resumeProducing = pauseProducing
    stopProducing = pauseProducing


@implementer(IRequestBody)
class Body:
    """A client's body that is complete as soon as it is asked for."""

    length = 4

    def __init__(self) -> None:
        self.started = False

    def collect(self, limit_bytes: int) -> Deferred[bytes]:
        return succeed(b"")

    def deliver(self, receiver: IBodyReceiver) -> IPushProducer:
        self.started = True
        receiver.body_piece(b"file")
        receiver.body_finished()
        return Source()


class OtherCallsTests(StatesCase):
    """Other methods, no body, a body that is streamed, an object that one upstream has."""

    def get(self, **more: Any) -> Call:
        return evolve(
            a_call(route="/files/f-1"),
            method=b"GET",
            model=None,
            body=None,
            model_span=None,
            **more,
        )

    def test_a_get(self) -> None:
        """Its method goes up, and no body."""
        self.successResultOf(self.send(call=self.get()))
        (asked,) = self.agent.asked
        self.assertEqual((asked.method, asked.body, asked.producer), (b"GET", None, None))

    def test_a_post_without_a_body_that_must_not_be_repeated(self) -> None:
        """The agent does not send it twice by itself."""
        call = evolve(self.get(repeatable=False), method=b"POST")
        self.successResultOf(self.send(call=call))
        self.assertEqual(self.agent.asked[0].body, b"")
        self.assertIsNotNone(self.agent.asked[0].producer)

    def upload(self) -> tuple[Call, Body]:
        body = Body()
        upload = StreamedUpload(body)
        return evolve(self.get(upload=upload), method=b"POST"), body

    def test_an_upload(self) -> None:
        """It is streamed."""
        call, body = self.upload()
        self.successResultOf(self.send(call=call))
        self.assertEqual((self.agent.asked[0].body, body.started), (b"file", True))

    def test_an_upload_that_was_not_begun(self) -> None:
        """Not connected: it goes to the next."""
        call, body = self.upload()
        ask, refusals = self.agent.ask, [UNREACHABLE, UNREACHABLE]

        async def unconnected(*arguments: Any) -> Response:
            if refusals:
                raise refusals.pop()
            return await ask(*arguments)

        self.patch(self.agent, "ask", unconnected)
        answer = self.successResultOf(self.send(call=call))
        self.assertEqual((answer.upstream, answer.attempts, body.started), ("secondary", 3, True))

    def test_an_upload_that_was_read(self) -> None:
        """It cannot be sent again, whatever came."""
        for step in (error(500), error(429), error(503), error(400, "content_filter")):
            call, _ = self.upload()
            answer = self.successResultOf(self.send(step, call=call))
            self.assertEqual((answer.upstream, answer.attempts), ("primary", 1))
            self.clock.advance(20)
        for step, status in ((ConnectionLost(), 502), (error(401), 502)):
            call, _ = self.upload()
            self.assertEqual(self.refused(self.send(step, call=call)).status, status)

    def test_affinity(self) -> None:
        """Only the upstream that has the object is asked."""
        call = self.get(affinity="secondary")
        self.assertEqual(self.sent_to(self.send(call=call)), ["gpt2"])
        answer = self.successResultOf(self.send(error(404), call=call))
        self.assertEqual((answer.upstream, self.hosts()), ("secondary", ["gpt2"]))

    def test_affinity_to_an_upstream_that_is_gone(self) -> None:
        """A 404: nobody else knows the object."""
        refusal = self.refused(self.send(call=self.get(affinity="third")))
        self.assertEqual((refusal.status, refusal.code, self.hosts()), (404, "upstream_gone", []))

    def test_affinity_of_a_caller_with_a_key_of_their_own(self) -> None:
        """There is one upstream, whatever it is called."""
        call = self.get(affinity="third")
        self.assertEqual(self.sent_to(self.send(call=call, targets=ONE, own_key=True)), ["gpt1"])
