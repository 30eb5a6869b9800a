"""The sandbox over HTTP, in memory: what is sent, when, and what is counted."""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from gptproxy.sandbox import Sandbox
from gptproxy.sandbox.faults import parse_faults
from gptproxy.sandbox.performance import Performance

KEY = b"Authorization: Bearer sk-sandbox-openai\r\n"


class _Turns(Clock):
    """A clock on which, as on a reactor, a call for now waits for the next turn."""

    def turn(self) -> None:
        """One turn of the reactor: what is due at its beginning is called."""
        for call in [call for call in self.calls if call.getTime() <= self.seconds()]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class _Transport(StringTransport):
    """A connection that remembers how it ended, and may tell that it is full."""

    aborted = False
    full_at: int | None = None  # bytes written at which the producer is told to pause

    def writeSequence(self, data: Any) -> None:
        """As on TCP, where the buffer fills while writing."""
        super().writeSequence(data)
        if self.full_at is not None and len(self.value()) > self.full_at:
            cast(Any, self.producer).pauseProducing()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """As on TCP."""

    def abortConnection(self) -> None:
        """End at once."""
        self.aborted = True
        super().abortConnection()


class SandboxCase(SynchronousTestCase):
    """A sandbox with a clock of its own, reached through raw bytes."""

    def setUp(self) -> None:
        self.clock = _Turns()
        self.sandbox = Sandbox(self.clock)
        self.connections: list[tuple[Any, _Transport]] = []

    def tearDown(self) -> None:
        for protocol, _ in self.connections:
            protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def connect(self, role: str = "openai") -> tuple[Any, _Transport]:
        """:return: a server protocol of that role, and its connection."""
        protocol: Any = self.sandbox.site(role).buildProtocol(cast(Any, None))
        transport = _Transport()
        protocol.makeConnection(transport)
        self.connections.append((protocol, transport))
        return protocol, transport

    def lose(self, protocol: Any) -> None:
        """The client leaves."""
        self.connections = [pair for pair in self.connections if pair[0] is not protocol]
        protocol.stopProducing()
        protocol.connectionLost(Failure(ConnectionDone()))

    def chat(self, text: str = "hi", stream: bool = True) -> bytes:
        """:return: the bytes of a chat request."""
        messages = [{"role": "user", "content": text}]
        body = json.dumps({"model": "gpt-4", "stream": stream, "messages": messages}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n" + KEY
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def strike(self, **fault: object) -> None:
        """The next request of OpenAI's is struck."""
        self.sandbox.faults.add(parse_faults({"role": "openai", **fault}))

    def state(self) -> dict[str, int]:
        """:return: the counts of OpenAI's stand-in."""
        return cast("dict[str, int]", self.sandbox.ledger.state()["openai"])

    def run_out(self) -> None:
        """Let every turn of the reactor come that is due."""
        for _ in range(200):
            self.clock.turn()


class SendingTests(SandboxCase):
    """How answers are sent."""

    def test_interface(self) -> None:
        """What sends an answer takes part in back-pressure."""
        verifyClass(IPushProducer, Performance)

    def test_events_come_one_by_one(self) -> None:
        """Each event is sent in its own turn of the reactor, and counted."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat())
        self.assertEqual(transport.value().count(b"data: "), 1)
        self.assertEqual(self.state()["open_streams"], 1)
        self.clock.turn()
        self.assertEqual(transport.value().count(b"data: "), 2)
        self.run_out()
        self.assertTrue(transport.value().endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"))
        self.assertEqual(self.state()["open_streams"], 0)
        self.assertEqual(self.state()["left_early"], 0)

    def test_headers_replace_twisteds(self) -> None:
        """One Server, two cookies, the length, and the connection stays open."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat(stream=False))
        head = transport.value().partition(b"\r\n\r\n")[0]
        self.assertEqual(head.count(b"\r\nServer: "), 1)
        self.assertIn(b"\r\nServer: cloudflare", head)
        self.assertEqual(head.count(b"\r\nSet-Cookie: "), 2)
        self.assertIn(b"\r\nContent-Length: ", head)
        transport.clear()
        protocol.dataReceived(b"HEAD /v1/models HTTP/1.1\r\nHost: a\r\n" + KEY + b"\r\n")
        self.assertTrue(transport.value().endswith(b"\r\n\r\n"))

    def test_forms_are_bytes(self) -> None:
        """A body that says it is a form is not parsed, broken or not."""
        protocol, transport = self.connect()
        kind = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 3\r\n\r\nabc"
        protocol.dataReceived(b"POST /v1/files HTTP/1.1\r\nHost: a\r\n" + KEY + kind)
        self.assertIn(b'"error": {', transport.value())
        self.assertEqual(self.sandbox.ledger.requests()[0]["body"], "abc")

    def test_large_heads_are_read(self) -> None:
        """As much as OpenAI takes: a field of 40,000 bytes, which Twisted would refuse."""
        protocol, transport = self.connect()
        head = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nx-large: " + b"x" * 40_000 + b"\r\n"
        protocol.dataReceived(head + KEY + b"\r\n")
        self.assertIn(b"HTTP/1.1 200 OK", transport.value())

    def test_back_pressure_stops_the_stream(self) -> None:
        """While the connection is full nothing is written; when it has room all goes on."""
        self.strike(fault="huge_stream", megabytes=1)
        protocol, transport = self.connect()
        transport.full_at = 200_000
        protocol.dataReceived(self.chat())
        written = self.state()["bytes_written"]
        self.assertLess(written, 300_000)
        self.run_out()
        self.assertEqual(self.state()["bytes_written"], written)
        transport.full_at = None
        protocol.resumeProducing()
        self.assertGreater(self.state()["bytes_written"], 2**20)
        self.assertIn(b"data: [DONE]", transport.value())

    def test_a_pause_between_events_is_kept(self) -> None:
        """A full connection and a slow stream do not disturb each other."""
        self.strike(fault="slow_events", delay_seconds=2)
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat())
        self.clock.advance(1.9)
        self.assertEqual(transport.value().count(b"data: "), 1)
        protocol.pauseProducing()
        protocol.resumeProducing()
        self.assertEqual(transport.value().count(b"data: "), 1)
        protocol.pauseProducing()
        self.clock.advance(0.1)
        self.clock.advance(10)
        self.assertEqual(transport.value().count(b"data: "), 1)
        protocol.resumeProducing()
        self.assertEqual(transport.value().count(b"data: "), 2)
        self.lose(protocol)
        self.assertEqual(self.state()["left_early"], 1)

    def test_bad_json_is_refused_by_the_site(self) -> None:
        """Looking for words of people in a body must not answer for the site."""
        protocol, transport = self.connect()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
        protocol.dataReceived(head + KEY + b"\r\n{")
        self.assertIn(b"400 Bad Request", transport.value())
        self.assertIn(b"could not parse", transport.value())

    def test_words_of_people_are_heard(self) -> None:
        """A word in the last message is enough."""
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat("sandbox:429"))
        self.assertIn(b"HTTP/1.1 429 ", transport.value())


class BreakingTests(SandboxCase):
    """How answers break."""

    def test_a_hang_notices_the_client_leaving(self) -> None:
        """Nothing is ever sent; the departure is counted."""
        self.strike(fault="hang")
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat())
        self.clock.advance(1000)
        self.assertEqual(transport.value(), b"")
        self.assertEqual(self.state()["open_streams"], 1)
        self.lose(protocol)
        counts = self.state()
        self.assertEqual((counts["open_streams"], counts["left_early"]), (0, 1))

    def test_a_client_that_leaves_before_a_slow_answer(self) -> None:
        """The wait ends with the client."""
        self.strike(fault="slow_answer", delay_seconds=5)
        protocol, _ = self.connect()
        protocol.dataReceived(self.chat())
        self.lose(protocol)
        self.assertEqual(self.state()["left_early"], 1)

    def test_a_slow_answer_comes(self) -> None:
        """After its delay, and no earlier."""
        self.strike(fault="slow_answer", delay_seconds=5)
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat(stream=False))
        self.clock.advance(4.9)
        self.assertEqual(transport.value(), b"")
        self.clock.advance(0.1)
        self.assertIn(b"200 OK", transport.value())

    def test_a_hang_after_events(self) -> None:
        """Some events, then silence until the client leaves."""
        self.strike(fault="hang_after_events", after_events=2)
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat())
        self.run_out()
        self.assertEqual(transport.value().count(b"data: "), 2)
        self.assertFalse(transport.disconnecting)
        self.lose(protocol)
        self.assertEqual(self.state()["left_early"], 1)

    def test_a_cut_has_no_clean_end(self) -> None:
        """What was written is delivered, the last chunk is not, nobody has left."""
        self.strike(fault="cut_stream", after_events=2)
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat())
        self.run_out()
        self.assertTrue(transport.disconnecting)
        self.assertFalse(transport.aborted)
        self.assertFalse(transport.value().endswith(b"0\r\n\r\n"))
        self.lose(protocol)
        counts = self.state()
        self.assertEqual((counts["open_streams"], counts["left_early"]), (0, 0))

    def test_resets(self) -> None:
        """Before the head, or after it in a later turn so that it is delivered."""
        for fault, sent in [("reset_before_head", 0), ("reset_after_head", 1)]:
            self.strike(fault=fault)
            protocol, transport = self.connect()
            protocol.dataReceived(self.chat())
            self.clock.turn()
            self.assertFalse(transport.aborted)
            self.clock.turn()
            self.assertTrue(transport.aborted)
            self.assertEqual(transport.value().count(b"HTTP/1.1 200 OK"), sent)
            self.lose(protocol)
        self.assertEqual(self.state()["left_early"], 0)

    def test_a_head_that_is_none(self) -> None:
        """Any bytes can be sent in its place."""
        self.strike(fault="malformed_head", head="HTTP/9.9 hello\r\n\r\n")
        protocol, transport = self.connect()
        protocol.dataReceived(self.chat())
        self.assertEqual(transport.value(), b"HTTP/9.9 hello\r\n\r\n")
        self.assertTrue(transport.disconnecting)
