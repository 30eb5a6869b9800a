"""A call that goes wrong: errors that are held, keys refused, what is not sent twice, callers who leave."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionLost
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface.verify import verifyObject

from gptproxy.http import (
    ConnectFailed,
    ResponseNeverReceived,
)
from gptproxy.upstream import HeldAnswer
from gptproxy.upstream.attempt import ERROR_LIMIT_BYTES, ERROR_SECONDS
from tests.upstream.examples import BODY, CALLERS_TOKEN, KEY, a_call
from tests.upstream.sender_case import FILTERED, OK, ONE, ORIGIN, SenderCase, error
from tests.upstream.standins import (
    Answer,
    is_sent_again_by_the_agent,
    leaks,
)


class SenderEndsTests(SenderCase):
    """Each of them."""

    # Errors that are held

    def test_an_error_too_large(self) -> None:
        """More than is held to be judged: dropped, and trouble like any other."""
        huge = Answer(400, b"x" * (ERROR_LIMIT_BYTES + 1), end=None)
        refusal = self.refused(self.send(huge, huge, targets=ONE))
        self.assertEqual((refusal.status, self.agent.dropped), (502, 2))
        self.assertIn("ResponseTooLarge", refusal.cause)
        self.answered(self.send(Answer(400, b"x" * ERROR_LIMIT_BYTES)), 400)

    def test_an_error_cut_short(self) -> None:
        """Half of it is not judged."""
        cut = Answer(400, b'{"error":', end=ConnectionLost())
        self.answered(self.send(cut, OK), 200)

    def test_an_error_that_does_not_end(self) -> None:
        """It is waited for with a bound, then given up and tried again."""
        sending = self.send(Answer(500, b"{", end=None), OK)
        self.clock.advance(ERROR_SECONDS - 0.1)
        self.assertEqual(self.agent.dropped, 0)
        self.clock.pump([0.1, 0.5])
        self.answered(sending, 200)
        self.assertEqual(self.agent.dropped, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # Keys

    def test_the_gateways_key_is_refused(self) -> None:
        """The next upstream; 502 where there is none: the caller's token is not at fault."""
        for status in (401, 403):
            refused = Answer(
                status,
                f'{{"error":{{"message":"Incorrect API key provided: {KEY}","code":"x"}}}}'.encode(),
                ((b"www-authenticate", b"Bearer"), (b"x-key", KEY.encode())),
            )
            self.answered(self.send(refused, OK), 200)
            sending = self.send(refused, refused)
            refusal = self.refused(sending)
            self.assertEqual((refusal.status, refusal.code), (502, "upstream_credentials_refused"))
            self.assertEqual(len(refusal.headers), 3)
            self.assertFalse(leaks(KEY, refusal, refusal.body(), refusal.headers, refusal.cause))
        errors = self.said(LogLevel.error)
        self.assertEqual(len(errors), 6)
        self.assertIn("upstream primary refuses the key (status 401, attempt 1)", errors[0])
        self.assertFalse(leaks(KEY, *self.events))
        self.assertFalse(leaks(CALLERS_TOKEN, *self.events))

    def test_the_callers_own_key_is_refused(self) -> None:
        """In pure proxy it goes back unchanged, and no word about it to the operator."""
        for status, code in ((401, "401"), (403, "Forbidden"), (404, "DeploymentNotFound")):
            held = error(status, code)
            answer = self.answered(self.send(held, targets=ONE, own_key=True), status)
            self.assertEqual(answer.answer, HeldAnswer(status, (), held.body))
            self.assertEqual(answer.fields, ())
        self.assertEqual((self.said(LogLevel.warn), self.said(LogLevel.error)), ([], []))

    # What must not be done twice

    def test_an_image(self) -> None:
        """It is sent again only when nothing was made: not connected, or refused before any work."""
        image = a_call(route="/images/generations", repeatable=False)
        for step in (error(500), error(408), error(409)):
            sending = self.send(step, call=image)
            self.assertEqual(len(self.agent.asked), 1)
            self.assertIsNotNone(sending.result)
            sending.addErrback(lambda _: None)
        for trouble in (ConnectionLost(), ResponseNeverReceived(True, Failure(ConnectionLost()))):
            self.assertEqual(self.refused(self.send(trouble, call=image)).status, 502)
        refused = ConnectFailed(ORIGIN, Failure(ConnectionLost()))
        for step in (refused, error(429, "429"), FILTERED, error(401)):
            self.answered(self.send(step, OK, call=image), 200)
        sending = self.send(error(503), OK, call=image)
        self.clock.advance(0.5)
        self.answered(sending, 200)

    def test_the_agents_own_second_try(self) -> None:
        """A body that may be sent twice is given so that the agent may; another is not."""
        self.successResultOf(self.send(OK))
        self.assertTrue(is_sent_again_by_the_agent(self.agent.asked[0]))
        self.successResultOf(self.send(OK, call=a_call(repeatable=False)))
        (asked,) = self.agent.asked
        self.assertEqual(asked.body, BODY)
        self.assertFalse(is_sent_again_by_the_agent(asked))
        assert asked.producer is not None
        self.assertTrue(verifyObject(IBodyProducer, asked.producer))
        asked.producer.pauseProducing()
        asked.producer.resumeProducing()
        asked.producer.stopProducing()

    # Leaving

    def test_the_caller_leaves(self) -> None:
        """In each phase what is under way is dropped, and nothing is sent after that."""
        for step, dropped, phase in (
            (None, 1, "waiting for the head"),
            (Answer(500, b"{", end=None), 1, "reading an error"),
            (error(500), 0, "waiting between attempts"),
        ):
            sending = self.send(step, OK)
            self.assertNoResult(sending)
            sending.cancel()
            self.failureResultOf(sending, CancelledError)
            self.assertEqual(self.agent.dropped, dropped, phase)
            self.assertEqual(len(self.agent.asked), 1, phase)
            self.assertEqual(self.clock.getDelayedCalls(), [], phase)

    def test_a_fault_of_ours(self) -> None:
        """It is not taken for the upstream's."""
        self.failureResultOf(self.send(ZeroDivisionError()), ZeroDivisionError)

    def test_nothing_secret_is_shown(self) -> None:
        """What an upstream wrote is not in what an answer shows of itself."""
        held = Answer(400, KEY.encode(), ((b"x", KEY.encode()),))
        self.assertFalse(leaks(KEY, self.successResultOf(self.send(held))))
