"""
An answer whose body passes through something on its way to the caller.

May import the HTTP room and Twisted. Back-pressure is the answer's own: nothing is held here.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IProtocol, ITransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from gptproxy.http import Response

__all__ = ["BodyPassage", "PassedResponse"]


class BodyPassage(Protocol):
    """What a body passes through."""

    def receive(self, data: bytes) -> bytes:
        """
        :param data: the body's next bytes.
        :return: what goes on now.
        """
        ...  # pragma: no cover - a protocol's method has no body to run

    def finish(self) -> bytes:
        """:return: what goes on behind the body's last byte."""
        ...  # pragma: no cover - as above


class _Passing(TwistedProtocol):
    """Stands between a body and who takes it."""

    def __init__(self, passage: BodyPassage, taker: IProtocol) -> None:
        self._passage = passage
        self._taker = taker

    def makeConnection(self, transport: ITransport) -> None:
        self.transport = transport
        self._taker.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        out = self._passage.receive(data)
        if out:
            self._taker.dataReceived(out)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        out = self._passage.finish()
        if out:
            self._taker.dataReceived(out)
        self._taker.connectionLost(reason)


class PassedResponse(Response):
    """
    :param inner: the upstream's answer; its body has not been taken.
    :param passage: what its body passes through.
    :param length: of the body behind it: a number of bytes, or ``UNKNOWN_LENGTH``.
    """

    def __init__(self, inner: Response, passage: BodyPassage, length: int | str) -> None:
        # Not Response's: this one has no body of its own, and hands every question on.
        self._inner = inner
        self._passage = passage
        self._minor_version = inner.version[2]
        self.code = inner.code
        self.phrase = inner.phrase
        self.fields = inner.fields
        self.length = length
        self.request = inner.request
        self.previousResponse = inner.previousResponse

    @property
    def end(self) -> Failure | None:
        return self._inner.end

    def deliverBody(self, protocol: IProtocol) -> None:
        self._inner.deliverBody(_Passing(self._passage, protocol))

    def take_whole(self) -> bytes | None:
        body = self._inner.take_whole()
        return None if body is None else self._passage.receive(body) + self._passage.finish()

    def abandon(self) -> None:
        self._inner.abandon()
