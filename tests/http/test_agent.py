"""The agent: connections found, kept, tried again and given up, in memory."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse
from zope.interface.verify import verifyObject

from gptproxy.http import (
    BytesBody,
    FirstByteTimeout,
    InvalidURL,
    Origin,
    ResponseNeverReceived,
)
from gptproxy.http.agent import MAX_IDLE_PER_ORIGIN
from tests.http.asking import OK, Pieces
from tests.http.network import ORIGIN, AgentCase


class SendingTests(AgentCase):
    def test_it_is_twisteds_interface(self) -> None:
        verifyObject(IAgent, self.agent)

    def test_a_request_goes_out_with_the_agents_own_framing(self) -> None:
        forged = (
            (b"host", b"evil"),
            (b"content-length", b"99"),
            (b"transfer-encoding", b"gzip"),
            (b"connection", b"close"),
            (b"x-a", b"1"),
        )
        head = b"%b /v1?a=b HTTP/1.1\r\nhost: h.example:8080\r\nx-a: 1\r\n%b\r\n"
        for method, body, framing in (
            (b"GET", None, b""),
            (b"POST", None, b"content-length: 0\r\n"),
            (b"PUT", None, b"content-length: 0\r\n"),
            (b"DELETE", BytesBody(b""), b"content-length: 0\r\n"),
            (b"POST", Pieces(3), b"content-length: 3\r\n"),
            (b"POST", Pieces(), b"transfer-encoding: chunked\r\n"),
        ):
            asked = self.ask(body, method=method, fields=forged)
            transport = self.network.accept()
            self.assertEqual(transport.take(), head % (method, framing))
            transport.leave()
            self.failureResultOf(asked, ResponseNeverReceived)

    def test_a_body_in_memory_goes_out_with_its_head(self) -> None:
        asked = self.ask(BytesBody(b"abc"))
        transport = self.network.accept()
        self.assertTrue(transport.take().endswith(b"content-length: 3\r\n\r\nabc"))
        transport.deliver(OK)
        self.assertEqual(
            self.successResultOf(asked).request.absoluteURI, b"http://h.example:8080/v1?a=b"
        )

    def test_nothing_can_be_smuggled_into_what_is_sent(self) -> None:
        """R7, and a key with a line end in the configuration."""
        for bad in (b"a\r\nX: y", b"a\nX", b"a\rX", b"\r\n"):
            self.failureResultOf(self.ask(fields=((b"x-a", bad),)), ValueError)
            self.failureResultOf(self.ask(fields=((bad, b"x"),)), ValueError)
            self.failureResultOf(self.ask(method=bad), ValueError)
            target = b"/" + bad
            asking = self.agent.ask(b"GET", ORIGIN, target, ())
            self.failureResultOf(Deferred.fromCoroutine(asking), ValueError)
            strange = Origin(False, "h" + bad.decode(), 80)
            self.failureResultOf(self.ask(origin=strange), ValueError)
        self.assertEqual(self.network.tcpClients, [])

    def test_twisteds_way_to_ask_takes_a_url_and_headers(self) -> None:
        asked: Deferred[IResponse] = self.agent.request(
            b"GET", b"http://h.example:8080/v1", Headers({"X-A": ["1", "2"]})
        )
        transport = self.network.accept()
        self.assertEqual(
            transport.take(),
            b"GET /v1 HTTP/1.1\r\nhost: h.example:8080\r\nx-a: 1\r\nx-a: 2\r\n\r\n",
        )
        transport.deliver(OK)
        self.assertEqual(self.successResultOf(asked).code, 200)
        self.failureResultOf(self.agent.request(b"GET", b"ftp://h/"), InvalidURL)


class KeepingTests(AgentCase):
    def test_a_connection_is_kept_for_the_next_request_to_its_origin_only(self) -> None:
        first = self.served()
        self.served(first)
        self.assertEqual(len(self.network.tcpClients), 1)
        other = self.ask(origin=Origin(False, "h.example", 8081))
        self.assertEqual(len(self.network.tcpClients), 2)
        other.cancel()
        self.failureResultOf(other, CancelledError)

    def test_requests_under_way_at_once_have_a_connection_each(self) -> None:
        asked = [self.ask()]
        self.network.accept()
        asked.append(self.ask())
        self.network.accept()
        self.assertEqual(len(self.network.tcpClients), 2)
        for transport in self.network.transports:
            transport.deliver(OK)
        self.assertEqual([self.successResultOf(each).code for each in asked], [200, 200])
        self.assertEqual(self.agent.connections, 2)
        # Taken last in, first out: those that are not needed grow old and go.
        self.network.transports[0].take()
        self.served(self.network.transports[1])
        self.assertEqual(self.network.transports[0].take(), b"")

    def test_a_kept_connection_retires_by_itself(self) -> None:
        transport = self.served()
        self.network.advance(59)
        transport.settle()
        self.assertFalse(transport.half_closed)
        self.network.advance(1)
        transport.settle()
        self.assertTrue(transport.half_closed)
        asked = self.ask()
        self.assertEqual(len(self.network.tcpClients), 2)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)

    def test_a_kept_connection_that_the_server_closed_is_forgotten(self) -> None:
        self.served().leave()
        self.assertEqual(self.agent.connections, 0)
        self.served()
        self.assertEqual(len(self.network.tcpClients), 2)

    def test_no_more_are_kept_than_the_bound(self) -> None:
        asked = []
        for _ in range(MAX_IDLE_PER_ORIGIN + 1):
            asked.append(self.ask())
            self.network.accept()
        for transport in self.network.transports:
            transport.deliver(OK)
            transport.settle()
        lost = [transport.lost is not None for transport in self.network.transports]
        self.assertEqual(lost, [False] * MAX_IDLE_PER_ORIGIN + [True])
        for each in asked:
            self.successResultOf(each)

    def test_closing_drops_what_is_kept_and_keeps_nothing_more(self) -> None:
        """A connection in use ends with its request, and leaves no timer."""
        kept = self.served()
        other = self.ask()
        busy = self.network.transports[0]
        self.assertIs(busy, kept)
        third = self.ask()
        late = self.network.accept()
        busy.deliver(OK)
        self.successResultOf(other)
        self.agent.close()
        busy.settle()
        self.assertTrue(busy.aborted)
        self.assertFalse(late.aborted)
        self.assertEqual(self.agent.connections, 1)
        late.deliver(OK)
        self.assertEqual(self.successResultOf(third).code, 200)
        late.settle()
        self.assertTrue(late.aborted)
        self.assertEqual(self.agent.connections, 0)
        self.assertEqual(self.network.getDelayedCalls(), [])


class StaleTests(AgentCase):
    def test_a_kept_connection_that_dies_under_a_request_is_nobodys_fault(self) -> None:
        """Asked once more on a fresh one, a POST too, if its body can be sent again."""
        for body in (None, BytesBody(b"abc")):
            stale = self.served()
            asked = self.ask(body)
            stale.leave()
            self.assertNoResult(asked)
            fresh = self.network.accept()
            fresh.deliver(OK)
            self.assertEqual(self.successResultOf(asked).code, 200)
            fresh.leave()

    def test_a_streamed_body_cannot_be_sent_again(self) -> None:
        stale = self.served()
        asked = self.ask(Pieces())
        stale.leave()
        self.assertTrue(self.failureResultOf(asked, ResponseNeverReceived).value.reused)

    def test_a_fresh_connection_that_dies_is_not_tried_again(self) -> None:
        stale = self.served()
        asked = self.ask()
        stale.leave()
        self.network.accept().leave()
        self.assertFalse(self.failureResultOf(asked, ResponseNeverReceived).value.reused)
        self.assertEqual(len(self.network.tcpClients), 2)

    def test_nor_is_a_kept_one_that_had_begun_to_answer(self) -> None:
        for heard in (b"HTTP/1.1 200 O", b"HTTP/1.1 100 Continue\r\n\r\n"):
            stale = self.served()
            connections = len(self.network.tcpClients)
            asked = self.ask()
            stale.deliver(heard)
            stale.leave()
            self.failureResultOf(asked)
            self.assertEqual(len(self.network.tcpClients), connections)

    def test_nor_one_that_says_nothing_in_time(self) -> None:
        stale = self.served()
        asked = self.ask()
        self.network.advance(600)
        self.failureResultOf(asked, FirstByteTimeout)
        stale.settle()
        self.assertTrue(stale.aborted)
        self.assertEqual(len(self.network.tcpClients), 1)
