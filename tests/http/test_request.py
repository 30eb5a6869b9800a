"""A request on our channel is Twisted's own, and an early resource works under Twisted's Site too."""

from __future__ import annotations

from io import BytesIO

import treq
from treq.testing import RequestTraversalAgent, StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ISSLTransport
from twisted.python.components import Componentized
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.error import UnsupportedMethod
from twisted.web.resource import Resource
from twisted.web.server import Request as TwistedRequest
from zope.interface import Interface
from zope.interface.verify import verifyObject

from gptproxy.http import (
    IBodyReceiver,
    IRequestBody,
    Request,
    abort_answer,
    collect_body,
    fields_of,
)
from gptproxy.http.request_body import ReceivedBody
from tests.http.asking import Pieces
from tests.http.serving import Client, EarlyRendered, Receiver, Rendered

GET = b"GET /a%2Fb/c?x=1&x=2&y= HTTP/1.1\r\nHost: h:8080\r\nCookie: k=v; l=w\r\nX-A: 1\r\nx-a: 2\r\n\r\n"


class TwistedsOwnTests(SynchronousTestCase):
    def test_it_has_what_a_resource_finds_in_twisteds(self) -> None:
        seen: dict[str, object] = {}

        def note(request: Request) -> bytes:
            seen.update(
                args=request.args,
                path=request.path,
                uri=request.uri,
                method=request.method,
                cookie=request.getCookie(b"l"),
                header=request.getHeader("x-a"),
                headers=request.requestHeaders.getRawHeaders("X-A"),
                host=request.getRequestHostname(),
                prepath=request.prepath,
                postpath=request.postpath,
                url=request.prePathURL(),
                fields=fields_of(request),
            )
            return b""

        client = Client(Rendered(note))
        client.send(GET)
        self.assertEqual(
            seen,
            {
                "args": {b"x": [b"1", b"2"], b"y": [b""]},
                "path": b"/a%2Fb/c",
                "uri": b"/a%2Fb/c?x=1&x=2&y=",
                "method": b"GET",
                "cookie": b"w",
                "header": "2",
                "headers": ["1", "2"],
                "host": b"h",
                "prepath": [],
                "postpath": [b"a/b", b"c"],
                "url": b"http://h:443/",
                "fields": (
                    (b"host", b"h:8080"),
                    (b"cookie", b"k=v; l=w"),
                    (b"x-a", b"1"),
                    (b"x-a", b"2"),
                ),
            },
        )
        client.check_nothing_is_left()

    def test_a_resource_tree_finds_its_leaves(self) -> None:
        root, branch = Resource(), Resource()
        root.putChild(b"v1", branch)
        branch.putChild(b"leaf", Rendered(lambda request: b",".join(request.postpath)))
        branch.putChild(b"", Rendered(lambda _: b"slash"))
        client = Client(root)
        for path, status, body in (
            (b"/v1/leaf", 200, b""),
            (b"/v1/leaf/x%20y/", 200, b"x y,"),
            (b"/v1/", 200, b"slash"),
            (b"/v1/none", 404, None),
            (b"/", 404, None),
        ):
            client.send(b"GET " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = client.answer()
            self.assertEqual(answer.status, status)
            self.assertIn(body, (None, answer.body))
        self.flushWarnings()  # Twisted warns of its own page
        client.check_nothing_is_left()

    def test_it_answers_head_with_get_and_other_methods_with_405(self) -> None:
        class Getting(Resource):
            isLeaf = True

            def render_GET(self, request: Request) -> bytes:
                return b"four"

        client = Client(Getting())
        client.send(GET.replace(b"GET", b"HEAD"), GET.replace(b"GET", b"POST"))
        head, post = client.answers(b"HEAD", b"POST")
        self.assertEqual((head.headers[b"content-length"], post.status), (b"4", 405))
        self.flushWarnings()  # Twisted warns of its own page
        client.check_nothing_is_left()

    def test_components_work_as_on_any_request_of_twisteds(self) -> None:
        class IMark(Interface):
            pass

        resource = Rendered(lambda _: None)
        client = Client(resource)
        client.send(GET)
        request = resource.requests[0]
        request.setComponent(IMark, "mark")
        self.assertIsInstance(request, Componentized)
        self.assertEqual((IMark(request), ISSLTransport(request, None)), ("mark", None))
        client.check_nothing_is_left()


class FaultTests(SynchronousTestCase):
    def fault(self, render: object, method: bytes = b"GET") -> Client:
        client = Client(Rendered(render))  # type: ignore[arg-type]  # raises, whatever it says it returns
        client.send(GET.replace(b"GET", method, 1) + GET)
        client.transport.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        return client

    def test_a_resource_that_fails_is_answered_500_in_the_sites_words(self) -> None:
        """R2: no HTML; and nothing of the exception."""

        def fail(request: Request) -> bytes:
            request.setHeader(b"content-length", b"5")
            request.setHeader(b"content-encoding", b"gzip")
            return b"%d" % (1 // 0)

        for method in (b"GET", b"HEAD"):
            client = self.fault(fail, method)
            for answer in client.answers(method, b"GET"):
                self.assertEqual(answer.status, 500)
                self.assertEqual(answer.headers[b"content-type"], b"text/plain; charset=utf-8")
                self.assertNotIn(b"content-encoding", answer.headers)
                self.assertIn(answer.body, (b"", b"The server failed on this request.\n"))
            client.check_nothing_is_left()

    def test_so_is_one_that_fails_where_get_stands_in_for_head(self) -> None:
        def get_only(request: Request) -> bytes:
            if request.method == b"HEAD":
                raise UnsupportedMethod([b"GET"])
            raise ZeroDivisionError

        client = Client(Rendered(get_only))
        client.send(GET.replace(b"GET", b"HEAD", 1))
        answer = client.answer(b"HEAD")
        self.assertEqual((answer.status, answer.body), (500, b""))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        client.check_nothing_is_left()

    def test_and_one_that_fails_to_find_its_child(self) -> None:
        class Faulty(Resource):
            def getChild(self, path: bytes, request: TwistedRequest) -> Resource:
                raise ZeroDivisionError

        client = Client(Faulty())
        client.send(GET)
        self.assertEqual(client.answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        client.check_nothing_is_left()

    def test_a_fault_behind_the_first_byte_breaks_the_answer_off(self) -> None:
        def fail(request: Request) -> bytes:
            request.write(b"half")
            raise ZeroDivisionError

        client = Client(Rendered(fail))
        client.send(GET + GET)
        self.assertTrue(client.transport.take().endswith(b"4\r\nhalf\r\n"))
        self.assertTrue(client.ended)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        client.check_nothing_is_left()

    def test_a_fault_with_a_producer_registered_leaves_none(self) -> None:
        def fail(request: Request) -> bytes:
            request.registerProducer(Pieces(), True)
            raise ZeroDivisionError

        client = self.fault(fail)
        self.assertEqual([x.status for x in client.answers(b"GET", b"GET")], [500, 500])
        client.check_nothing_is_left()

    def test_a_fault_behind_the_last_byte_is_logged_and_no_more(self) -> None:
        def fail(request: Request) -> bytes:
            request.finish()
            raise ZeroDivisionError

        client = Client(Rendered(fail))
        client.send(GET)
        self.assertEqual(client.answer().status, 200)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        client.check_nothing_is_left()


class TwistedSiteTests(SynchronousTestCase):
    """The same resources under twisted.web's own Site, which knows nothing of IRenderedAtHeaders."""

    def asked(self, resource: Resource, body: bytes, method: str = "POST") -> tuple[int, bytes]:
        client = StubTreq(resource)
        response = self.successResultOf(client.request(method, "http://h/a?b=c", data=body))
        return response.code, self.successResultOf(treq.content(response))

    def test_an_early_resource_reads_its_body_there_too(self) -> None:
        def answer(request: Request) -> None:
            body: Deferred[bytes] = IRequestBody(request).collect(5)
            body.addErrback(lambda reason: reason.type.__name__.encode())
            body.addCallback(lambda content: (request.write(content), request.finish()))

        resource = EarlyRendered(answer)
        self.assertEqual(self.asked(resource, b"abcde"), (200, b"abcde"))
        self.assertEqual(self.asked(resource, b"abcdef"), (200, b"BodyTooLarge"))
        self.assertEqual(self.asked(resource, b""), (200, b""))

    def test_a_delivered_body_comes_at_once_and_only_once(self) -> None:
        receivers: list[Receiver] = []

        def deliver(request: Request) -> bytes:
            body, receiver = IRequestBody(request), Receiver()
            producer = body.deliver(receiver)
            producer.pauseProducing()
            producer.resumeProducing()
            producer.stopProducing()
            self.assertRaises(RuntimeError, body.collect, 5)
            receivers.append(receiver)
            return b"%d" % body.length

        resource = EarlyRendered(deliver)
        self.assertEqual(self.asked(resource, b"abc"), (200, b"3"))
        self.assertEqual(self.asked(resource, b""), (200, b"0"))
        self.assertEqual([receiver.pieces for receiver in receivers], [[b"abc"], []])
        self.assertEqual([receiver.end for receiver in receivers], ["finished", "finished"])

    def test_fields_and_an_abort_work_there_too(self) -> None:
        fields: list[object] = []

        def abort(request: TwistedRequest) -> None:
            fields.extend(fields_of(request))
            request.write(b"half")
            abort_answer(request)

        client = StubTreq(EarlyRendered(abort))
        response = self.successResultOf(client.get("http://h/", headers={"X-A": ["1"]}))
        client.flush()
        self.failureResultOf(treq.content(response))
        self.assertIn((b"x-a", b"1"), fields)

    def test_twisteds_client_can_be_collected_by_ours(self) -> None:
        """collect_body takes any IResponse, those of treq's test agent among them."""
        resource = Rendered(lambda _: b"x" * 100)
        agent = RequestTraversalAgent(resource)
        response = self.successResultOf(agent.request(b"GET", b"http://h/"))
        self.assertEqual(self.successResultOf(collect_body(response, 100)), b"x" * 100)
        response = self.successResultOf(agent.request(b"GET", b"http://h/"))
        self.failureResultOf(collect_body(response, 99))


def test_the_bodies_keep_their_promises() -> None:
    request = Rendered(lambda _: None)
    client = Client(request)
    client.send(GET)
    verifyObject(IRequestBody, request.requests[0].body)
    verifyObject(IBodyReceiver, Receiver())
    client.check_nothing_is_left()


def test_a_received_body_is_read_from_its_start() -> None:
    class Fake:
        content = BytesIO(b"abc")

    Fake.content.read()
    body = ReceivedBody(Fake())  # type: ignore[arg-type]  # all that it looks at
    verifyObject(IRequestBody, body)
    assert (body.length, body.started) == (3, False)
