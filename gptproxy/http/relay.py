"""
An upstream's body on its way to the caller, with back-pressure both ways.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.server import Request
from zope.interface import implementer

from gptproxy.http.response import BodyTransport, Response
from gptproxy.http.timer import DeadlineTimer

__all__ = ["RelayBroken", "relay_body"]


class RelayBroken(Exception):
    """
    The upstream's body did not come to its end.

    :param cause: why.
    :param tail: the last bytes that were sent, four at most: they tell whether an event was cut in two.
    """

    def __init__(self, cause: Failure, tail: bytes) -> None:
        super().__init__(f"the upstream's answer broke off: {type(cause.value).__name__}")
        self.cause = cause
        self.tail = tail


class RelayStalled(Exception):
    """Nothing moved for too long: the upstream is silent, or the caller does not read."""


@implementer(IPushProducer)
class _Relay(Protocol):
    """Takes the upstream's body and writes it to the caller; the caller's pace is the upstream's."""

    transport: BodyTransport

    def __init__(self, request: Request, clock: IReactorTime, idle_seconds: float) -> None:
        self._request = request
        self._idle_seconds = idle_seconds
        self._timer = DeadlineTimer(clock)
        self._tail = b""
        self._sent = 0
        self._over = False
        self.result: Deferred[int] = Deferred(lambda _: self._stop())

    def connectionMade(self) -> None:
        self._request.registerProducer(self, True)
        self._timer.set(self._idle_seconds, self._stalled)

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._timer.put_off(self._idle_seconds)
        self._sent += len(data)
        self._tail = (self._tail + data[-4:])[-4:]
        self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over:
            return
        self._end()
        if reason.check(ResponseDone):
            self.result.callback(self._sent)
        else:
            self.result.errback(Failure(RelayBroken(reason, self._tail)))

    # IPushProducer, toward the caller's connection

    def pauseProducing(self) -> None:
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        if not self._over:
            self._timer.put_off(self._idle_seconds)
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        # Twisted's own channel says so when the caller has left.
        self.result.cancel()

    def _stalled(self) -> None:
        self._stop()
        self.result.errback(Failure(RelayBroken(Failure(RelayStalled()), self._tail)))

    def _stop(self) -> None:
        self._end()
        self.transport.stopProducing()

    def _end(self) -> None:
        self._over = True
        self._timer.stop()
        if self._request.producer is self and self._request.channel is not None:
            # A request whose connection is lost has no channel to unregister from.
            self._request.unregisterProducer()


def relay_body(
    response: Response, request: Request, clock: IReactorTime, idle_seconds: float
) -> Deferred[int]:
    """
    Send an answer's body to the caller, whose status and headers are set already. The request is not finished.

    :param response: the upstream's answer.
    :param request: the caller's request.
    :param clock: for the idle time.
    :param idle_seconds: how long nothing may move: no byte from the upstream, none taken by the caller.
    :return: a Deferred that fires with the number of bytes sent when the body is complete; fails with
        :class:`RelayBroken`. Cancelling it (the caller left) drops the upstream's connection.
    """
    relay = _Relay(request, clock, idle_seconds)
    response.deliverBody(relay)
    return relay.result
