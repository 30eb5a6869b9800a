"""What goes down to the caller, whole or piece by piece, and what a broken answer looks like."""

from __future__ import annotations

import orjson
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.web.server import Site

from gptproxy.api import Exchange, refusal_page
from gptproxy.api.request_id import new_request_id
from gptproxy.upstream import NoUpstreamAnswer
from gptproxy.wire import Refusal
from tests.api.rig import CANARY, Answering, LoggedTestCase, Upstream, Visitor, error_of, held
from tests.http.memory import MemoryTransport

STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
EVENT = b'data: {"x":"%b"}\n\n' % CANARY.encode()
LAST_CHUNK = b"0\r\n\r\n"


class ExchangeTestCase(LoggedTestCase):
    """One caller whose call ends in a relay."""

    route = "/acting"

    def start(self, upstream: Upstream, method: str = "GET", version: str = "1.1") -> Visitor:
        """:return: the caller, who has asked."""
        self.endpoint = Answering(
            Clock(), lambda exchange: exchange.relay(upstream.answer, 60.0, 15.0)
        )
        self.endpoint.route = self.route
        visitor = Visitor(self.endpoint)
        self.endpoint.clock = visitor.client.clock
        visitor.ask(method, f"/?{CANARY}", version=version)
        return visitor


class HeldTests(ExchangeTestCase):
    """Answers that were read to their end."""

    def test_it_goes_down_as_it_is(self) -> None:
        """Status, fields, body; who gave it, and after how many attempts."""
        body = b'{"error":{"message":"%b"}}' % CANARY.encode()
        answer = held(429, body, (b"content-type", b"application/json"), (b"retry-after", b"7"))
        endpoint = Answering(Clock(), lambda exchange: exchange.relay(answer, 60.0))
        visitor = Visitor(endpoint)
        visitor.ask("GET", "/")
        got = visitor.answer()
        self.assertEqual((got.status, got.body), (429, body))
        self.assertEqual(got.headers[b"retry-after"], b"7")
        self.assertEqual(got.headers[b"x-gptproxy-upstream"], b"primary")
        self.assertEqual(got.headers[b"x-gptproxy-attempts"], b"3")
        self.assertEqual(got.headers[b"content-length"], b"%d" % len(body))
        line = self.access_line()
        self.assertEqual(
            (line["status"], line["upstream"], line["attempts"], line["bytes"]),
            (429, "primary", 3, len(body)),
        )
        self.assertEqual(line["request_id"].encode(), got.headers[b"x-gptproxy-request-id"])

    def test_its_status_has_its_name(self) -> None:
        """Those that HTTP has; twisted.web knows fewer. Another goes without one (RFC 9112 4)."""
        for status, line in [(429, b"429 Too Many Requests"), (529, b"529 ")]:
            answer = held(status, b"{}")
            visitor = Visitor(
                Answering(Clock(), lambda exchange, answer=answer: exchange.relay(answer, 60.0))
            )
            visitor.ask("GET", "/")
            self.assertTrue(visitor.sent.startswith(b"HTTP/1.1 %b\r\n" % line), visitor.sent)

    def test_the_upstreams_request_id_is_not_ours(self) -> None:
        """Both go down; one that pretends to be ours does not."""
        answer = held(200, b"{}", (b"x-request-id", b"r1"), (b"x-gptproxy-request-id", b"forged"))
        visitor = Visitor(Answering(Clock(), lambda exchange: exchange.relay(answer, 60.0)))
        visitor.ask("GET", "/")
        got = visitor.answer()
        self.assertEqual(got.headers[b"x-request-id"], b"r1")
        self.assertNotEqual(got.headers[b"x-gptproxy-request-id"], b"forged")
        self.assertNotIn(b"content-type", got.headers)


class LiveTests(ExchangeTestCase):
    """Answers that come piece by piece."""

    def test_a_known_length(self) -> None:
        """Is told, and the body is the upstream's."""
        upstream = Upstream((b"content-type", b"application/json"), length=4)
        visitor = self.start(upstream)
        self.assertIn(b"content-length: 4\r\n", visitor.sent.lower())
        upstream.say(b"12", b"34")
        upstream.end()
        got = visitor.answer()
        self.assertEqual((got.status, got.body), (200, b"1234"))
        self.assertNotIn(b"x-accel-buffering", got.headers)
        line = self.access_line()
        self.assertEqual((line["status"], line["bytes"], line["attempts"]), (200, 4, 2))

    def test_a_stream(self) -> None:
        """Goes down event by event, its head before the first; no proxy in front may gather it."""
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        head = visitor.sent.lower()
        self.assertIn(b"x-accel-buffering: no\r\n", head)
        self.assertIn(b"transfer-encoding: chunked\r\n", head)
        upstream.say(EVENT)
        self.assertIn(EVENT, visitor.sent)
        self.assertFalse(visitor.sent.endswith(LAST_CHUNK))
        upstream.say(b"data: [DONE]\n\n")
        upstream.end()
        self.assertTrue(visitor.sent.endswith(LAST_CHUNK))
        self.assertEqual(visitor.answer().body, EVENT + b"data: [DONE]\n\n")
        self.assertEqual(visitor.client.clock.getDelayedCalls()[1:], [])

    def test_head(self) -> None:
        """Gets the head with its length; the body is not waited for."""
        upstream = Upstream((b"content-type", b"application/json"), length=4)
        visitor = self.start(upstream, "HEAD")
        got = visitor.answer()
        self.assertEqual((got.status, got.headers[b"content-length"], got.body), (200, b"4", b""))
        self.assertEqual(upstream.dropped, 1)

    def test_the_clock_starts_with_the_call(self) -> None:
        """The access line's duration is the whole call's."""
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        visitor.client.clock.advance(2.5)
        upstream.end()
        self.assertEqual(self.access_line()["seconds"], 2.5)


class BrokenTests(ExchangeTestCase):
    """Answers that do not come to their end: no client may take them for whole."""

    def broken(self, upstream: Upstream, *pieces: bytes, version: str = "1.1") -> Visitor:
        visitor = self.start(upstream, version=version)
        upstream.say(*pieces)
        upstream.end(ConnectionLost())
        self.assertFalse(visitor.sent.endswith(LAST_CHUNK))
        self.assertTrue(visitor.client.ended)
        self.assertEqual(upstream.dropped, 0)
        (event,) = [event for event in self.events if "trouble" in event]
        self.assertEqual(event["upstream"], "primary")
        return visitor

    def test_between_two_events(self) -> None:
        """One error event, then no end: clients raise an error either way."""
        for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
            with self.subTest(end):
                self.events.clear()
                visitor = self.broken(Upstream(STREAM), b"data: {}" + end[:1], end[1:])
                _, _, events = visitor.sent.partition(b"data: {}")
                start = events.index(b"data: {")
                error = orjson.loads(events[start + 6 : events.index(b"\n\n", start)])["error"]
                self.assertEqual(error["code"], "upstream_broke_off")
                self.assertEqual(set(error), {"message", "type", "param", "code"})
                self.assertEqual(events.count(b"error"), events.count(b'"error"') + 1)
                self.assertNotIn(b"[DONE]", events)

    def test_before_the_first_event(self) -> None:
        """The error is the first."""
        visitor = self.broken(Upstream((b"content-type", b"Text/Event-Stream")))
        self.assertIn(b'\r\ndata: {"error":', visitor.sent)

    def test_inside_an_event(self) -> None:
        """Nothing is written into it."""
        for piece in (b"data: {", b"data: {}\n", b"data: {}\r\n"):
            with self.subTest(piece):
                self.events.clear()
                visitor = self.broken(Upstream(STREAM), EVENT, piece)
                self.assertNotIn(b"error", visitor.sent)

    def test_in_a_stream_of_known_length(self) -> None:
        """Nothing is written either: it could fill up the length and pass for the end."""
        visitor = self.broken(Upstream(STREAM, length=len(EVENT) + 20), EVENT)
        self.assertTrue(visitor.sent.endswith(EVENT))

    def test_in_what_is_no_stream(self) -> None:
        """Nothing is written."""
        visitor = self.broken(Upstream((b"content-type", b"application/json")), b"{")
        self.assertNotIn(b"error", visitor.sent)

    def test_for_a_client_of_http_1_0(self) -> None:
        """The connection's end would be the answer's, so it is reset."""
        visitor = self.broken(Upstream(STREAM), b"data: {}\n\n", version="1.0")
        self.assertTrue(visitor.client.transport.aborted)

    def test_silence(self) -> None:
        """Is a broken answer too, and gives up the upstream."""
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        for _ in range(4):
            visitor.client.wait(15.0)
        self.assertIn(b"upstream_broke_off", visitor.sent)
        self.assertFalse(visitor.sent.endswith(LAST_CHUNK))
        self.assertEqual(upstream.dropped, 1)

    def test_under_twisteds_own_site(self) -> None:
        """The connection is reset there."""
        upstream = Upstream(STREAM)
        endpoint = Answering(Clock(), lambda exchange: exchange.relay(upstream.answer, 60.0))
        transport = MemoryTransport()
        transport.connect(Site(endpoint, reactor=Clock()).buildProtocol(None))
        transport.deliver(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        upstream.end(ConnectionLost())
        self.assertTrue(transport.aborted)
        self.assertEqual(self.access_line()["status"], 200)


class BrokenResponseTests(ExchangeTestCase):
    """A stream of the Responses API that does not come to its end."""

    route = "/responses"

    def test_its_error_event(self) -> None:
        """Is the API's own, the next in order, and has the member at which clients raise."""
        for sent, number in ((b"", 0), (b'data: {"sequence_number":4}\n\n', 5)):
            upstream = Upstream(STREAM)
            visitor = self.start(upstream)
            upstream.say(*[sent] * bool(sent))
            upstream.end(ConnectionLost())
            _, _, event = visitor.sent.partition(b"event: error\ndata: ")
            content = orjson.loads(event[: event.index(b"\n\n")])
            self.assertEqual((content["type"], content["sequence_number"]), ("error", number))
            self.assertEqual(content["code"], "upstream_broke_off")
            self.assertEqual(content["error"]["message"], content["message"])
            self.assertFalse(visitor.sent.endswith(LAST_CHUNK))


class SilenceTests(ExchangeTestCase):
    """What a caller hears of an upstream that says nothing."""

    PING = b"\r\n: ping\n\n\r\n"

    def test_a_comment_in_a_stream(self) -> None:
        """Every fifteen seconds, from the head on; then the upstream's bytes as they are."""
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        visitor.client.wait(15.0)
        visitor.client.wait(15.0)
        self.assertEqual(visitor.sent.count(self.PING), 2)
        upstream.say(EVENT)
        upstream.end()
        self.assertEqual(visitor.answer().body, b": ping\n\n" * 2 + EVENT)

    def test_nothing_in_other_answers(self) -> None:
        """Nor in a stream whose length is told: it would end too soon."""
        for upstream in (
            Upstream(STREAM, length=100),
            Upstream((b"content-type", b"application/json")),
        ):
            visitor = self.start(upstream)
            visitor.client.wait(40.0)
            self.assertNotIn(b"ping", visitor.sent)
            visitor.leave()


class UsageTests(ExchangeTestCase):
    """The access line tells the tokens that an answer tells."""

    USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}'

    def test_of_an_answer_that_came_whole(self) -> None:
        upstream = Upstream((b"content-type", b"application/json"))
        upstream.say(b'{"choices":[],%b}' % self.USAGE)
        upstream.end()
        self.start(upstream)
        self.assertEqual(self.tokens(), (9, 3))
        self.assertIn("tokens_in=9 tokens_out=3", self.access_line()["log_format"])

    def test_of_a_stream(self) -> None:
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        upstream.say(EVENT, b'data: {"choices":[],%b}\n\n' % self.USAGE, b"data: [DONE]\n\n")
        upstream.end()
        self.assertEqual(visitor.answer().status, 200)
        self.assertEqual(self.tokens(), (9, 3))
        usage = self.endpoint.exchanges[0].usage
        assert usage is not None
        self.assertEqual((usage.input_tokens, usage.output_tokens), (9, 3))

    def test_of_an_answer_that_tells_none(self) -> None:
        upstream = Upstream(STREAM)
        self.start(upstream)
        upstream.end()
        self.assertEqual(self.tokens(), (None, None))
        self.assertNotIn("tokens", self.access_line()["log_format"])


class AddressTests(ExchangeTestCase):
    """Who is calling, as the connection says."""

    def test_it_is_the_peers(self) -> None:
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        (exchange,) = self.endpoint.exchanges
        self.assertEqual(exchange.address, visitor.client.transport.getPeer().host)
        self.assertTrue(exchange.address)
        visitor.leave()

    def test_a_unix_sockets_peer_has_none(self) -> None:
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        (exchange,) = self.endpoint.exchanges
        self.patch(visitor.client.transport, "getPeer", lambda: UNIXAddress(b"/run/x"))
        self.assertEqual(exchange.address, "")
        visitor.leave()


class LeavingTests(ExchangeTestCase):
    """The caller goes while the answer comes."""

    def test_the_upstream_is_given_up(self) -> None:
        """At once, and nothing more is written; 499 in the log, with what was sent."""
        upstream = Upstream(STREAM)
        visitor = self.start(upstream)
        upstream.say(EVENT)
        visitor.leave()
        self.assertEqual(upstream.dropped, 1)
        upstream.say(EVENT)
        line = self.access_line()
        self.assertEqual((line["status"], line["bytes"]), (499, len(EVENT)))
        self.assertEqual(visitor.client.clock.getDelayedCalls(), [])

    def test_an_answer_that_comes_as_the_caller_goes(self) -> None:
        """Is given up."""

        async def late(exchange: Exchange) -> None:
            # What is waited for does not mind being cancelled, and the relay comes too late.
            stubborn: Deferred[None] = Deferred(lambda waiting: waiting.callback(None))
            await stubborn
            await exchange.relay(upstream.answer, 60.0)

        upstream = Upstream(STREAM)
        visitor = Visitor(Answering(Clock(), late))
        visitor.ask("GET", "/")
        visitor.leave()
        self.assertEqual((visitor.sent, upstream.dropped), (b"", 1))
        self.assertEqual(self.access_line()["status"], 499)
        self.assertEqual(self.failures(), [])

    def test_what_is_said_after_the_caller_left(self) -> None:
        """Goes nowhere."""

        async def late(exchange: Exchange) -> None:
            stubborn: Deferred[None] = Deferred(lambda waiting: waiting.callback(None))
            await stubborn
            exchange.answer_json({"a": 1})

        visitor = Visitor(Answering(Clock(), late))
        visitor.ask("GET", "/")
        visitor.leave()
        self.assertEqual(visitor.sent, b"")
        self.assertEqual(self.access_line()["status"], 499)


class WordingTests(LoggedTestCase):
    """gptproxy's own words."""

    def test_a_refusal(self) -> None:
        """OpenAI's form, the refusal's headers; its cause goes to the log alone."""

        async def refuse(exchange: Exchange) -> None:
            exchange.extra_fields.append((b"x-gptproxy-passages", b"2"))
            exchange.refuse(
                Refusal(503, "Wait.", headers=((b"retry-after", b"5"),), cause="the disk is full")
            )

        visitor = Visitor(Answering(Clock(), refuse))
        visitor.ask("GET", "/")
        got = visitor.answer()
        self.assertEqual((got.status, got.headers[b"retry-after"]), (503, b"5"))
        self.assertEqual(got.headers[b"x-gptproxy-passages"], b"2")
        self.assertEqual(error_of(got)["message"], "Wait.")
        self.assertNotIn(b"disk", got.body)
        (event,) = [event for event in self.events if "cause" in event]
        self.assertEqual((event["cause"], event["status"]), ("the disk is full", 503))

    def test_answer_json(self) -> None:
        """200, with a length."""
        visitor = Visitor(Answering(Clock(), _answer_json))
        visitor.ask("GET", "/")
        got = visitor.answer()
        self.assertEqual((got.status, got.body), (200, b'{"a":1}'))
        self.assertEqual(got.headers[b"content-type"], b"application/json")
        self.assertEqual(got.headers[b"content-length"], b"7")

    def test_a_refusal_behind_attempts(self) -> None:
        """The access line and the caller are told who was asked last, and how many attempts there were."""

        async def refuse(exchange: Exchange) -> None:
            raise NoUpstreamAnswer(Refusal(502, "Nobody answers.", code="c"), "secondary", 4)

        visitor = Visitor(Answering(Clock(), refuse))
        visitor.ask("GET", "/")
        got = visitor.answer()
        self.assertEqual((got.status, error_of(got)["code"]), (502, "c"))
        self.assertEqual(got.headers[b"x-gptproxy-upstream"], b"secondary")
        self.assertEqual(got.headers[b"x-gptproxy-attempts"], b"4")
        line = self.access_line()
        self.assertEqual(
            (line["status"], line["upstream"], line["attempts"]), (502, "secondary", 4)
        )

    def test_the_http_rooms_refusals(self) -> None:
        """Have the same form and an id of their own."""
        headers, body = refusal_page(431, "Too large.")
        self.assertEqual(dict(headers)[b"content-type"], b"application/json")
        self.assertTrue(dict(headers)[b"x-gptproxy-request-id"])
        self.assertEqual(orjson.loads(body)["error"]["message"], "Too large.")
        visitor = Visitor(Answering(Clock(), _answer_json))
        visitor.client.send(b"GET / HTTP/1.1\r\nhost: h\r\nx: " + b"y" * 70_000)
        got = visitor.answer()
        self.assertEqual(got.status, 431)
        error_of(got)

    def test_ids_are_unique(self) -> None:
        """No two calls share one."""
        self.assertEqual(len({new_request_id() for _ in range(1000)}), 1000)


async def _answer_json(exchange: Exchange) -> None:
    exchange.answer_json({"a": 1})
