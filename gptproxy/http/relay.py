"""
An upstream's body on its way to the caller, with back-pressure both ways.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.server import Request
from zope.interface import implementer

from gptproxy.http.grammar import Fields
from gptproxy.http.response import BodyTransport, Response
from gptproxy.http.timer import DeadlineTimer

__all__ = ["Relay", "RelayBroken", "is_event_stream", "relay_body"]


_TAIL_BYTES: Final = 4096
"""What is kept of a stream's end; twice as much at most, so that not every piece moves it."""

_EVENT_ENDS: Final = (b"\n\n", b"\r\r", b"\r\n\r\n")
_EVENT: Final = b"data:"
_HEARTBEAT: Final = b": ping\n\n"
_IDS: Final = (b"\nid:", b"\rid:")


class RelayBroken(Exception):
    """
    The upstream's body did not come to its end.

    :param cause: why.
    """

    def __init__(self, cause: Failure) -> None:
        super().__init__(f"the upstream's answer broke off: {type(cause.value).__name__}")
        self.cause = cause


class RelayStalled(Exception):
    """Nothing moved for too long: the upstream is silent, or the caller does not read."""


def is_event_stream(fields: Fields) -> bool:
    """
    :param fields: an answer's field lines.
    :return: its body is a stream of events.
    """
    for name, value in fields:
        if name == b"content-type":
            return value[:17].lower() == b"text/event-stream"
    return False


@implementer(IPushProducer)
class Relay(Protocol):
    """
    Takes the upstream's body and writes it to the caller; the caller's pace is the upstream's.

    :param request: the caller's request; its head has been written.
    :param clock: for the idle time.
    :param idle_seconds: how long nothing may move: no byte from the upstream, none taken by the caller.
    :param heartbeat_seconds: of silence between two events, after which a comment line is written
        (https://html.spec.whatwg.org/multipage/server-sent-events.html#authoring-notes); None for what is no stream
        of events, or has a length.

    :ivar tail: the last bytes that were sent.
    :ivar events: about how many events with data were sent, where the body is a stream of such.
    :ivar result: fires with the number of bytes sent when the body is complete; fails with :class:`RelayBroken`.
        Cancelling it (the caller left) drops the upstream's connection.
    """

    transport: BodyTransport

    def __init__(
        self,
        request: Request,
        clock: IReactorTime,
        idle_seconds: float,
        heartbeat_seconds: float | None = None,
    ) -> None:
        self._request = request
        self._idle_seconds = idle_seconds
        # How long is waited before looking how long it has been silent.
        self._step = min(idle_seconds, heartbeat_seconds or idle_seconds)
        self._silent_seconds = 0.0
        self._sent_before = 0
        self._timer = DeadlineTimer(clock)
        self._sent = 0
        self._paused = False
        self._over = False
        self.tail = bytearray()
        self.events = 0
        self.result: Deferred[int] = Deferred(lambda _: self._stop())

    @property
    def between_events(self) -> bool:
        """What was sent ends between two events, or nothing was sent: one more can be written."""
        return not self.tail or self.tail.endswith(_EVENT_ENDS)

    def connectionMade(self) -> None:
        self._request.registerProducer(self, True)
        self._timer.set(self._step, self._silent)

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        self._timer.put_off(self._step)
        self._sent += len(data)
        self.events += data.count(_EVENT)
        tail = self.tail
        tail += data[-_TAIL_BYTES:]
        if len(tail) > 2 * _TAIL_BYTES:
            del tail[:-_TAIL_BYTES]
        self._request.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over:
            return
        self._end()
        if reason.check(ResponseDone):
            self.result.callback(self._sent)
        else:
            self.result.errback(Failure(RelayBroken(reason)))

    def break_off(self, cause: Exception) -> None:
        """
        Drop the upstream's connection; ``result`` fails with :class:`RelayBroken`.

        :param cause: why.
        """
        if not self._over:
            self._stop()
            self.result.errback(Failure(RelayBroken(Failure(cause))))

    # IPushProducer, toward the caller's connection

    def pauseProducing(self) -> None:
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        if not self._over:
            self._silent_seconds = 0.0
            self._timer.put_off(self._step)
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        # Twisted's own channel says so when the caller has left.
        self.result.cancel()

    def _silent(self) -> None:
        """A step has passed without a byte."""
        if self._sent != self._sent_before:
            self._sent_before, self._silent_seconds = self._sent, 0.0
        self._silent_seconds += self._step
        if self._silent_seconds >= self._idle_seconds:
            self.break_off(RelayStalled())
            return
        # A caller who does not read gets nothing more to read. Where events have ids, an empty line is an event to
        # OpenAI's own client, and one without data it cannot read.
        if not self._paused and self.between_events and not any(map(self.tail.count, _IDS)):
            self._request.write(_HEARTBEAT)
        self._timer.set(min(self._step, self._idle_seconds - self._silent_seconds), self._silent)

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
    response: Response,
    request: Request,
    clock: IReactorTime,
    idle_seconds: float,
    heartbeat_seconds: float | None = None,
) -> Relay:
    """
    Send an answer's body to the caller, whose status and headers are set already. The request is not finished.

    :param response: the upstream's answer.
    :param request: the caller's request.
    :param clock: for the idle time.
    :param idle_seconds: see :class:`Relay`.
    :param heartbeat_seconds: see :class:`Relay`.
    :return: what carries it; wait for its ``result``.
    """
    relay = Relay(request, clock, idle_seconds, heartbeat_seconds)
    response.deliverBody(relay)
    return relay
