"""Every call ends in exactly one answer and one access line, whatever happens to it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.server import Site
from zope.interface.verify import verifyObject

from gptproxy.api import Endpoint, Exchange, UnknownRoute
from gptproxy.http import (
    BodyIncomplete,
    BodyTooLarge,
    IRenderedAtHeaders,
    IRequestBody,
    MalformedMessage,
)
from gptproxy.wire import Refusal
from tests.api.rig import CANARY, Answering, LoggedTestCase, Visitor, error_of
from tests.http.memory import MemoryTransport


def raising(error: Exception):
    """:return: an answer that fails."""

    async def act(exchange: Exchange) -> None:
        raise error

    return act


class EndpointTests(LoggedTestCase):
    """By what an endpoint's answer raises."""

    def visit(self, act: object) -> Visitor:
        visitor = Visitor(Answering(Clock(), act))
        visitor.ask("GET", f"/?{CANARY}", None, f"authorization: Bearer {CANARY}")
        return visitor

    def test_interfaces(self) -> None:
        """It is rendered at the headers."""
        verifyObject(IRenderedAtHeaders, UnknownRoute(Clock()))

    def test_expected_errors(self) -> None:
        """Each has its status, and no failure in the log."""
        for error, status, code in [
            (Refusal(418, "Tea.", code="tea"), 418, "tea"),
            (BodyTooLarge(77), 413, "request_too_large"),
            (MalformedMessage("a chunk is odd"), 400, None),
            (BodyIncomplete("gone"), 408, None),
        ]:
            with self.subTest(status):
                self.events.clear()
                got = self.visit(raising(error)).answer()
                self.assertEqual((got.status, error_of(got)["code"]), (status, code))
                self.assertEqual(self.access_line()["status"], status)
                self.assertEqual(self.failures(), [])

    def test_the_bound_is_told(self) -> None:
        """And what was malformed."""
        self.assertIn("77", error_of(self.visit(raising(BodyTooLarge(77))).answer())["message"])
        got = self.visit(raising(MalformedMessage("a chunk is odd"))).answer()
        self.assertIn("a chunk is odd", error_of(got)["message"])

    def test_a_fault_of_ours(self) -> None:
        """Is a 500 without details, and one failure in the log; the connection goes on."""
        visitor = self.visit(raising(RuntimeError("inner workings")))
        got = visitor.answer()
        self.assertEqual((got.status, error_of(got)["code"]), (500, "internal_error"))
        self.assertEqual(error_of(got)["type"], "server_error")
        self.assertNotIn(b"inner", got.body)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.access_line()["status"], 500)
        visitor.ask("GET", "/")
        self.assertEqual(visitor.answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_an_endpoint_must_answer(self) -> None:
        """One that does not say how is a fault of ours."""
        endpoint = Endpoint("/x", Clock())
        endpoint.methods = ()
        visitor = Visitor(endpoint)
        visitor.ask("BREW", "/")
        self.assertEqual(visitor.answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(NotImplementedError)), 1)

    def test_a_fault_of_ours_in_the_middle(self) -> None:
        """Breaks the answer off: no JSON in a half-sent body, and no clean end."""

        async def act(exchange: Exchange) -> None:
            exchange.request.write(b"half")
            raise RuntimeError

        visitor = self.visit(act)
        self.assertTrue(visitor.client.ended)
        self.assertTrue(visitor.sent.endswith(b"4\r\nhalf\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.access_line()

    def test_the_same_under_twisteds_site(self) -> None:
        """The connection is reset."""

        async def act(exchange: Exchange) -> None:
            exchange.request.write(b"half")
            raise RuntimeError

        transport = MemoryTransport()
        transport.connect(Site(Answering(Clock(), act), reactor=Clock()).buildProtocol(None))
        transport.deliver(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        self.assertTrue(transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_fault_of_ours_behind_the_end(self) -> None:
        """Is logged; the answer stands and the connection goes on."""

        async def act(exchange: Exchange) -> None:
            exchange.answer_json({})
            raise RuntimeError

        visitor = self.visit(act)
        self.assertEqual(visitor.answer().status, 200)
        self.assertFalse(visitor.client.ended)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.access_line()["status"], 200)

    def test_a_fault_of_ours_after_the_caller_left(self) -> None:
        """Is logged once; nobody is there to be told."""

        async def act(exchange: Exchange) -> None:
            stubborn: Deferred[None] = Deferred(lambda waiting: waiting.errback(RuntimeError()))
            await stubborn

        visitor = self.visit(act)
        visitor.leave()
        self.assertEqual(visitor.sent, b"")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.access_line()["status"], 499)

    def test_a_refusal_after_the_caller_left(self) -> None:
        """Goes nowhere."""

        async def act(exchange: Exchange) -> None:
            stubborn: Deferred[None] = Deferred(
                lambda waiting: waiting.errback(Refusal(502, "No.", cause="broken"))
            )
            await stubborn

        visitor = self.visit(act)
        visitor.leave()
        self.assertEqual(visitor.sent, b"")
        self.assertEqual(self.access_line()["status"], 499)
        self.assertEqual(self.failures(), [])

    def test_a_caller_who_leaves(self) -> None:
        """Cancels what is waited for, whatever that is."""
        cancelled: list[object] = []
        visitor = self.visit(lambda _: Deferred(cancelled.append))
        self.assertEqual(self.access_lines(), [])
        visitor.leave()
        self.assertEqual(len(cancelled), 1)
        line = self.access_line()
        self.assertEqual((line["status"], line["bytes"], line["caller"]), (499, 0, None))
        self.assertEqual(self.failures(), [])

    def test_a_caller_who_leaves_while_sending(self) -> None:
        """Is 499 as well, not a body that took too long."""

        async def act(exchange: Exchange) -> None:
            await IRequestBody(exchange.request).collect(100)

        visitor = Visitor(Answering(Clock(), act))
        visitor.client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhalf")
        visitor.leave()
        self.assertEqual(self.access_line()["status"], 499)
        self.assertEqual(self.failures(), [])

    def test_a_caller_who_stops_sending(self) -> None:
        """Is told so."""

        async def act(exchange: Exchange) -> None:
            await IRequestBody(exchange.request).collect(100)

        visitor = Visitor(Answering(Clock(), act))
        visitor.client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nhalf")
        visitor.client.wait(60.0)
        visitor.method = b"POST"
        got = visitor.answer()
        self.assertEqual(got.status, 408)
        error_of(got)
        self.assertEqual(self.access_line()["status"], 408)

    def test_malformed_chunks(self) -> None:
        """400, with what was wrong, in OpenAI's form."""

        async def act(exchange: Exchange) -> None:
            await IRequestBody(exchange.request).collect(100)

        visitor = Visitor(Answering(Clock(), act))
        visitor.client.send(
            b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
        )
        visitor.method = b"POST"
        got = visitor.answer()
        self.assertEqual(got.status, 400)
        error_of(got)

    def test_a_method_of_any_length(self) -> None:
        """Does not fill the log."""
        transport = MemoryTransport()
        transport.connect(Site(UnknownRoute(Clock()), reactor=Clock()).buildProtocol(None))
        transport.deliver(b"M" * 3000 + b" / HTTP/1.1\r\nhost: h\r\n\r\n")
        self.assertIn(b"404", transport.sent[:20])
        self.assertEqual(self.access_line()["method"], "M" * 16)

    def test_an_access_line_that_cannot_be_written(self) -> None:
        """Is logged as a failure, and costs the caller nothing."""

        async def act(exchange: Exchange) -> None:
            exchange.answer_json({})
            exchange._clock = None

        self.assertEqual(self.visit(act).answer().status, 200)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
