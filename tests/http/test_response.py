"""An answer: its body waits, is taken once, and its taker has the last word about its pace."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone
from twisted.web.iweb import IClientRequest, IResponse
from zope.interface.verify import verifyObject

from gptproxy.http import Response, ResponseTooLarge, collect_body
from tests.http.asking import Taker, Upstream

OK = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 6\r\n\r\n"


class ResponseCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.upstream = Upstream()

    def tearDown(self) -> None:
        self.upstream.check_nothing_is_left()

    def answered(self, *pieces: bytes) -> Response:
        asked = self.upstream.ask()
        self.upstream.answer(OK + b"".join(pieces[:1]), *pieces[1:])
        return self.successResultOf(asked)


class DeliveryTests(ResponseCase):
    def test_it_is_twisteds_interface(self) -> None:
        response = self.answered(b"abcdef")
        verifyObject(IResponse, response)
        verifyObject(IClientRequest, response.request)
        response.setPreviousResponse(response)
        self.assertIs(response.previousResponse, response)
        taker = Taker()
        response.deliverBody(taker)
        verifyObject(ITransport, taker.transport)
        verifyObject(IPushProducer, taker.transport)

    def test_it_has_its_head_in_twisteds_form_and_in_ours(self) -> None:
        response = self.answered(b"abcdef")
        self.assertEqual(response.version, (b"HTTP", 1, 1))
        self.assertEqual(response.headers.getRawHeaders("X-A"), ["1", "2"])
        self.assertIs(response.headers, response.headers)
        self.assertEqual(
            response.fields, ((b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"6"))
        )

    def test_a_body_that_came_before_it_was_taken_is_not_lost(self) -> None:
        taker = Taker()
        self.answered(b"abcdef").deliverBody(taker)
        self.assertEqual((taker.data, taker.end and taker.end.type), (b"abcdef", ResponseDone))

    def test_a_body_is_taken_once(self) -> None:
        response = self.answered(b"abcdef")
        response.deliverBody(Taker())
        self.assertRaises(RuntimeError, response.deliverBody, Taker())

    def test_a_taker_that_pauses_at_once_stays_paused(self) -> None:
        """Back-pressure from the first byte on: the caller's buffer may be full already."""
        taker = Taker(paused=True)
        self.answered(b"ab", b"cdef").deliverBody(taker)
        self.upstream.transport.settle()
        self.assertEqual((taker.data, self.upstream.transport.reading), (b"ab", False))
        assert taker.transport is not None
        taker.transport.resumeProducing()
        self.upstream.transport.settle()
        self.assertEqual(taker.data, b"abcdef")

    def test_so_does_one_that_pauses_at_what_was_waiting(self) -> None:
        class Pausing(Taker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()  # type: ignore[union-attr]  # a body's transport has it

        taker = Pausing()
        self.answered(b"ab", b"cdef").deliverBody(taker)
        self.upstream.transport.settle()
        self.assertEqual((taker.data, self.upstream.transport.reading), (b"ab", False))

    def test_a_taker_that_gives_up_within_a_piece_is_told_of_the_end_once(self) -> None:
        class Leaving(Taker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.loseConnection()  # type: ignore[union-attr]  # it is connected
                upstream.transport.settle()

        upstream = self.upstream
        taker = Leaving()
        self.answered(b"ab").deliverBody(taker)
        self.assertEqual((taker.data, taker.end and taker.end.type), (b"ab", ConnectionAborted))

    def test_a_bodys_transport_writes_nothing_and_has_no_address(self) -> None:
        taker = Taker()
        self.answered(b"ab").deliverBody(taker)
        transport = taker.transport
        assert transport is not None
        self.upstream.transport.take()
        transport.write(b"x")
        transport.writeSequence([b"x"])
        self.upstream.transport.settle()
        self.assertEqual(self.upstream.transport.take(), b"")
        self.assertEqual(transport.getPeer(), transport.getHost())
        self.assertFalse(transport.disconnecting)

    def test_an_answer_nobody_wants_is_dropped_unless_it_is_complete(self) -> None:
        self.answered(b"abcdef").abandon()
        self.upstream.transport.settle()
        self.assertFalse(self.upstream.transport.aborted)
        self.answered(b"ab").abandon()
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)

    def test_giving_up_while_the_body_is_taken_is_the_same(self) -> None:
        response = self.answered(b"ab")
        taker = Taker()
        response.deliverBody(taker)
        response.abandon()
        self.upstream.transport.settle()
        self.assertIs(taker.end and taker.end.type, ConnectionAborted)


class CollectTests(ResponseCase):
    def test_a_body_is_collected(self) -> None:
        collected = collect_body(self.answered(b"ab", b"cd"), 6)
        self.assertNoResult(collected)
        self.upstream.answer(b"ef")
        self.assertEqual(self.successResultOf(collected), b"abcdef")

    def test_up_to_a_limit(self) -> None:
        """R9."""
        collected = collect_body(self.answered(b"abc", b"def"), 5)
        self.upstream.transport.settle()
        self.failureResultOf(collected, ResponseTooLarge)
        self.assertTrue(self.upstream.transport.aborted)

    def test_the_limit_holds_for_what_was_waiting_too(self) -> None:
        self.failureResultOf(collect_body(self.answered(b"abcdef"), 5), ResponseTooLarge)

    def test_nothing_more_is_kept_once_it_is_over(self) -> None:
        asked = self.upstream.ask()
        self.upstream.answer(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n"
        )
        collected = collect_body(self.successResultOf(asked), 2)
        self.failureResultOf(collected, ResponseTooLarge)

    def test_a_body_that_breaks_off_fails(self) -> None:
        collected = collect_body(self.answered(b"ab"), 6)
        self.upstream.transport.leave()
        self.failureResultOf(collected, ConnectionDone)

    def test_cancelling_drops_the_connection(self) -> None:
        collected = collect_body(self.answered(b"ab"), 6)
        collected.cancel()
        self.failureResultOf(collected, CancelledError)
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)


class ReadAheadTests(ResponseCase):
    """A body can be looked at before somebody takes it."""

    def ahead(self, limit_bytes: int, *pieces: bytes) -> tuple[Response, list[bytes | None]]:
        response = self.answered(*pieces)
        seen: list[bytes | None] = []
        response.read_ahead(limit_bytes, seen.append)
        self.upstream.transport.settle()
        return response, seen

    def test_what_comes_is_told_and_kept(self) -> None:
        response, seen = self.ahead(100, b"ab")
        self.assertEqual((response.waiting, response.end), (b"ab", None))
        self.upstream.answer(b"cd", b"ef")
        self.assertEqual(seen, [b"cd", b"ef", None])
        self.assertEqual(response.waiting, b"abcdef")
        self.assertEqual(response.end and response.end.type, ResponseDone)
        self.assertEqual(response.take_whole(), b"abcdef")
        self.assertEqual(response.waiting, b"")

    def test_no_more_than_wanted_is_read(self) -> None:
        response, seen = self.ahead(2, b"ab")
        self.upstream.answer(b"cd", b"ef")
        self.assertEqual((seen, self.upstream.transport.reading), ([b"cd"], False))
        taker = Taker()
        response.deliverBody(taker)
        self.upstream.transport.settle()
        self.assertEqual((taker.data, taker.end and taker.end.type), (b"abcdef", ResponseDone))
        self.assertEqual(seen, [b"cd"])

    def test_a_body_that_breaks_off_is_told_too(self) -> None:
        response, seen = self.ahead(100, b"ab")
        self.upstream.transport.leave(ConnectionDone())
        self.assertEqual(seen, [None])
        assert response.end is not None
        self.assertNotEqual(response.end.type, ResponseDone)

    def test_it_can_be_given_up(self) -> None:
        response, _ = self.ahead(100, b"ab")
        response.abandon()
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)
        self.assertEqual(response.waiting, b"")
