"""Calls of gptproxy's own: tried again when that helps, bounded in time, size and number."""

from __future__ import annotations

import gzip

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http import Agent, ClientTimeouts, NoAnswer, OwnAnswer, OwnCalls, backoff_seconds
from tests.http.memory import MemoryTransport, reset
from tests.http.network import Network, no_trust


def answer(status: int, body: bytes = b"hi", *lines: bytes) -> bytes:
    fields = b"".join(line + b"\r\n" for line in lines)
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)


class OwnCallsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.network = Network()
        self.agent = Agent(self.network, no_trust, ClientTimeouts(connect=5.0, first_byte=20.0))
        self.calls = OwnCalls(self.agent, self.network, lambda: 1.0)

    def tearDown(self) -> None:
        self.agent.close()
        for transport in self.network.transports:
            transport.settle()
        self.network.check_nothing_is_left()

    def ask(self, body: bytes | None = None, *, limit: int = 100) -> Deferred[OwnAnswer]:
        asking = self.calls.ask(
            "POST", "http://h.example/a", {"X-A": "b"}, body, limit_bytes=limit, total_seconds=30.0
        )
        return Deferred.fromCoroutine(asking)

    def answered(self, data: bytes, transport: MemoryTransport | None = None) -> MemoryTransport:
        transport = transport or self.network.accept()
        transport.settle()
        transport.deliver(data)
        return transport

    def test_an_answer_is_had_with_its_body(self) -> None:
        asked = self.ask(b"body")
        transport = self.answered(answer(404, b"hi", b"Retry-After: 5", b"Set-Cookie: a=b"))
        sent = transport.take()
        self.assertIn(b"x-a: b\r\n", sent)
        self.assertTrue(sent.endswith(b"content-length: 4\r\n\r\nbody"))
        self.assertEqual(self.successResultOf(asked), OwnAnswer(404, b"hi", "5"))
        # No cookie of one call is another's.
        again = self.ask()
        transport.settle()
        self.assertNotIn(b"cookie", transport.take().lower())
        self.answered(answer(200), transport)
        self.assertEqual(self.successResultOf(again).status, 200)

    def test_a_redirection_is_an_answer(self) -> None:
        """R6."""
        asked = self.ask()
        self.answered(answer(302, b"", b"Location: http://evil.example/"))
        self.assertEqual(self.successResultOf(asked).status, 302)
        self.assertEqual(len(self.network.tcpClients), 1)

    def test_a_compressed_answer_is_read(self) -> None:
        asked = self.ask()
        self.answered(answer(200, gzip.compress(b"hello"), b"Content-Encoding: gzip"))
        self.assertEqual(self.successResultOf(asked).body, b"hello")

    def test_some_statuses_and_all_trouble_on_the_way_are_tried_again(self) -> None:
        asked = self.ask()
        transport = self.answered(answer(503))
        self.network.advance(0.5)
        transport.settle()
        transport.leave(reset())
        self.assertNoResult(asked)
        # The kept connection was nobody's fault: a fresh one is taken within the attempt.
        self.network.accept().leave(reset())
        self.network.advance(1.0)
        self.answered(answer(429))
        self.assertEqual(self.successResultOf(asked).status, 429)

    def test_the_server_says_how_long_to_wait_if_there_is_time(self) -> None:
        for told, waits in ((b"7", True), (b"31", False), (b"soon", True), (b"\xb2", True)):
            asked = self.ask()
            transport = self.answered(answer(429, b"", b"Retry-After: " + told))
            if waits:
                self.network.advance(7)
                transport.settle()
                self.answered(answer(200), transport)
            self.assertEqual(self.successResultOf(asked).status, 200 if waits else 429)
            transport.leave()

    def test_trouble_to_the_end_is_no_answer(self) -> None:
        asked = self.ask()
        for wait in (0.5, 1.0, 0.0):
            self.network.refuse()
            # Twisted's endpoint looks again after so long.
            self.network.advance(0.3)
            self.network.advance(wait)
        error = self.failureResultOf(asked, NoAnswer).value
        self.assertIn("h.example", error.cause)
        asked = self.ask()
        for wait in (0.5, 1.0, 0.0):
            self.answered(b"nonsense\r\n\r\n")
            self.network.advance(wait)
        self.assertEqual(self.failureResultOf(asked, NoAnswer).value.cause, "MalformedMessage")

    def test_everything_together_has_a_time(self) -> None:
        asked = self.ask()
        self.network.accept()
        self.network.advance(20)
        self.network.advance(0.5)
        self.network.accept()
        self.network.advance(9.5)
        self.failureResultOf(asked, NoAnswer)

    def test_too_large_an_answer_is_none(self) -> None:
        asked = self.ask(limit=1)
        self.answered(answer(200))
        self.assertEqual(self.failureResultOf(asked, NoAnswer).value.cause, "ResponseTooLarge")

    def test_cancelling_ends_the_waiting(self) -> None:
        asked = self.ask()
        self.answered(answer(503))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)


@pytest.mark.parametrize(
    ("attempt", "bound"), [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 8.0), (10_000, 8.0)]
)
def test_the_wait_doubles_up_to_a_bound(attempt: int, bound: float) -> None:
    for drawn in (0.0, 0.5, 1.0):
        seconds = backoff_seconds(
            attempt, first_seconds=0.5, longest_seconds=8.0, random=lambda drawn=drawn: drawn
        )
        assert seconds == drawn * bound


def test_an_answers_body_is_not_in_its_repr() -> None:
    assert "secret" not in repr(OwnAnswer(200, b"secret"))
