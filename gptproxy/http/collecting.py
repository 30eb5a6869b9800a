"""
An answer's body read into memory, up to a bound.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.iweb import IResponse

from gptproxy.http.response import BodyTransport

__all__ = ["ResponseTooLarge", "collect_body"]


class ResponseTooLarge(Exception):
    """An answer's body is longer than whoever asked wants to hold."""


class _Collector(Protocol):
    """Gathers a body up to a limit."""

    transport: BodyTransport

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._over = False
        self.result: Deferred[bytes] = Deferred(lambda _: self._stop())

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit and not self._over:
            self._stop()
            self.result.errback(Failure(ResponseTooLarge()))
        elif not self._over:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over:
            return
        self._over = True
        if reason.check(ResponseDone):
            self.result.callback(b"".join(self._pieces))
        else:
            self.result.errback(reason)

    def _stop(self) -> None:
        self._over = True
        self._pieces.clear()
        # Of a body's transport in Twisted's own client, treq's tests included, this is all there is to give up with.
        self.transport.stopProducing()


def collect_body(response: IResponse, limit_bytes: int) -> Deferred[bytes]:
    """
    Read an answer's body into memory.

    :param response: whose body.
    :param limit_bytes: how long it may be.
    :return: a Deferred that fires with the body; fails with :class:`ResponseTooLarge`,
        :class:`~gptproxy.http.grammar.MalformedMessage` or :class:`~twisted.internet.error.ConnectionClosed`.
        Cancelling it drops the connection.
    """
    collector = _Collector(limit_bytes)
    response.deliverBody(collector)
    return collector.result
