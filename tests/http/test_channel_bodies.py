"""Request bodies on the channel: read when asked for, bounded, paused, and never half given as whole."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http import (
    BodyIncomplete,
    IRequestBody,
    Request,
)
from tests.http.serving import Client, EarlyRendered, Rendered, collected

HEAD = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n"
POST = HEAD + b"\r\nabcdef"
CHUNKS = b"POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
EXPECT = HEAD + b"Expect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = b"GET /g HTTP/1.1\r\nHost: h\r\n\r\n"


def content_of(request: Request) -> bytes:
    return bytes(request.content.read())


def answer_soon(request: Request, limit: int = 1_000) -> None:
    """Collect the body, and answer with it or with the failure's name."""
    body = IRequestBody(request).collect(limit)
    body.addErrback(lambda reason: reason.type.__name__.encode())

    def answer(content: bytes) -> None:
        request.write(content)
        request.finish()

    body.addCallback(answer)


class OrdinaryResourceTests(SynchronousTestCase):
    def test_it_is_rendered_when_its_body_is_complete(self) -> None:
        resource = Rendered(content_of)
        client = Client(resource)
        client.send(POST[:-1])
        self.assertEqual(resource.requests, [])
        client.send(POST[-1:], CHUNKS, b"3\r\nxyz\r\n", b"0\r\n\r\n", GET)
        bodies = [answer.body for answer in client.answers(b"POST", b"POST", b"GET")]
        self.assertEqual(bodies, [b"abcdef", b"xyz", b""])
        client.check_nothing_is_left()

    def test_it_gets_its_form_as_bytes_and_not_as_arguments(self) -> None:
        """R8: one multipart body can hold the reactor for seconds."""
        resource = Rendered(lambda request: b"%d" % len(request.args))
        client = Client(resource)
        form = b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        client.send(HEAD.replace(b"/a", b"/a?x=y&z=") + form + b"k=v&l=")
        self.assertEqual(client.answer(b"POST").body, b"2")
        client.check_nothing_is_left()

    def test_a_body_over_the_sites_limit_is_answered_413_before_or_while_it_is_read(self) -> None:
        for data in (
            POST,
            POST[:-6],
            EXPECT,
            CHUNKS + b"6\r\nabcdef\r\n0\r\n\r\n",
            CHUNKS + b"6\r\nabc",
        ):
            resource = Rendered(content_of)
            client = Client(resource, body_limit_bytes=5 if b"chunked" not in data else 2)
            client.send(data)
            answer = client.answer(b"POST")
            self.assertEqual((answer.status, answer.headers[b"connection"]), (413, b"close"))
            self.assertTrue(client.ended)
            self.assertEqual(resource.requests, [])
            client.check_nothing_is_left()

    def test_a_body_that_stops_coming_is_answered_408(self) -> None:
        resource = Rendered(content_of)
        client = Client(resource)
        client.send(POST[:-3])
        client.wait(59)
        client.send(POST[-3:-1])
        client.wait(59)
        self.assertFalse(client.ended)
        client.wait(1)
        self.assertEqual(client.answer(b"POST").status, 408)
        self.assertTrue(client.ended)
        self.assertEqual(resource.requests, [])
        client.check_nothing_is_left()

    def test_a_malformed_chunk_is_answered_400(self) -> None:
        for tail in (b"zz\r\n", b"1\r\nabc", b"0x1\r\na\r\n", b"0\r\nX: y\r\n\r\n"):
            client = Client(Rendered(content_of))
            client.send(CHUNKS + b"1\r\na\r\n", tail + GET)
            self.assertEqual(client.answer(b"POST").status, 400)
            self.assertTrue(client.ended)
            client.check_nothing_is_left()

    def test_a_refusal_of_a_head_request_has_no_body(self) -> None:
        client = Client(Rendered(content_of), body_limit_bytes=5)
        client.send(POST.replace(b"POST", b"HEAD"))
        answer = client.answer(b"HEAD")
        self.assertEqual((answer.status, answer.body), (413, b""))
        client.check_nothing_is_left()

    def test_a_client_that_leaves_in_the_middle_is_forgotten(self) -> None:
        resource = Rendered(content_of)
        client = Client(resource)
        client.send(POST[:-1])
        client.check_nothing_is_left()
        self.assertEqual((resource.requests, client.transport.take()), ([], b""))

    def test_it_may_wait_for_100_continue(self) -> None:
        client = Client(Rendered(content_of))
        client.send(EXPECT)
        self.assertEqual(client.transport.take(), CONTINUE)
        client.send(b"abcdef")
        self.assertEqual(client.answer(b"POST").body, b"abcdef")
        client.check_nothing_is_left()


class EarlyResourceTests(SynchronousTestCase):
    def test_it_is_rendered_before_the_body_and_reads_it_when_it_wants(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(POST[:-6])
        (request,) = resource.requests
        client.send(b"abc")
        results = collected(request)
        client.send(b"def")
        self.assertEqual(results, [b"abcdef"])
        request.finish()
        self.assertNotIn(b"connection", client.answer(b"POST").headers)
        client.check_nothing_is_left()

    def test_100_continue_goes_out_only_when_the_body_is_asked_for(self) -> None:
        """RFC 9110 10.1.1; never before the request is authorised."""
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(EXPECT)
        self.assertEqual(client.transport.take(), b"")
        results = collected(resource.requests[0])
        client.transport.settle()
        self.assertEqual(client.transport.take(), CONTINUE)
        client.send(b"abcdef")
        self.assertEqual(results, [b"abcdef"])
        client.check_nothing_is_left()

    def test_100_continue_is_spared_where_the_body_comes_anyway_and_where_it_is_refused(
        self,
    ) -> None:
        resource = EarlyRendered(answer_soon)
        client = Client(resource)
        client.send(EXPECT + b"abc", b"def")
        self.assertNotIn(CONTINUE, client.transport.sent)
        self.assertEqual(client.answer(b"POST").body, b"abcdef")
        refusing = Client(EarlyRendered(lambda request: answer_soon(request, 5)))
        refusing.send(EXPECT)
        self.assertNotIn(CONTINUE, refusing.transport.sent)
        self.assertEqual(refusing.answer(b"POST").body, b"BodyTooLarge")
        self.assertTrue(refusing.ended)
        client.check_nothing_is_left()
        refusing.check_nothing_is_left()

    def test_an_answer_without_the_body_keeps_the_connection_only_if_the_body_is_here(self) -> None:
        client = Client(EarlyRendered(lambda _: b"no"))
        client.send(POST + GET)
        self.assertEqual(len(client.answers(b"POST", b"GET")), 2)
        for data in (POST[:-1], EXPECT, CHUNKS, CHUNKS + b"zz\r\n"):
            other = Client(EarlyRendered(lambda _: b"no"))
            other.send(data)
            self.assertEqual(other.answer(b"POST").headers[b"connection"], b"close")
            self.assertTrue(other.ended)
            other.send(b"the rest, which nobody reads", GET)
            self.assertEqual(other.transport.take(), b"")
            other.check_nothing_is_left()
        client.check_nothing_is_left()

    def test_a_body_asked_for_when_the_answer_has_begun_is_not_given_in_part(self) -> None:
        for sent in (POST[:-6], POST[:-3], POST, EXPECT, CHUNKS + b"1\r\na"):
            resource = EarlyRendered(lambda _: None)
            client = Client(resource)
            client.send(sent)
            request = resource.requests[0]
            request.write(b"begun")
            self.assertEqual(collected(request), [BodyIncomplete])
            request.finish()
            self.assertEqual(client.answer(b"POST").body, b"begun")
            client.check_nothing_is_left()

    def test_a_body_that_is_not_there_is_empty_even_then(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(GET)
        resource.requests[0].write(b"begun")
        self.assertEqual(collected(resource.requests[0]), [b""])
        client.check_nothing_is_left()

    def test_an_answer_before_the_bodys_end_ends_the_reading_and_the_connection(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(POST[:-3])
        results = collected(resource.requests[0])
        resource.requests[0].write(b"enough")
        resource.requests[0].finish()
        self.assertEqual(results, [BodyIncomplete])
        self.assertEqual(client.answer(b"POST").headers[b"connection"], b"close")
        client.check_nothing_is_left()

    def test_a_body_that_fails_may_still_be_answered(self) -> None:
        for tail, wait, name in (
            (b"zz\r\n", 0, b"MalformedMessage"),
            (b"3\r\nab", 60, b"BodyIncomplete"),
            (b"ffff\r\n" + b"x" * 2_000, 0, b"BodyTooLarge"),
        ):
            client = Client(EarlyRendered(answer_soon))
            client.send(CHUNKS, tail)
            client.wait(wait)
            answer = client.answer(b"POST")
            self.assertEqual((answer.body, answer.headers[b"connection"]), (name, b"close"))
            self.assertTrue(client.ended)
            client.check_nothing_is_left()

    def test_a_client_that_leaves_fails_the_body_after_the_answers_end_is_known(self) -> None:
        """So whoever collects it does not try to answer; with a connection that is lost there is nobody to."""
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(POST[:-3])
        order: list[str] = []
        request = resource.requests[0]
        request.notifyFinish().addErrback(lambda _: order.append("left"))
        IRequestBody(request).collect(10).addErrback(lambda _: order.append("failed"))
        client.transport.leave()
        self.assertEqual(order, ["left", "failed"])
        client.check_nothing_is_left()

    def test_a_body_is_asked_for_in_vain_when_the_request_is_over(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(POST[:-3])
        request = resource.requests[0]
        client.transport.leave()
        self.assertEqual(collected(request), [BodyIncomplete])
        client.check_nothing_is_left()

    def test_a_cancelled_collection_reads_on_without_keeping(self) -> None:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource)
        client.send(POST[:-3])
        body = IRequestBody(resource.requests[0]).collect(10)
        failures: list[object] = []
        body.addErrback(failures.append)
        body.cancel()
        self.assertEqual(len(failures), 1)
        client.send(b"def")
        resource.requests[0].finish()
        self.assertNotIn(b"connection", client.answer(b"POST").headers)
        client.check_nothing_is_left()
