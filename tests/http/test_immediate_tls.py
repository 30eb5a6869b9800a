"""TLS with OpenSSL itself as the peer: whatever comes in a read, nothing is left lying and nothing unanswered."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from gptproxy.http import ImmediateTLSFactory
from tests.http.certificates import server_options
from tests.http.memory import MemoryTransport

OPTIONS = server_options("example.com")


class _Inside(Protocol):
    """What speaks inside of TLS: it echoes what it is told to."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.lost: Failure | None = None
        self.echoes = False
        self.ends_at = b"\0"

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)
        if self.echoes:
            self.transport.write(data)
        if data.endswith(self.ends_at):
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class _Peers:
    """Our server, and OpenSSL's client, connected by hand."""

    def __init__(self, method: int = SSL.TLS_CLIENT_METHOD) -> None:
        self.inside = _Inside()
        factory = ImmediateTLSFactory(
            OPTIONS, False, Factory.forProtocol(lambda: self.inside), Clock()
        )
        self.server = factory.buildProtocol(None)
        self.transport = MemoryTransport()
        self.transport.connect(self.server)
        self.client = SSL.Connection(SSL.Context(method), None)
        self.client.set_connect_state()
        for _ in range(3):
            with suppress(SSL.WantReadError):
                self.client.do_handshake()
            if sent := self.from_client():
                self.transport.deliver(sent)
            self.to_client()

    def from_client(self) -> bytes:
        """:return: what the client has to send."""
        try:
            return self.client.bio_read(1 << 20)
        except SSL.WantReadError:
            return b""

    def to_client(self) -> None:
        """Give the client what the server has sent."""
        if sent := self.transport.take():
            self.client.bio_write(sent)

    def encrypted(self, data: bytes) -> bytes:
        """:return: the client's records for it."""
        self.client.send(data)
        return self.from_client()


def test_a_record_is_delivered_by_the_read_it_came_in() -> None:
    """Each by itself, and the answers reach the client."""
    peers = _Peers()
    peers.inside.echoes = True
    for message in (b"one", b"two", b"three"):
        peers.transport.deliver(peers.encrypted(message))
        peers.to_client()
        assert peers.client.recv(100) == message
    assert peers.inside.received == [b"one", b"two", b"three"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=4),
    st.lists(st.floats(0, 1), max_size=5),
)
def test_nothing_is_left_lying_however_reads_are_cut(
    messages: list[bytes], cuts: list[float]
) -> None:
    """All plaintext whose records have come has been delivered, in order."""
    peers = _Peers()
    stream = b"".join(
        peers.encrypted(message[place : place + 16_384])
        for message in messages
        for place in range(0, len(message), 16_384)
    )
    places = sorted({int(cut * len(stream)) for cut in cuts} | {0, len(stream)})
    for start, end in pairwise(places):
        peers.transport.deliver(stream[start:end])
    assert b"".join(peers.inside.received) == b"".join(messages)


def test_what_is_no_applications_data_is_answered() -> None:
    """TLS 1.2 lets a client ask for another handshake, in the same read as data: OpenSSL's answer is sent."""
    peers = _Peers(SSL.TLSv1_2_METHOD)
    before = peers.encrypted(b"before")
    peers.to_client()
    peers.client.renegotiate()
    with suppress(SSL.WantReadError):
        peers.client.do_handshake()
    peers.transport.deliver(before + peers.from_client())
    assert peers.inside.received == [b"before"]
    assert peers.transport.take()


def test_a_peers_end_behind_its_last_record_is_answered() -> None:
    """The alert is a record without plaintext: the server's own goes back, and the connection ends."""
    peers = _Peers()
    last = peers.encrypted(b"last")
    peers.client.shutdown()
    peers.transport.deliver(last + peers.from_client())
    assert peers.inside.received == [b"last"]
    assert peers.transport.take()
    assert peers.inside.lost is not None


def test_a_peers_end_in_a_read_of_its_own_is_answered() -> None:
    """Likewise."""
    peers = _Peers()
    peers.client.shutdown()
    peers.transport.deliver(peers.from_client())
    assert peers.transport.take()
    assert peers.inside.lost is not None


def test_a_record_that_was_changed_ends_the_connection() -> None:
    """And none of what stands behind it is delivered."""
    peers = _Peers()
    first, second = peers.encrypted(b"first"), peers.encrypted(b"second")
    peers.transport.deliver(first[:-1] + bytes((first[-1] ^ 1,)) + second)
    assert peers.inside.received == []
    assert peers.inside.lost is not None
    assert peers.inside.lost.check(SSL.Error)


def test_what_comes_behind_our_own_end_is_not_delivered_after_an_abort() -> None:
    """Records in the same read as the one at which the connection was aborted go nowhere."""
    peers = _Peers()
    stream = peers.encrypted(b"first") + peers.encrypted(b"second")
    received = peers.inside.received

    def abort(data: bytes) -> None:
        received.append(data)
        peers.inside.transport.abortConnection()

    peers.inside.dataReceived = abort  # type: ignore[method-assign]  # for this test alone
    peers.transport.deliver(stream)
    assert received == [b"first"]
