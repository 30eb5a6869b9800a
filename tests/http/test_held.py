"""What a call holds while its caller does not read: counted, and bounded."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http import Response, relay_body
from tests.http.asking import Upstream
from tests.http.memory import MemoryTransport
from tests.http.serving import Client, EarlyRendered

HELD_BYTES = 262_144
"""A quarter of a MiB for each call, whatever its caller does."""

READ_BYTES = 65_536
"""What a transport of ours reads at a time."""


class Counting(MemoryTransport):
    """Delivers reads as long as they are taken, and counts them."""

    taken = 0

    def flood(self, piece: bytes, most: int) -> None:
        """:param piece: what every read brings. :param most: bytes, if nobody stops it."""
        while self.reading and self.taken < most:
            self.taken += len(piece)
            assert self.protocol is not None
            self.protocol.dataReceived(piece)


class HeldTests(SynchronousTestCase):
    def held(self, head: bytes, piece: bytes, *, takes_late: bool = False) -> int:
        """:return: bytes that the upstream has sent and the caller has not got, when no more is read."""
        client = Client(EarlyRendered(lambda _: None))
        client.transport.peer_reads = False
        upstream = Upstream()
        upstream.transport = counting = Counting()
        counting.connect(upstream.connection)
        client.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
        resource = client.channel.site.resource
        asked = upstream.ask()
        upstream.answer(head)
        response = self.successResultOf(asked)
        assert isinstance(response, Response)
        if takes_late:
            # Nobody takes the body yet: the call is still being judged.
            counting.flood(piece, 4 * HELD_BYTES)
        relay = relay_body(response, resource.requests[-1], client.clock, 100.0)
        counting.flood(piece, 16 * HELD_BYTES)
        self.assertFalse(counting.reading)
        held = counting.taken - len(client.transport.sent)
        client.transport.leave()
        relay.result.cancel()
        self.failureResultOf(relay.result)
        counting.leave()
        return held

    def test_of_a_long_answer_no_more_than_a_quarter_of_a_mebibyte_is_held(self) -> None:
        chunk = b"%x\r\n%b\r\n" % (READ_BYTES - 8, b"x" * (READ_BYTES - 8))
        events = b"".join(b"40\r\n" + b"data: " + b"y" * 56 + b"\n\n\r\n" for _ in range(900))
        for head, piece in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", b"x" * READ_BYTES),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", events),
            (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * READ_BYTES),
        ):
            for takes_late in (False, True):
                held = self.held(head, piece, takes_late=takes_late)
                self.assertLessEqual(held, HELD_BYTES)
                self.assertGreaterEqual(held, READ_BYTES)
