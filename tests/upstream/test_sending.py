"""A call carried out over an agent in memory: sent, judged, sent again or elsewhere, given up."""

from __future__ import annotations

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import LogLevel
from twisted.python.failure import Failure

from gptproxy.config import RetrySettings
from gptproxy.http import (
    ConnectFailed,
    FirstByteTimeout,
    MalformedMessage,
    Response,
    ResponseNeverReceived,
    collect_body,
)
from gptproxy.upstream import HeldAnswer, Sender
from tests.upstream.examples import BODY, KEY, a_call
from tests.upstream.sender_case import BOTH, FILTERED, OK, ONE, ORIGIN, SenderCase, error
from tests.upstream.standins import (
    Answer,
    Asked,
    ScriptedAgent,
    Step,
)


class SenderTests(SenderCase):
    """What comes of attempts: answers, other attempts, other upstreams."""

    def test_an_answer(self) -> None:
        """It is live: its body is not read here; the fields are those that go down."""
        answer = self.answered(self.send(OK), 200)
        self.assertEqual((answer.upstream, answer.attempts), ("primary", 1))
        self.assertEqual(answer.fields, ((b"content-type", b"application/json"),))
        assert isinstance(answer.answer, Response)
        self.assertEqual(self.successResultOf(collect_body(answer.answer, 100)), OK.body)
        (asked,) = self.agent.asked
        self.assertEqual((asked.method, asked.origin, asked.body), (b"POST", ORIGIN, BODY))
        self.assertEqual(asked.values(b"api-key"), [KEY.encode()])
        self.assertEqual((self.said(LogLevel.warn), self.said(LogLevel.error)), ([], []))

    def test_a_filter_that_did_not_run(self) -> None:
        """``content_filter_error`` in a 200 is an answer, no interception."""
        body = b'{"choices":[{"content_filter_results":{"error":{"code":"content_filter_error"}}}]}'
        self.answered(self.send(Answer(200, body)), 200)
        self.assertEqual(self.hosts(), ["gpt1"])

    def test_the_callers_own_error(self) -> None:
        """It goes back as it came, and nobody else is asked."""
        for status in (400, 404, 413, 422):
            held = error(status, "unsupported_value", (b"x-request-id", b"7"))
            answer = self.answered(self.send(held), status)
            self.assertEqual(answer.answer, HeldAnswer(status, held.fields, held.body))
            self.assertEqual(answer.fields, ((b"x-request-id", b"7"),))
            self.assertEqual(self.hosts(), ["gpt1"])

    def test_the_content_filter(self) -> None:
        """An intercepted prompt goes to the next upstream, with its key and its deployment's name."""
        answer = self.answered(self.send(FILTERED, OK), 200)
        self.assertEqual((answer.upstream, self.hosts()), ("secondary", ["gpt1", "gpt2"]))
        asked = self.agent.asked[1]
        self.assertIn(b"/deployments/gpt-4-west/", asked.target)
        self.assertEqual(asked.values(b"api-key"), [KEY[::-1].encode()])
        self.assertEqual(asked.body, BODY)

    def test_both_intercept(self) -> None:
        """The caller gets the first one's words, and is told not to try again."""
        first = error(400, "content_filter", (b"x-request-id", b"first"))
        answer = self.answered(self.send(first, FILTERED), 400)
        self.assertEqual((answer.upstream, answer.attempts), ("primary", 2))
        self.assertEqual(
            answer.fields, ((b"x-request-id", b"first"), (b"x-should-retry", b"false"))
        )

    def test_trouble_that_passes(self) -> None:
        """The same upstream after waits that double, then the next."""
        sending = self.send(error(500), error(503), error(500), OK)
        for wait, made in ((0.49, 1), (0.01, 2), (0.99, 2), (0.01, 4)):
            self.clock.advance(wait)
            self.assertEqual(len(self.agent.asked), made)
        self.assertEqual(self.answered(sending, 200).upstream, "secondary")
        self.assertEqual(self.hosts(), ["gpt1"] * 3 + ["gpt2"])
        self.assertEqual(len(self.said(LogLevel.warn)), 3)
        self.assertIn(
            "r-1: upstream primary has trouble of its own (status 500, attempt 1)",
            self.said(LogLevel.warn)[0],
        )

    def test_trouble_that_stays(self) -> None:
        """The last upstream's own error, its retry fields, and one word to the client's own retries."""
        last = error(503, None, (b"x-should-retry", b"true"), (b"retry-after", b"1"))
        sending = self.send(*[error(500)] * 3, *[last] * 3)
        self.clock.pump([0.5, 1.0, 1.0, 1.0])
        answer = self.answered(sending, 503)
        self.assertEqual((answer.upstream, answer.attempts), ("secondary", 6))
        self.assertEqual(answer.fields, ((b"retry-after", b"1"), (b"x-should-retry", b"false")))

    def test_throttled(self) -> None:
        """The next upstream at once; alone, exactly the wait it asks for."""
        throttled = error(429, "429", (b"retry-after", b"22"))
        self.answered(self.send(throttled, OK), 200)
        self.assertEqual(self.hosts(), ["gpt1", "gpt2"])
        sending = self.send(throttled, OK, targets=ONE)
        self.clock.advance(21.9)
        self.assertEqual(len(self.agent.asked), 1)
        self.clock.advance(0.1)
        self.answered(sending, 200)
        too_long = error(429, "429", (b"retry-after", b"61"))
        answer = self.answered(self.send(too_long, targets=ONE), 429)
        self.assertIn((b"retry-after", b"61"), answer.fields)

    def test_no_answer(self) -> None:
        """Each sort of trouble with a connection: once more at once, then the next, then 502."""
        for trouble in (
            ConnectFailed(ORIGIN, Failure(ConnectionLost())),
            ConnectionDone(),
            ConnectionLost(),
            MalformedMessage("no HTTP"),
            ResponseNeverReceived(False, Failure(ConnectionLost())),
            TLSError([]),
        ):
            self.answered(self.send(trouble, OK), 200)
            self.assertEqual(self.hosts(), ["gpt1", "gpt1"])
            self.answered(self.send(trouble, trouble, OK), 200)
            refusal = self.refused(self.send(*[trouble] * 4))
            self.assertEqual((refusal.status, refusal.code), (502, "upstream_unreachable"))
            self.assertTrue(refusal.cause.startswith(type(trouble).__name__))
            self.assertEqual(self.hosts(), ["gpt1", "gpt1", "gpt2", "gpt2"])

    def test_no_answer_in_time(self) -> None:
        """504; behind the budget nothing is started."""
        sending = self.send(*[FirstByteTimeout()] * 6)
        self.clock.pump([0.5, 1.0, 0.5, 1.0])
        refusal = self.refused(sending)
        self.assertEqual((refusal.status, refusal.code), (504, "upstream_timeout"))

        def late(asked: Asked) -> Step:
            self.clock.advance(61)
            return FirstByteTimeout()

        self.agent = agent = ScriptedAgent(late)
        sender = Sender(agent, self.clock, lambda: 1.0, RetrySettings())  # type: ignore[arg-type]  # its stand-in
        sending = Deferred.fromCoroutine(sender.send(a_call(), BOTH, own_key=False, request_id="r"))
        self.assertEqual(self.refused(sending).status, 504)
        self.assertEqual(len(agent.asked), 1)

    def test_a_redirection(self) -> None:
        """Nobody is sent anywhere: the next upstream, or 502; the connection is dropped."""
        moved = Answer(307, b"moved", ((b"location", b"https://evil.example/"),), end=None)
        self.assertEqual(self.answered(self.send(moved, OK), 200).upstream, "secondary")
        self.assertEqual(self.agent.dropped, 1)
        refusal = self.refused(self.send(moved, targets=ONE))
        self.assertEqual((refusal.status, refusal.code), (502, "upstream_redirects"))
        self.assertEqual(len(self.said(LogLevel.error)), 2)
