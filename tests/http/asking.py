"""
An upstream in memory: what a client connection of ours has sent to it, and what it answers.

May import this room and Twisted.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from gptproxy.http.client_connection import ClientConnection
from gptproxy.http.response import ClientRequest, Response
from tests.http.memory import MemoryTLSTransport, MemoryTransport

HEAD = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Upstream:
    """
    One connection to it.

    :ivar idle: how often the connection said that it may take another request.
    :ivar gone: how often that it can take no more.
    """

    def __init__(self, *, secure: bool = False) -> None:
        self.clock = Clock()
        self.idle = self.gone = 0
        self.transport = MemoryTLSTransport() if secure else MemoryTransport()
        self.connection = ClientConnection(
            self.clock, secure, lambda _: self._count("idle"), lambda _: self._count("gone")
        )
        self.transport.connect(self.connection)

    def _count(self, name: str) -> None:
        setattr(self, name, getattr(self, name) + 1)

    def ask(self, body: IBodyProducer | None = None, method: bytes = b"GET") -> Deferred[Response]:
        """
        :param body: what is sent behind the head.
        :param method: as the connection is told.
        :return: the answer, 600 s at most.
        """
        request = ClientRequest(method, b"http://h/", Headers())
        result = self.connection.ask(request, HEAD, body, 600.0)
        self.transport.settle()
        return result

    def answer(self, *pieces: bytes) -> None:
        """:param pieces: what it says."""
        self.transport.deliver(*pieces)

    def wait(self, seconds: float) -> None:
        """:param seconds: on the clock."""
        self.clock.advance(seconds)
        self.transport.settle()

    def check_nothing_is_left(self) -> None:
        """It goes away, and no delayed call and no producer outlives the connection."""
        self.transport.leave()
        assert self.clock.getDelayedCalls() == []
        assert self.transport.producer is None
        assert self.gone


class Taker(Protocol):
    """Takes a body, and notes its end."""

    def __init__(self, *, paused: bool = False) -> None:
        self.data = b""
        self.end: Failure | None = None
        self._paused = paused

    def connectionMade(self) -> None:
        if self._paused:
            self.transport.pauseProducing()  # type: ignore[union-attr]  # a body's transport has it

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        assert self.end is None
        self.end = reason


@implementer(IBodyProducer)
class Pieces:
    """A body that a test writes piece by piece."""

    def __init__(self, length: int | str = UNKNOWN_LENGTH) -> None:
        self.length = length
        self.calls: list[str] = []
        self.consumer: IConsumer | None = None
        self.done: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.consumer = consumer
        return self.done

    def write(self, data: bytes) -> None:
        assert self.consumer is not None
        self.consumer.write(data)

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")
