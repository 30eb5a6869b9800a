"""A request's body on a connection to an upstream: framed, paced, stopped; and who gives up drops the connection."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http import Response, ResponseNeverReceived
from gptproxy.http.request_producer import WrongBodyLength
from tests.http.asking import HEAD, OK, Pieces, Taker, Upstream


def deliver(response: Response) -> Taker:
    taker = Taker()
    response.deliverBody(taker)
    return taker


class SendingTests(SynchronousTestCase):
    def test_a_body_of_known_length_goes_as_it_is_and_another_in_chunks(self) -> None:
        for length, sent in ((3, b"abc"), ("unknown", b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n")):
            upstream, body = Upstream(), Pieces(length)
            asked = upstream.ask(body)
            body.write(b"a")
            body.write(b"")
            body.write(b"bc")
            body.done.callback(None)
            upstream.transport.settle()
            self.assertEqual(upstream.transport.take(), HEAD + sent)
            upstream.answer(OK)
            self.successResultOf(asked)
            self.assertEqual((upstream.idle, body.calls), (1, []))
            upstream.check_nothing_is_left()

    def test_a_wrong_length_drops_the_connection(self) -> None:
        upstream, body = Upstream(), Pieces(3)
        asked = upstream.ask(body)
        body.write(b"ab")
        self.assertRaises(WrongBodyLength, body.write, b"cd")
        body.done.callback(None)
        self.failureResultOf(asked, WrongBodyLength)
        self.assertEqual(body.calls, [], "it had said that it was done")
        upstream.check_nothing_is_left()

    def test_a_body_that_fails_drops_the_connection(self) -> None:
        upstream, body = Upstream(), Pieces()
        asked = upstream.ask(body)
        body.done.errback(Failure(ZeroDivisionError()))
        self.failureResultOf(asked, ZeroDivisionError)
        self.assertTrue(upstream.transport.aborted)
        upstream.check_nothing_is_left()

    def test_so_does_one_that_cannot_even_start(self) -> None:
        class Faulty(Pieces):
            def startProducing(self, consumer: IConsumer) -> Deferred[None]:
                raise ZeroDivisionError

        upstream = Upstream()
        self.failureResultOf(upstream.ask(Faulty()), ZeroDivisionError)
        upstream.check_nothing_is_left()

    def test_an_upstream_that_does_not_read_pauses_the_body(self) -> None:
        upstream, body = Upstream(), Pieces()
        upstream.transport.peer_reads = False
        asked = upstream.ask(body)
        body.write(b"x" * 100_000)
        self.assertEqual(body.calls, ["pause"])
        upstream.transport.peer_reads = True
        upstream.transport.settle()
        self.assertEqual(body.calls, ["pause", "resume"])
        upstream.check_nothing_is_left()
        self.failureResultOf(asked, ResponseNeverReceived)

    def test_a_body_that_fills_the_buffer_as_it_starts_is_paused_too(self) -> None:
        class Eager(Pieces):
            def startProducing(self, consumer: IConsumer) -> Deferred[None]:
                consumer.write(b"x" * 100_000)
                return super().startProducing(consumer)

        upstream, body = Upstream(), Eager()
        upstream.transport.peer_reads = False
        asked = upstream.ask(body)
        self.assertEqual(body.calls, ["pause"])
        upstream.check_nothing_is_left()
        self.failureResultOf(asked, ResponseNeverReceived)

    def test_an_answer_before_the_bodys_end_stops_the_body_and_is_the_connections_last(
        self,
    ) -> None:
        upstream, body = Upstream(), Pieces()
        asked = upstream.ask(body)
        body.write(b"a")
        upstream.answer(OK.replace(b"200 OK", b"413 No"))
        response = self.successResultOf(asked)
        self.assertEqual((response.code, deliver(response).data), (413, b"hi"))
        self.assertEqual((body.calls, upstream.idle), (["stop"], 0))
        # What it still says is nothing to the connection.
        body.done.callback(None)
        upstream.transport.settle()
        self.assertNotIn(b"0\r\n\r\n", upstream.transport.sent)
        upstream.check_nothing_is_left()

    def test_a_body_goes_on_while_its_answer_comes(self) -> None:
        upstream, body = Upstream(), Pieces()
        asked = upstream.ask(body)
        upstream.answer(OK[:-1])
        taker = deliver(self.successResultOf(asked))
        body.write(b"a")
        body.done.callback(None)
        upstream.answer(b"i")
        self.assertEqual((taker.data, upstream.idle), (b"hi", 1))
        upstream.check_nothing_is_left()

    def test_a_body_that_fails_late_is_nothing_to_the_next_request(self) -> None:
        upstream, body = Upstream(), Pieces()
        upstream.ask(body)
        upstream.answer(OK)
        body.done.errback(Failure(ZeroDivisionError()))
        upstream.check_nothing_is_left()


class CancellingTests(SynchronousTestCase):
    def test_cancelling_drops_the_connection_in_every_phase(self) -> None:
        for heard in (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 2"):
            upstream, body = Upstream(), Pieces()
            asked = upstream.ask(body)
            upstream.answer(heard)
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
            self.assertEqual(body.calls, ["stop"])
            upstream.transport.settle()
            assert upstream.transport.lost is not None
            self.assertIs(upstream.transport.lost.type, ConnectionAborted)
            upstream.check_nothing_is_left()

    def test_giving_up_on_the_body_drops_it_too(self) -> None:
        for give_up in ("stopProducing", "loseConnection", "abortConnection"):
            upstream = Upstream()
            asked = upstream.ask()
            upstream.answer(OK[:-1])
            taker = deliver(self.successResultOf(asked))
            getattr(taker.transport, give_up)()
            getattr(taker.transport, give_up)()
            upstream.transport.settle()
            self.assertTrue(upstream.transport.aborted)
            self.assertIs(taker.end and taker.end.type, ConnectionAborted)
            upstream.check_nothing_is_left()

    def test_a_body_that_has_ended_cannot_touch_the_next_request(self) -> None:
        upstream = Upstream()
        first = upstream.ask()
        upstream.answer(OK)
        taker = deliver(self.successResultOf(first))
        second = upstream.ask()
        for act in ("pauseProducing", "resumeProducing", "stopProducing", "abortConnection"):
            getattr(taker.transport, act)()
        self.assertTrue(upstream.transport.reading)
        upstream.answer(OK)
        self.assertEqual(self.successResultOf(second).code, 200)
        upstream.check_nothing_is_left()

    def test_aborting_twice_or_too_late_is_nothing(self) -> None:
        upstream = Upstream()
        upstream.connection.abort()
        upstream.connection.abort()
        upstream.transport.settle()
        upstream.connection.abort()
        upstream.check_nothing_is_left()
