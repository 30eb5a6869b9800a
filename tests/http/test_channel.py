"""A client's connection: requests one at a time, answers in order, time and size bounded."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from gptproxy.http import Request
from gptproxy.http.interfaces import IConnection
from tests.http.memory import MemoryTransport
from tests.http.serving import Client, Rendered

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"


def path_of(request: Request) -> bytes:
    return request.path


def test_the_memory_transport_is_a_connection() -> None:
    verifyObject(IConnection, MemoryTransport())


class AnswersTests(SynchronousTestCase):
    def test_a_connection_serves_one_request_after_the_other(self) -> None:
        client = Client(Rendered(path_of))
        for _ in range(3):
            client.send(GET)
            self.assertEqual(client.answer().body, b"/a")
        client.check_nothing_is_left()

    def test_a_request_that_comes_byte_by_byte_is_answered_once(self) -> None:
        client = Client(Rendered(path_of))
        client.send(*[POST[i : i + 1] for i in range(len(POST))])
        self.assertEqual(client.answer(b"POST").body, b"/b")
        client.check_nothing_is_left()

    def test_pipelined_requests_are_answered_in_order_whatever_they_take(self) -> None:
        """CVE-2023-46137: three requests, the first of which takes longest."""
        delays = {b"/3": 3.0, b"/2": 2.0, b"/1": 1.0}

        def later(request: Request) -> None:
            def answer() -> None:
                request.write(request.path)
                request.finish()

            client.clock.callLater(delays[request.path], answer)

        resource = Rendered(later)
        client = Client(resource)
        client.send(b"".join(GET.replace(b"/a", path) for path in delays))
        for path, delay in delays.items():
            self.assertEqual(len(resource.requests), list(delays).index(path) + 1)
            client.wait(delay)
            self.assertEqual(client.answer().body, path)
        client.check_nothing_is_left()

    def test_pipelined_requests_that_are_answered_at_once_do_not_nest(self) -> None:
        client = Client(Rendered(path_of))
        client.send(GET * 2_000)
        self.assertEqual(len(client.answers(*[b"GET"] * 2_000)), 2_000)
        client.check_nothing_is_left()

    def test_head_has_the_headers_of_get_and_no_body(self) -> None:
        client = Client(Rendered(path_of))
        client.send(GET.replace(b"GET", b"HEAD"), GET)
        head, get = client.answers(b"HEAD", b"GET")
        self.assertEqual((head.headers[b"content-length"], head.body), (b"2", b""))
        self.assertEqual(get.body, b"/a")
        client.check_nothing_is_left()

    def test_an_answer_of_unknown_length_is_chunked_for_1_1_and_ends_with_the_connection_for_1_0(
        self,
    ) -> None:
        def in_pieces(request: Request) -> None:
            request.write(b"one ")
            request.write(b"two")
            request.finish()

        client = Client(Rendered(in_pieces))
        client.send(GET)
        answer = client.answer()
        self.assertEqual(answer.headers[b"transfer-encoding"], b"chunked")
        self.assertEqual(answer.body, b"one two")
        client.send(GET.replace(b"1.1", b"1.0"))
        answer = client.answer()
        self.assertNotIn(b"transfer-encoding", answer.headers)
        self.assertEqual((answer.body, answer.headers[b"connection"]), (b"one two", b"close"))
        self.assertTrue(client.ended)
        client.check_nothing_is_left()

    def test_connection_close_is_obeyed_and_what_follows_is_not_read(self) -> None:
        resource = Rendered(path_of)
        client = Client(resource)
        client.send(GET.replace(b"Host", b"Connection: close\r\nHost") + GET)
        self.assertEqual(client.answer().headers[b"connection"], b"close")
        self.assertTrue(client.ended)
        client.send(GET)
        self.assertEqual(len(resource.requests), 1)
        client.check_nothing_is_left()

    def test_every_answer_has_a_date(self) -> None:
        """RFC 9110 6.6.1."""
        client = Client(Rendered(path_of))
        client.send(GET, b"nonsense\r\n\r\n")
        for answer in client.answers(b"GET", b"GET"):
            self.assertIn(b"date", answer.headers)
        client.check_nothing_is_left()

    def test_the_channel_tells_what_twisteds_request_asks_of_it(self) -> None:
        resource = Rendered(lambda _: None)
        client, tls = Client(resource), Client(resource, tls=True)
        client.send(GET)
        tls.send(GET)
        plain, secure = resource.requests
        self.assertEqual(plain.getClientAddress().host, "192.0.2.1")
        self.assertEqual(plain.getHost().port, 443)
        self.assertEqual((plain.isSecure(), secure.isSecure()), (False, True))
        client.check_nothing_is_left()
        tls.check_nothing_is_left()


class RefusalTests(SynchronousTestCase):
    def refused(self, data: bytes, status: int, **options: object) -> None:
        """It is answered with this status, the connection closes, and no resource sees anything."""
        resource = Rendered(path_of)
        client = Client(resource, **options)
        client.send(data + GET)
        answer = client.answer()
        self.assertEqual((answer.status, answer.headers[b"connection"]), (status, b"close"))
        self.assertTrue(client.ended)
        client.send(GET)
        self.assertEqual(resource.requests, [])
        self.assertEqual(client.transport.take(), b"")
        client.check_nothing_is_left()

    def test_smuggled_requests_are_answered_400_and_nothing_behind_them_is_served(self) -> None:
        for lines in (
            b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            b"Content-Length: 3\r\nContent-Length: 4\r\n",
            b"Content-Length: +3\r\n",
            b"Content-Length: 0x3\r\n",
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding: xchunked\r\n",
            b"X : y\r\n",
            b"X: y\r\n folded\r\n",
            b"X: \x00\r\n",
            b"X: y\n",
            b"X: y\rZ\r\n",
            b"Host: other\r\n",
        ):
            self.refused(b"POST / HTTP/1.1\r\nHost: h\r\n" + lines + b"\r\nabc", 400)

    def test_every_target_but_origin_form_is_answered_400(self) -> None:
        for target in (b"http://h/", b"h:443", b"*", b"/../x", b"//h/"):
            self.refused(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400)

    def test_headers_that_are_too_large_or_too_many_are_answered_431(self) -> None:
        start = b"GET / HTTP/1.1\r\nHost: h\r\n"
        self.refused(start + b"X: " + b"y" * 1_000 + b"\r\n\r\n", 431, header_limit_bytes=1_000)
        self.refused(start + b"X: y\r\n" * 200 + b"\r\n", 431)

    def test_bytes_that_are_no_http_are_answered_at_once(self) -> None:
        self.refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400)
        self.refused(b"GET / HTTP/1.1\nHost: h\n\n", 400)

    def test_the_site_words_its_refusals(self) -> None:
        def page(status: int, reason: str) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
            return ((b"content-type", b"application/json"),), b'"%d %b"' % (status, reason.encode())

        client = Client(Rendered(path_of), refusal_page=page)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        answer = client.answer()
        self.assertEqual(answer.headers[b"content-type"], b"application/json")
        self.assertEqual(answer.body, b'"400 A request has exactly one Host header."')
        client.check_nothing_is_left()
