"""A request's body handed on piece by piece: paused, stopped, and answered from within."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest

from gptproxy.http import (
    BodyIncomplete,
    BodyTooLarge,
    IRequestBody,
    MalformedMessage,
    Request,
)
from gptproxy.http.channel import MAX_READ_AHEAD_BYTES
from tests.http.memory import BUFFER_LIMIT
from tests.http.serving import Client, EarlyRendered, Receiver, collected

HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n"
POST = HEAD + b"\r\nabcdef"
CHUNKS = b"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECT = HEAD + b"Expect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = b"GET /g HTTP/1.1\r\nHost: h\r\n\r\n"


class Answering(Receiver):
    """Answers within a piece."""

    def __init__(self, request: Request, trigger: bytes) -> None:
        super().__init__()
        self._request, self._trigger = request, trigger

    def body_piece(self, piece: bytes) -> None:
        super().body_piece(piece)
        if piece == self._trigger:
            self._request.write(b"answer")
            self._request.finish()


class DeliveryTests(SynchronousTestCase):
    def test_pieces_are_handed_on_as_they_come(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        receiver = Receiver()
        client.send(CHUNKS + b"2\r\nab")
        IRequestBody(resource.requests[0]).deliver(receiver)
        client.send(b"\r\n1\r\nc\r\n")
        self.assertEqual((receiver.pieces, receiver.end), ([b"ab", b"c"], None))
        client.send(b"0\r\n\r\n")
        self.assertEqual(receiver.end, "finished")
        client.check_nothing_is_left()

    def test_who_pauses_the_body_pauses_the_client_and_its_timeout(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        receiver = Receiver()
        client.send(CHUNKS)
        body = IRequestBody(resource.requests[0]).deliver(receiver)
        body.pauseProducing()
        client.send(b"1\r\na\r\n", b"1\r\nb\r\n")
        self.assertEqual((receiver.pieces, client.transport.reading), ([], False))
        client.wait(1_000)
        self.assertIsNone(receiver.end)
        body.resumeProducing()
        client.send(b"0\r\n\r\n")
        self.assertEqual((receiver.pieces, receiver.end), ([b"a", b"b"], "finished"))
        body.pauseProducing()
        body.resumeProducing()
        resource.requests[0].finish()
        client.send(GET)
        self.assertEqual(len(resource.requests), 2)
        client.check_nothing_is_left()

    def test_a_body_may_be_paused_before_it_is_asked_for(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(CHUNKS + b"1\r\na\r\n")
        receiver, body = Receiver(), resource.requests[0].body
        body.pauseProducing()
        body.deliver(receiver)
        client.wait(1_000)
        self.assertEqual((receiver.pieces, receiver.end), ([], None))
        body.resumeProducing()
        self.assertEqual(receiver.pieces, [b"a"])
        client.check_nothing_is_left()

    def test_a_resumed_body_has_its_idle_time_again(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        receiver = Receiver()
        client.send(CHUNKS)
        body = IRequestBody(resource.requests[0]).deliver(receiver)
        body.pauseProducing()
        client.wait(100)
        body.resumeProducing()
        client.wait(60)
        self.assertEqual(receiver.end, BodyIncomplete)
        client.check_nothing_is_left()

    def test_pausing_within_a_piece_holds_back_all_but_the_read_it_came_in(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)

        class Pausing(Receiver):
            def body_piece(self, piece: bytes) -> None:
                super().body_piece(piece)
                body.pauseProducing()

        receiver = Pausing()
        client.send(CHUNKS)
        body = IRequestBody(resource.requests[0]).deliver(receiver)
        client.send(b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n")
        self.assertEqual(receiver.pieces, [b"a", b"b"])
        body.resumeProducing()
        client.transport.settle()
        self.assertEqual(receiver.pieces, [b"a", b"b", b"c"])
        client.check_nothing_is_left()

    def test_a_stopped_body_is_dropped_as_it_comes(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        receiver = Receiver()
        client.send(CHUNKS)
        IRequestBody(resource.requests[0]).deliver(receiver).stopProducing()
        client.send(b"1\r\na\r\n", b"0\r\n\r\n")
        self.assertEqual((receiver.pieces, receiver.end), ([], None))
        resource.requests[0].finish()
        self.assertNotIn(b"connection", client.answer(b"POST").headers)
        client.check_nothing_is_left()

    def test_an_answer_written_within_a_piece_is_in_order(self) -> None:
        """Reentrancy: the last piece, a middle one, and the end."""

        for trigger, keeps in ((b"c", True), (b"a", False)):
            resource = EarlyRendered(lambda _: None)
            client = Client(resource)
            client.send(CHUNKS)
            request = resource.requests[0]
            receiver = Answering(request, trigger)
            IRequestBody(request).deliver(receiver)
            client.send(b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n0\r\n\r\n" + GET)
            self.assertEqual(client.answer(b"POST").body, b"answer")
            self.assertEqual(receiver.end, BodyIncomplete)
            self.assertEqual((len(resource.requests), client.ended), (1 + keeps, not keeps))
            client.check_nothing_is_left()

    def test_a_body_can_be_read_only_once(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(POST)
        self.assertEqual(collected(resource.requests[0]), [b"abcdef"])
        self.assertRaises(RuntimeError, IRequestBody(resource.requests[0]).deliver, Receiver())
        client.check_nothing_is_left()

    def test_a_body_nobody_asks_for_stays_with_the_client(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        head = HEAD.replace(b"6", b"1000000") + b"\r\n"
        client.send(head, *[b"x" * 20_000] * 50)
        self.assertFalse(client.transport.reading)
        self.assertGreaterEqual(
            client.transport.held_back, 1_000_000 - MAX_READ_AHEAD_BYTES - 20_000
        )
        client.wait(10_000)
        results = collected(resource.requests[0], 1_000_000)
        client.transport.settle()
        self.assertEqual(results, [b"x" * 1_000_000])
        self.assertLess(MAX_READ_AHEAD_BYTES, BUFFER_LIMIT + 1)
        client.check_nothing_is_left()

    def test_the_body_tells_its_length_and_whether_it_was_asked_for(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(POST)
        body = IRequestBody(resource.requests[0])
        self.assertEqual((body.length, body.started), (6, False))
        self.assertIs(body, IRequestBody(resource.requests[0]))
        failed = body.collect(5)
        self.assertFalse(body.started)
        self.failureResultOf(failed, BodyTooLarge)
        self.assertTrue(IRequest.providedBy(resource.requests[0]))
        client.send(b"")
        client.check_nothing_is_left()

    def test_a_malformed_chunk_fails_the_delivery(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        receiver = Receiver()
        client.send(CHUNKS)
        IRequestBody(resource.requests[0]).deliver(receiver)
        client.send(b"1\r\na\r\n", b"1\r\nbb")
        self.assertEqual((receiver.pieces, receiver.end), ([b"a"], MalformedMessage))
        client.check_nothing_is_left()
