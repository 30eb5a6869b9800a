"""
The two directions of a connection, each paused and resumed by itself.

May import Twisted and this room's interfaces.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from gptproxy.http.interfaces import IConnection

__all__ = ["ReadSide", "WriteSide"]


class ReadSide:
    """
    Reading from a transport.

    :param transport: what is read from; it reads when this is made.

    :ivar reading: it is.
    """

    __slots__ = ("_transport", "reading")

    def __init__(self, transport: IConnection) -> None:
        self._transport = transport
        self.reading = True

    def read(self, reading: bool) -> None:
        """
        :param reading: read, or leave what comes to the kernel and so to the peer.
        """
        if reading == self.reading:
            return
        self.reading = reading
        if reading:
            self._transport.resumeProducing()
        else:
            self._transport.pauseProducing()


@implementer(IPushProducer)
class WriteSide:
    """
    Writing to a transport: stands between it and whoever produces what is written, one after the other.

    :param transport: what is written to. It tells this object when its buffer is full (64 KiB in Twisted).
    :param resumed: called when the buffer has room again.

    :ivar paused: the transport's buffer is full: the peer does not read.
    """

    __slots__ = ("_producer", "_resumed", "_transport", "paused")

    def __init__(self, transport: IConnection, resumed: Callable[[], None]) -> None:
        self._transport = transport
        self._resumed = resumed
        self._producer: IPushProducer | None = None
        self.paused = False
        transport.registerProducer(self, True)

    def register(self, producer: IPushProducer) -> None:
        """
        :param producer: who writes now.
        """
        self._producer = producer
        if self.paused:
            producer.pauseProducing()

    def unregister(self) -> None:
        """Whoever wrote is done."""
        self._producer = None

    def end(self) -> None:
        """Nothing more is written: let the transport close when its buffer is empty."""
        self._producer = None
        self._transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.paused = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer has room."""
        self.paused = False
        if self._producer is not None:
            self._producer.resumeProducing()
        self._resumed()

    def stopProducing(self) -> None:
        """The transport is gone, and its protocol's ``connectionLost`` follows."""
