"""An upstream's body goes down to the caller at the caller's pace, and each side's end is the other's."""

from __future__ import annotations

from treq.testing import StubTreq
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gptproxy.http import BodyIncomplete, RelayBroken, Request, StreamedUpload, relay_body
from gptproxy.http.flow import WriteSide
from gptproxy.http.relay import RelayStalled
from gptproxy.http.request_producer import BytesBody, RequestBodyWriter
from tests.http.asking import Pieces, Upstream
from tests.http.memory import BUFFER_LIMIT, MemoryTransport, reset
from tests.http.serving import Client, EarlyRendered

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class RelayCase(SynchronousTestCase):
    heartbeat_seconds: float | None = None

    def setUp(self) -> None:
        self.resource = EarlyRendered(lambda _: None)
        self.client = Client(self.resource)
        self.upstream = Upstream()

    def tearDown(self) -> None:
        self.client.check_nothing_is_left()
        self.upstream.check_nothing_is_left()

    def relayed(self, *pieces: bytes) -> tuple[Request, Deferred[int]]:
        self.client.send(GET)
        asked = self.upstream.ask()
        self.upstream.answer(CHUNKED, *pieces)
        request = self.resource.requests[-1]
        self.relay = relay_body(
            self.successResultOf(asked), request, self.client.clock, 100.0, self.heartbeat_seconds
        )
        self.upstream.transport.settle()
        return request, self.relay.result

    def broken(self, relay: Deferred[int], cause: type[BaseException]) -> RelayBroken:
        error = self.failureResultOf(relay, RelayBroken).value
        assert isinstance(error, RelayBroken)
        self.assertIsInstance(error.cause.value, cause)
        self.assertIn(cause.__name__, str(error))
        return error


class RelayTests(RelayCase):
    def test_a_body_goes_down_as_it_comes_and_its_length_is_told(self) -> None:
        request, relay = self.relayed(chunk(b"one"))
        self.client.transport.settle()
        self.assertTrue(self.client.transport.sent.endswith(chunk(b"one")))
        self.upstream.answer(chunk(b"three"), b"0\r\n\r\n")
        self.assertEqual(self.successResultOf(relay), 8)
        request.finish()
        self.assertEqual(self.client.answer().body, b"onethree")
        self.assertEqual(self.upstream.idle, 1)

    def test_a_caller_who_does_not_read_pauses_the_upstream(self) -> None:
        """No more than the transport's buffer and one read is held."""
        self.client.transport.peer_reads = False
        request, relay = self.relayed(*[chunk(b"x" * 30_000)] * 20, b"0\r\n\r\n")
        self.assertFalse(self.upstream.transport.reading)
        self.assertLess(self.client.transport.buffered, BUFFER_LIMIT + 31_000)
        self.client.transport.peer_reads = True
        for _ in range(20):
            self.client.transport.settle()
            self.upstream.transport.settle()
        self.assertEqual(self.successResultOf(relay), 600_000)
        request.finish()
        self.assertEqual(len(self.client.answer().body), 600_000)

    def test_even_if_his_buffer_was_full_before_the_first_byte(self) -> None:
        self.client.transport.peer_reads = False
        self.client.send(GET)
        request = self.resource.requests[0]
        request.write(b"y" * 100_000)
        asked = self.upstream.ask()
        self.upstream.answer(CHUNKED, chunk(b"x"))
        relay = relay_body(self.successResultOf(asked), request, self.client.clock, 100.0).result
        self.upstream.transport.settle()
        self.assertFalse(self.upstream.transport.reading)
        relay.cancel()
        self.failureResultOf(relay, CancelledError)

    def test_a_body_that_breaks_off_leaves_its_last_bytes(self) -> None:
        """They tell whether it was cut in an event, and what the call cost; of a long body 4 to 8 KiB are kept."""
        long = b"x" * 3000
        for pieces, tail, between in (
            ((), b"", True),
            ((b"data: 1\n\n",), b"data: 1\n\n", True),
            ((b"data: 1\r\r",), b"data: 1\r\r", True),
            ((b"data: 1\r\n", b"\r\n"), b"data: 1\r\n\r\n", True),
            ((b"a", b"b\n"), b"ab\n", False),
            ((long, long), long + long, False),
            ((long, long, long), b"x" * 4096, False),
            ((long * 3, b"y"), b"x" * 4096 + b"y", False),
        ):
            upstream = self.upstream = Upstream()
            _, relay = self.relayed(*map(chunk, pieces))
            upstream.transport.leave(reset())
            self.broken(relay, type(reset()))
            self.assertEqual((bytes(self.relay.tail), self.relay.between_events), (tail, between))
            upstream.check_nothing_is_left()
            self.client.check_nothing_is_left()
            self.client = Client(self.resource)

    def test_a_silent_upstream_is_given_up(self) -> None:
        _, relay = self.relayed(chunk(b"one"))
        self.client.wait(99)
        self.upstream.answer(chunk(b"two"))
        self.client.wait(99)
        self.assertNoResult(relay)
        self.client.wait(1)
        self.broken(relay, RelayStalled)
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)

    def test_so_is_a_caller_who_takes_nothing_for_so_long(self) -> None:
        self.client.transport.peer_reads = False
        _, relay = self.relayed(chunk(b"x" * 100_000))
        self.client.wait(60)
        self.client.transport.peer_reads = True
        self.client.transport.settle()
        self.client.wait(99)
        self.assertNoResult(relay)
        self.client.wait(1)
        self.broken(relay, RelayStalled)

    def test_a_caller_who_leaves_drops_the_upstream(self) -> None:
        request, relay = self.relayed(chunk(b"one"))
        request_gone = self.resource.ends
        relay.addErrback(lambda reason: reason.trap(CancelledError))
        self.resource.requests[0].notifyFinish().addErrback(lambda _: relay.cancel())
        self.client.transport.leave()
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)
        self.assertEqual(len(request_gone), 1)
        self.assertIsNone(self.successResultOf(relay) and None)
        self.assertIsNotNone(request)

    def test_what_comes_after_a_cancel_goes_nowhere(self) -> None:
        request, relay = self.relayed(chunk(b"one"))
        taker = request.producer
        relay.cancel()
        self.failureResultOf(relay, CancelledError)
        self.client.transport.settle()
        self.client.transport.take()
        taker.dataReceived(b"late")
        taker.resumeProducing()
        taker.pauseProducing()
        taker.stopProducing()
        self.client.transport.settle()
        self.assertEqual(self.client.transport.take(), b"")
        self.assertIsNone(request.producer)

    def test_a_channel_that_stops_its_producer_cancels(self) -> None:
        request, relay = self.relayed(chunk(b"one"))
        request.producer.stopProducing()
        self.failureResultOf(relay, CancelledError)
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)

    def test_it_works_under_twisteds_own_site(self) -> None:
        def relay(request: Request) -> None:
            asked = self.upstream.ask()
            self.upstream.answer(CHUNKED + chunk(b"one") + b"0\r\n\r\n")
            done = relay_body(self.successResultOf(asked), request, Clock(), 100.0).result
            done.addCallback(lambda _: request.finish())

        client = StubTreq(EarlyRendered(relay))
        response = self.successResultOf(client.get("http://h/"))
        self.assertEqual(self.successResultOf(client.content(response)), b"one")


class HeartbeatTests(RelayCase):
    """A stream's silence is filled by comments, which every reader of events skips."""

    heartbeat_seconds = 15.0
    PING = chunk(b": ping\n\n")
    EVENT = b"data: 1\n\n"

    def pings(self) -> int:
        self.client.transport.settle()
        return self.client.transport.sent.count(self.PING)

    def end(self, relay: Deferred[int]) -> None:
        relay.cancel()
        self.failureResultOf(relay, CancelledError)

    def test_each_time_so_long_after_the_last_byte(self) -> None:
        _, relay = self.relayed(chunk(self.EVENT))
        seen = []
        for seconds in (14, 1, 14, 1):
            self.client.wait(seconds)
            seen.append(self.pings())
        self.upstream.answer(chunk(self.EVENT))
        for seconds in (14, 1):
            self.client.wait(seconds)
            seen.append(self.pings())
        self.assertEqual(seen, [0, 1, 1, 2, 2, 3])
        self.upstream.answer(chunk(self.EVENT), b"0\r\n\r\n")
        self.upstream.transport.settle()
        # Comments are not counted as the upstream's.
        self.assertEqual(self.successResultOf(relay), 3 * len(self.EVENT))

    def test_before_the_first_event_too(self) -> None:
        _, relay = self.relayed()
        self.client.wait(15)
        self.assertEqual(self.pings(), 1)
        self.end(relay)

    def test_never_inside_an_event(self) -> None:
        _, relay = self.relayed(chunk(self.EVENT + b"data: "))
        self.client.wait(40)
        self.assertEqual(self.pings(), 0)
        self.upstream.answer(chunk(b"2\n\n"))
        self.client.wait(15)
        self.assertEqual(self.pings(), 1)
        self.end(relay)

    def test_never_where_events_have_ids(self) -> None:
        """OpenAI's Python client makes an event of an empty line then, and fails on it."""
        _, relay = self.relayed(chunk(b"data: 1\nid: 7\n\n"))
        self.client.wait(40)
        self.assertEqual(self.pings(), 0)
        self.end(relay)

    def test_never_to_a_caller_who_does_not_read(self) -> None:
        self.client.transport.peer_reads = False
        _, relay = self.relayed(chunk(b"x" * 100_000 + b"\n\n"))
        self.client.wait(40)
        self.client.transport.peer_reads = True
        self.assertEqual(self.pings(), 0)
        self.end(relay)

    def test_they_do_not_keep_a_silent_upstream(self) -> None:
        _, relay = self.relayed(chunk(self.EVENT))
        for _ in range(6):
            self.client.wait(15)
        self.client.wait(9)
        self.assertNoResult(relay)
        self.client.wait(1)
        self.broken(relay, RelayStalled)
        self.assertEqual(self.pings(), 6)


class UploadTests(RelayCase):
    def uploaded(self, head: bytes) -> tuple[Request, Deferred[object]]:
        self.client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n")
        request = self.resource.requests[-1]
        return request, self.upstream.ask(StreamedUpload(request.body))

    def test_a_clients_body_goes_up_as_it_comes(self) -> None:
        request, asked = self.uploaded(b"Content-Length: 6\r\n")
        self.client.send(b"abc")
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.take().endswith(b"\r\n\r\nabc"))
        self.client.send(b"def")
        self.upstream.transport.settle()
        self.assertEqual(self.upstream.transport.take(), b"def")
        self.upstream.answer(CHUNKED + b"0\r\n\r\n")
        self.successResultOf(asked)
        self.assertEqual(self.upstream.idle, 1)
        request.finish()
        self.assertNotIn(b"connection", self.client.answer(b"POST").headers)

    def test_an_upstream_that_does_not_read_pauses_the_client(self) -> None:
        self.upstream.transport.peer_reads = False
        _, asked = self.uploaded(b"Transfer-Encoding: chunked\r\n")
        self.client.send(*[chunk(b"x" * 30_000)] * 20, b"0\r\n\r\n")
        self.assertFalse(self.client.transport.reading)
        self.assertLess(self.upstream.transport.buffered, BUFFER_LIMIT + 31_000)
        self.upstream.transport.peer_reads = True
        for _ in range(20):
            self.upstream.transport.settle()
            self.client.transport.settle()
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.take().endswith(b"\r\n0\r\n\r\n"))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)

    def test_a_client_whose_upstreams_buffer_is_full_already_waits(self) -> None:
        self.upstream.transport.peer_reads = False
        self.upstream.connection.transport.write(b"x" * 100_000)
        _, asked = self.uploaded(b"Transfer-Encoding: chunked\r\n")
        self.client.send(chunk(b"a"), chunk(b"b"))
        self.assertFalse(self.client.transport.reading)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)

    def test_a_client_who_leaves_fails_the_request(self) -> None:
        _, asked = self.uploaded(b"Content-Length: 6\r\n")
        self.client.send(b"abc")
        self.client.transport.leave()
        self.failureResultOf(asked, BodyIncomplete)
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)

    def test_an_early_answer_stops_the_upload(self) -> None:
        request, asked = self.uploaded(b"Transfer-Encoding: chunked\r\n")
        self.client.send(chunk(b"a"))
        self.upstream.answer(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        self.successResultOf(asked)
        self.upstream.transport.settle()
        self.upstream.transport.take()
        self.client.send(chunk(b"b"), b"0\r\n\r\n")
        self.upstream.transport.settle()
        self.assertEqual(self.upstream.transport.take(), b"")
        request.setResponseCode(413)
        request.finish()
        self.assertEqual(self.client.answer(b"POST").status, 413)

    def test_an_upload_may_be_stopped_before_it_starts(self) -> None:
        self.client.send(GET)
        upload = StreamedUpload(self.resource.requests[0].body)
        upload.pauseProducing()
        upload.resumeProducing()
        upload.stopProducing()
        upload.body_piece(b"x")
        upload.body_finished()
        self.assertEqual(upload.length, 0)

    def test_an_upload_paused_before_it_starts_starts_paused(self) -> None:
        self.client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
        upload = StreamedUpload(self.resource.requests[0].body)
        upload.pauseProducing()
        sink = Pieces()
        written: list[bytes] = []
        sink.write = written.append  # type: ignore[method-assign]  # all that it needs of a consumer
        done = upload.startProducing(sink)  # type: ignore[arg-type]  # see above
        self.client.send(b"abc")
        self.assertEqual(written, [])
        upload.resumeProducing()
        self.client.transport.settle()
        self.assertEqual(written, [b"abc"])
        self.assertIsNone(self.successResultOf(done))
        upload.body_failed(Failure(ZeroDivisionError()))

    def test_a_producer_may_register_itself_too(self) -> None:
        transport, body = MemoryTransport(), Pieces()
        side = WriteSide(transport, lambda: None)
        writer = RequestBodyWriter(transport, side, 3, lambda: None)
        verifyObject(IConsumer, writer)
        self.assertRaises(ValueError, writer.registerProducer, body, False)
        writer.registerProducer(body, True)
        side.pauseProducing()
        writer.unregisterProducer()
        side.resumeProducing()
        self.assertEqual(body.calls, ["pause"])

    def test_bytes_have_nothing_to_pause(self) -> None:
        body, sink = BytesBody(b"abc"), Pieces()
        self.assertEqual(body.length, 3)
        body.pauseProducing()
        body.resumeProducing()
        body.stopProducing()
        written: list[bytes] = []
        sink.write = written.append  # type: ignore[method-assign]  # all that it needs of a consumer
        self.assertIsNone(self.successResultOf(body.startProducing(sink)))  # type: ignore[arg-type]  # see above
        self.assertEqual(written, [b"abc"])
