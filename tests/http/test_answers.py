"""Answering with field lines as they are, on either Site."""

from __future__ import annotations

from collections.abc import Callable

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from gptproxy.http import (
    BodyTooLarge,
    IRenderedAtHeaders,
    answer_whole,
    begin_answer,
    fields_of,
    when_lost,
    whole_body,
)
from tests.http.serving import Client

FIELDS = ((b"content-type", b"text/plain"), (b"x-two", b"1"), (b"x-two", b"2"))


@implementer(IRenderedAtHeaders)
class Acting(Resource):
    """Does as a test says."""

    isLeaf = True

    def __init__(self, act: Callable[[Request], object]) -> None:
        super().__init__()
        self._act = act

    def render(self, request: Request) -> int:
        self._act(request)
        return NOT_DONE_YET


class OurSiteTests(SynchronousTestCase):
    """On our channel."""

    def ask(self, act: Callable[[Request], object], request: bytes) -> Client:
        client = Client(Acting(act))
        client.send(request)
        return client

    def test_a_whole_answer(self) -> None:
        """Is one message with Date and length; fields keep their order and number."""
        client = self.ask(
            lambda r: answer_whole(r, 201, b"Created", FIELDS, b"done"),
            b"GET / HTTP/1.1\r\nhost: h\r\n\r\n",
        )
        client.transport.settle()
        head, _, body = client.transport.sent.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        self.assertEqual(lines[0], b"HTTP/1.1 201 Created")
        self.assertTrue(lines[1].startswith(b"date: "))
        self.assertEqual(
            lines[2:], [b"content-type: text/plain", b"x-two: 1", b"x-two: 2", b"content-length: 4"]
        )
        self.assertEqual(body, b"done")

    def test_in_pieces(self) -> None:
        """Without a length it goes in chunks to an HTTP/1.1 client, to the connection's end to an older one."""

        def act(request: Request) -> None:
            begin_answer(request, 200, b"OK", FIELDS, None)
            request.write(b"one")
            request.write(b"")
            request.write(b"two")
            request.finish()

        client = self.ask(act, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        client.transport.settle()
        self.assertTrue(
            client.transport.sent.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
        )
        client = self.ask(act, b"GET / HTTP/1.0\r\n\r\n")
        client.transport.settle()
        self.assertTrue(client.transport.sent.endswith(b"connection: close\r\n\r\nonetwo"))

    def test_no_body_where_none_may_be(self) -> None:
        """HEAD and 304 get the head alone, with the length that there would be; a 204 has none (RFC 9110 8.6)."""
        for method, status in [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)]:
            with self.subTest((method, status)):
                client = self.ask(
                    lambda r, status=status: answer_whole(r, status, b"X", (), b"body"),
                    method + b" / HTTP/1.1\r\nhost: h\r\n\r\n",
                )
                client.transport.settle()
                self.assertTrue(client.transport.sent.endswith(b"\r\n\r\n"))
                self.assertEqual(b"content-length: 4" in client.transport.sent, status != 204)

    def test_whoever_asks_is_told_of_the_end(self) -> None:
        """notifyFinish fires for a lean answer too, and when_lost does not."""
        told: list[str] = []

        def act(request: Request) -> None:
            request.notifyFinish().addCallback(lambda _: told.append("finished"))
            when_lost(request, lambda: told.append("lost"))
            answer_whole(request, 200, b"OK", (), b"")

        client = self.ask(act, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        client.transport.leave()
        self.assertEqual(told, ["finished"])

    def test_a_client_who_leaves(self) -> None:
        """Is told once, to who asked last; writing on is silent."""
        told: list[str] = []
        requests: list[Request] = []

        def act(request: Request) -> None:
            requests.append(request)
            when_lost(request, lambda: told.append("first"))
            when_lost(request, lambda: told.append("lost"))
            begin_answer(request, 200, b"OK", (), None)

        client = self.ask(act, b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        client.transport.leave()
        self.assertEqual(told, ["lost"])
        requests[0].write(b"nobody")

    def test_a_body_that_is_here(self) -> None:
        """Is taken without waiting; one that is not is waited for; one too long is refused."""
        got: list[object] = []

        def act(request: Request) -> None:
            reading = Deferred.fromCoroutine(whole_body(request, 8))
            got.append(reading.called)
            reading.addCallbacks(got.append, lambda failure: got.append(failure.type))
            reading.addBoth(lambda _: answer_whole(request, 200, b"OK", (), b""))

        head = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
        self.ask(act, head % 4 + b"here")
        client = self.ask(act, head % 4 + b"he")
        client.send(b"re")
        self.ask(act, head % 9 + b"too long ")
        self.assertEqual(got, [True, b"here", False, b"here", True, BodyTooLarge])


class TwistedSiteTests(SynchronousTestCase):
    """The same functions under twisted.web's own Site."""

    def test_all_of_them(self) -> None:
        """Fields come in lower case, the body is read, the answer is written."""
        seen: list[object] = []

        async def act(request: Request) -> None:
            when_lost(request, lambda: seen.append("lost"))
            seen.append(dict(fields_of(request))[b"x-one"])
            body = await whole_body(request, 100)
            answer_whole(request, 202, b"Accepted", FIELDS, body.upper())

        treq = StubTreq(Acting(lambda request: Deferred.fromCoroutine(act(request))))
        answer = self.successResultOf(treq.post("http://h/", headers={"X-One": "1"}, data=b"body"))
        self.assertEqual(answer.code, 202)
        self.assertEqual(answer.headers.getRawHeaders("x-two"), ["1", "2"])
        self.assertEqual(self.successResultOf(answer.content()), b"BODY")
        self.assertEqual(seen, [b"1"])
