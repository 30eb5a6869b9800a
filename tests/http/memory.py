"""
A connection in memory whose two ends are driven by a test: what Twisted's TCP transport does, without a socket.

May import Twisted and this room's interfaces. As with the real one, nothing that a protocol asks for happens within
the call: buffers are flushed, connections end and paused input goes on in :meth:`MemoryTransport.settle`.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IProducer,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from gptproxy.http.interfaces import IConnection

BUFFER_LIMIT = 65_536
"""Twisted's own: more than that unsent pauses the producer."""


@implementer(IConnection, ITCPTransport, IConsumer, IPushProducer)
class MemoryTransport:
    """
    One end.

    :ivar sent: what the peer has received.
    :ivar peer_reads: the peer takes what is written; else it stays in the buffer.
    :ivar reading: the protocol wants input.
    :ivar half_closed: the peer has seen the end of our output.
    :ivar lost: why the connection ended.
    """

    disconnecting = False

    def __init__(self) -> None:
        self.protocol: IProtocol | None = None
        self.sent = b""
        self.peer_reads = True
        self.reading = True
        self.half_closed = False
        self.lost: Failure | None = None
        self.aborted = False
        self.producer: IPushProducer | None = None
        self.pauses = 0
        self._producer_paused = False
        self._was_paused = False
        self._buffer = b""
        self._input: list[bytes] = []
        self._write_ending = False

    # The test's side

    def connect(self, protocol: IProtocol) -> None:
        """:param protocol: whose transport this becomes."""
        self.protocol = protocol
        protocol.makeConnection(self)
        self.settle()

    def deliver(self, *pieces: bytes) -> None:
        """:param pieces: what the peer sends; it is held back while the protocol does not read."""
        self._input += pieces
        self.settle()

    def settle(self) -> None:
        """Let everything happen that is due."""
        while self._step():
            pass

    def leave(self, error: Exception | None = None) -> None:
        """:param error: how the peer goes; without one it closes in good order."""
        self._lose(error or ConnectionDone())
        self.settle()

    def take(self) -> bytes:
        """:return: what the peer has received since the last time."""
        sent, self.sent = self.sent, b""
        return sent

    @property
    def buffered(self) -> int:
        """Bytes that the peer has not taken."""
        return len(self._buffer)

    @property
    def held_back(self) -> int:
        """Bytes that the peer has sent and nobody has read."""
        return sum(map(len, self._input))

    def _step(self) -> bool:
        if self.lost is not None or self.protocol is None:
            return False
        if self.aborted:
            self._lose(ConnectionAborted())
            return False
        if self._buffer and self.peer_reads:
            self.sent += self._buffer
            self._buffer = b""
            if self._producer_paused and self.producer is not None:
                self._producer_paused = False
                self.producer.resumeProducing()
            return True
        # As Twisted's: a producer that has been paused and is still registered holds the end up.
        if not self._buffer and not self._was_paused:
            if self.disconnecting:
                return self._finish_disconnecting()
            if self._write_ending and not self.half_closed:
                self.half_closed = True
                return True
        if self._input and self.reading and not self.disconnecting:
            self.protocol.dataReceived(self._input.pop(0))
            return True
        return False

    def _finish_disconnecting(self) -> bool:
        self._lose(ConnectionDone())
        return False

    def _lose(self, error: Exception) -> None:
        if self.lost is None and self.protocol is not None:
            self.lost = Failure(error)
            if self.producer is not None:
                self.producer.stopProducing()
            self.producer = None
            self.protocol.connectionLost(self.lost)

    # The protocol's side

    def write(self, data: bytes) -> None:
        if self.lost is not None or self.aborted or self.half_closed:
            return
        assert isinstance(data, bytes)
        self._buffer += data
        if self.producer is not None and len(self._buffer) > BUFFER_LIMIT:
            # Like Twisted's TCP, at each write that finds the buffer full.
            self._producer_paused = self._was_paused = True
            self.pauses += 1
            self.producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        assert streaming
        assert IPushProducer.providedBy(producer)
        assert self.producer is None
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None
        self._producer_paused = self._was_paused = False

    def loseConnection(self) -> None:
        self.disconnecting = True

    def loseWriteConnection(self) -> None:
        self._write_ending = True

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True
        self._buffer = b""

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        if self.lost is None and not self.disconnecting:
            self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 50_000)

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.2", 443)

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing to set."""

    def getTcpKeepAlive(self) -> bool:
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Nothing to set."""


@implementer(ISSLTransport)
class MemoryTLSTransport(MemoryTransport):
    """The same over TLS: a connection that is given up waits for the peer's own farewell."""

    def getPeerCertificate(self) -> None:
        return None

    def _finish_disconnecting(self) -> bool:
        if self.half_closed:
            return False
        self.half_closed = True
        return True


def reset() -> ConnectionLost:
    """:return: how a peer goes that goes badly."""
    return ConnectionLost("reset")
