"""A connection to an upstream: kept only when both sides are in step, dropped at the first oddity."""

from __future__ import annotations

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone

from gptproxy.http import FirstByteTimeout, MalformedMessage, Response, ResponseNeverReceived
from tests.http.asking import HEAD, OK, Pieces, Taker, Upstream
from tests.http.memory import reset


def deliver(response: Response) -> Taker:
    taker = Taker()
    response.deliverBody(taker)
    return taker


class AnswerTests(SynchronousTestCase):
    def test_one_request_after_the_other_is_answered_on_one_connection(self) -> None:
        upstream = Upstream()
        for number in range(1, 4):
            asked = upstream.ask()
            self.assertEqual(upstream.transport.take(), HEAD)
            self.assertNoResult(asked)
            upstream.answer(OK)
            response = self.successResultOf(asked)
            self.assertEqual((response.code, response.phrase, response.length), (200, b"OK", 2))
            taker = deliver(response)
            self.assertEqual((taker.data, taker.end and taker.end.type), (b"hi", ResponseDone))
            self.assertEqual(upstream.idle, number)
        upstream.check_nothing_is_left()

    def test_an_answer_may_come_byte_by_byte(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(*[OK[i : i + 1] for i in range(len(OK))])
        taker = deliver(self.successResultOf(asked))
        upstream.transport.settle()
        self.assertEqual((taker.data, upstream.idle), (b"hi", 1))
        upstream.check_nothing_is_left()

    def test_interim_answers_are_passed_over(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertNoResult(asked)
        upstream.answer(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        self.assertEqual(self.successResultOf(asked).code, 200)
        upstream.check_nothing_is_left()

    def test_an_answer_in_chunks_may_have_a_trailer(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        taker = deliver(self.successResultOf(asked))
        upstream.answer(b"1\r\n!\r\n0\r\nX: y\r\n\r\n")
        self.assertEqual((taker.data, upstream.idle), (b"hi!", 1))
        upstream.check_nothing_is_left()

    def test_an_answer_may_end_with_the_connection(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(b"HTTP/1.0 200 OK\r\n\r\nhi")
        response = self.successResultOf(asked)
        self.assertEqual(response.length, "twisted.web.iweb.UNKNOWN_LENGTH")
        taker = deliver(response)
        upstream.answer(b"!")
        upstream.transport.leave()
        self.assertEqual((taker.data, taker.end and taker.end.type), (b"hi!", ResponseDone))
        upstream.check_nothing_is_left()
        self.assertEqual(upstream.idle, 0)

    def test_but_not_with_a_connection_that_broke(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(b"HTTP/1.0 200 OK\r\n\r\nhi")
        taker = deliver(self.successResultOf(asked))
        upstream.transport.leave(reset())
        self.assertIs(taker.end and taker.end.type, ConnectionLost)
        upstream.check_nothing_is_left()

    def test_a_head_request_has_an_answer_without_a_body(self) -> None:
        upstream = Upstream()
        asked = upstream.ask(method=b"HEAD")
        upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(deliver(self.successResultOf(asked)).data, b"")
        self.assertEqual(upstream.idle, 1)
        upstream.check_nothing_is_left()

    def test_a_body_nobody_takes_yet_stays_with_the_upstream(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(OK.replace(b"2\r\n", b"6\r\n"), b"th", b"er")
        response = self.successResultOf(asked)
        self.assertEqual((upstream.transport.reading, upstream.transport.held_back), (False, 4))
        taker = deliver(response)
        upstream.transport.settle()
        self.assertEqual((taker.data, upstream.idle), (b"hither", 1))
        upstream.check_nothing_is_left()


class PausingTests(SynchronousTestCase):
    def test_a_body_paused_at_its_last_piece_leaves_a_connection_that_is_read_from(self) -> None:
        """Else the end of an idle connection would not be seen."""

        class Pausing(Taker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()  # type: ignore[union-attr]  # a body's transport has it

        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        taker = Pausing()
        self.successResultOf(asked).deliverBody(taker)
        upstream.answer(b"hi")
        self.assertEqual(taker.data, b"hi")
        self.assertTrue(upstream.transport.reading)
        self.assertEqual(upstream.idle, 1)
        upstream.check_nothing_is_left()


class OutOfStepTests(SynchronousTestCase):
    def dropped(self, upstream: Upstream) -> None:
        upstream.transport.settle()
        self.assertEqual(upstream.idle, 0)
        self.assertGreaterEqual(upstream.gone, 1)
        upstream.check_nothing_is_left()

    def test_a_malformed_answer_drops_the_connection(self) -> None:
        for data in (
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"x" * 70_000,
        ):
            upstream = Upstream()
            asked = upstream.ask()
            upstream.answer(data)
            self.failureResultOf(asked, MalformedMessage)
            self.assertTrue(upstream.transport.aborted)
            self.dropped(upstream)

    def test_a_malformed_chunk_ends_the_body_and_the_connection(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        taker = deliver(self.successResultOf(asked))
        upstream.answer(b"zz\r\n")
        self.assertEqual((taker.data, taker.end and taker.end.type), (b"hi", MalformedMessage))
        self.dropped(upstream)

    def test_bytes_behind_the_answer_do_not_become_the_next_one(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(OK + OK)
        self.assertEqual(deliver(self.successResultOf(asked)).data, b"hi")
        self.dropped(upstream)

    def test_nor_do_bytes_that_come_when_nothing_was_asked(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(OK)
        self.successResultOf(asked)
        upstream.answer(OK)
        self.assertTrue(upstream.transport.aborted)
        upstream.check_nothing_is_left()

    def test_connection_close_and_http_1_0_are_believed(self) -> None:
        for data in (
            OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"),
            OK.replace(b"1.1", b"1.0"),
            b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
        ):
            upstream = Upstream()
            asked = upstream.ask()
            upstream.answer(data)
            self.successResultOf(asked)
            self.assertTrue(upstream.transport.half_closed)
            self.dropped(upstream)

    def test_a_connection_that_ends_tells_whether_anything_was_heard(self) -> None:
        for heard in (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nCont"):
            for error in (None, reset()):
                upstream = Upstream()
                asked = upstream.ask()
                upstream.answer(heard)
                upstream.transport.leave(error)
                failure = self.failureResultOf(
                    asked, MalformedMessage if heard else ResponseNeverReceived
                )
                if not heard:
                    self.assertFalse(failure.value.reused)
                    self.assertIsInstance(
                        failure.value.cause.value, ConnectionDone | ConnectionLost
                    )
                self.dropped(upstream)

    def test_a_kept_connection_tells_that_it_had_served_before(self) -> None:
        upstream = Upstream()
        upstream.ask()
        upstream.answer(OK)
        asked = upstream.ask()
        upstream.transport.leave()
        self.assertTrue(self.failureResultOf(asked, ResponseNeverReceived).value.reused)
        upstream.check_nothing_is_left()

    def test_a_body_that_is_cut_short_is_not_complete(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(OK[:-1])
        taker = deliver(self.successResultOf(asked))
        upstream.transport.leave()
        self.assertEqual((taker.data, taker.end and taker.end.type), (b"h", ConnectionDone))
        self.dropped(upstream)

    def test_a_body_that_tls_breaks_off_is_lost_as_one_that_tcp_does(self) -> None:
        upstream = Upstream(secure=True)
        upstream.connection.handshakeCompleted()
        asked = upstream.ask()
        upstream.answer(OK[:-1])
        taker = deliver(self.successResultOf(asked))
        upstream.transport.leave(TLSError([("SSL routines", "", "unexpected eof while reading")]))
        self.assertIs(taker.end and taker.end.type, ConnectionLost)
        self.dropped(upstream)


class TimeTests(SynchronousTestCase):
    def test_headers_that_do_not_come_in_time_drop_the_connection(self) -> None:
        for heard in (b"", b"HTTP/1.1 200", b"HTTP/1.1 100 Continue\r\n\r\n"):
            upstream = Upstream()
            asked = upstream.ask()
            upstream.answer(heard)
            upstream.wait(599)
            self.assertNoResult(asked)
            upstream.wait(1)
            self.failureResultOf(asked, FirstByteTimeout)
            self.assertTrue(upstream.transport.aborted)
            upstream.check_nothing_is_left()

    def test_a_body_may_take_as_long_as_it_takes(self) -> None:
        upstream = Upstream()
        asked = upstream.ask()
        upstream.answer(OK[:-2])
        taker = deliver(self.successResultOf(asked))
        upstream.wait(10_000)
        upstream.answer(b"hi")
        self.assertEqual(taker.data, b"hi")
        upstream.check_nothing_is_left()

    def test_the_time_counts_from_the_last_byte_of_the_request(self) -> None:
        upstream, body = Upstream(), Pieces()
        asked = upstream.ask(body)
        for _ in range(3):
            upstream.wait(500)
            body.write(b"x")
        upstream.wait(500)
        body.done.callback(None)
        upstream.wait(599)
        self.assertNoResult(asked)
        upstream.wait(1)
        self.failureResultOf(asked, FirstByteTimeout)
        upstream.check_nothing_is_left()

    def test_an_idle_connection_retires_unless_it_is_asked_again(self) -> None:
        upstream = Upstream()
        upstream.ask()
        upstream.answer(OK)
        upstream.connection.retire_after(60)
        upstream.wait(59)
        asked = upstream.ask()
        upstream.wait(10)
        upstream.answer(OK)
        self.successResultOf(asked)
        upstream.connection.retire_after(60)
        upstream.wait(60)
        self.assertTrue(upstream.transport.half_closed)
        upstream.wait(2)
        self.assertIsNotNone(upstream.transport.lost)
        upstream.check_nothing_is_left()


class ReadyTests(SynchronousTestCase):
    def test_tcp_is_ready_at_once_and_tls_when_its_handshake_is_done(self) -> None:
        plain, secure = Upstream(), Upstream(secure=True)
        self.assertIs(self.successResultOf(plain.connection.ready), plain.connection)
        self.assertNoResult(secure.connection.ready)
        secure.connection.handshakeCompleted()
        self.assertIs(self.successResultOf(secure.connection.ready), secure.connection)
        secure.connection.handshakeCompleted()
        plain.check_nothing_is_left()
        secure.check_nothing_is_left()

    def test_a_handshake_that_fails_fails_the_wait(self) -> None:
        upstream = Upstream(secure=True)
        upstream.transport.leave(reset())
        self.failureResultOf(upstream.connection.ready, ConnectionLost)
        upstream.check_nothing_is_left()

    def test_a_handshake_that_is_done_with_the_wrong_peer_does_not_make_it_ready(self) -> None:
        """As Twisted 24.11 does it: aborted first, and completed all the same."""
        upstream = Upstream(secure=True)
        upstream.transport.abortConnection()
        upstream.connection.handshakeCompleted()
        self.assertNoResult(upstream.connection.ready)
        upstream.transport.settle()
        self.failureResultOf(upstream.connection.ready, ConnectionAborted)
        upstream.check_nothing_is_left()

    def test_who_waits_no_more_is_not_told_of_the_end(self) -> None:
        """The connect timeout during a handshake: the loss that follows finds nobody."""
        upstream = Upstream(secure=True)
        upstream.connection.ready.cancel()
        self.failureResultOf(upstream.connection.ready, CancelledError)
        upstream.transport.settle()
        self.assertIsNotNone(upstream.transport.lost)
        upstream.check_nothing_is_left()
