"""Sends a staged answer over a twisted.web request, with back-pressure, and counts it.

May import: Twisted, and the pure modules of this room.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from gptproxy.sandbox.ledger import Counts
from gptproxy.sandbox.staging import Ending, Staging

__all__ = ["Answerable", "Performance"]


class _Transport(Protocol):
    """What is needed of a connection."""

    def write(self, data: bytes, /) -> None:
        """Send bytes past HTTP."""

    def abortConnection(self) -> None:
        """Break off."""


class _Channel(Protocol):
    @property
    def transport(self) -> _Transport:
        """The connection."""


class Answerable(Protocol):
    """What is needed of a `twisted.web.http.Request`, with the types that it has."""

    responseHeaders: Headers

    @property
    def channel(self) -> _Channel:
        """Where it came from."""

    def notifyFinish(self) -> Deferred[None]:
        """Fires at the end of the answer, fails where the connection ends before."""

    def setResponseCode(self, code: int, /) -> None:
        """Choose the status."""

    def registerProducer(self, producer: IPushProducer, streaming: bool, /) -> None:
        """Take part in back-pressure."""

    def unregisterProducer(self) -> None:
        """No longer."""

    def write(self, data: bytes, /) -> None:
        """Send a piece of the body; the first one sends the head."""

    def finish(self) -> None:
        """End the answer."""

    def loseConnection(self) -> None:
        """Close the connection once all is sent."""


@implementer(IPushProducer)
class Performance:
    """One answer on its way to the client.

    It is the request's producer: while the connection's buffer is full it writes nothing, so that
    `Counts.bytes_written` shows how far a slow reader lets it come.

    :param request: not yet answered.
    :param staging: what to send.
    :param clock: for pauses.
    :param counts: of the role that answers.
    """

    _log = Logger()

    def __init__(
        self, request: Answerable, staging: Staging, clock: IReactorTime, counts: Counts
    ) -> None:
        self._request = request
        self._staging = staging
        self._clock = clock
        self._counts = counts
        self._pieces: Iterator[bytes] = iter(staging.pieces)
        self._timer: IDelayedCall | None = None
        self._paused = False
        self._over = False  # nothing more is written
        self._left = True  # the connection's end would be the client's doing

    def begin(self) -> None:
        """Send, now or after the staging's first delay."""
        self._counts.open_streams += 1
        ended = self._request.notifyFinish()
        ended.addBoth(self._cb_ended)
        ended.addErrback(lambda failure: self._log.failure("counting an answer", failure))
        if self._staging.first_delay:
            self._timer = self._clock.callLater(self._staging.first_delay, self._open)
        else:
            self._open()

    def pauseProducing(self) -> None:
        """The connection's buffer is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """There is room again."""
        self._paused = False
        if self._timer is None:
            self._step()

    def stopProducing(self) -> None:
        """The connection is lost."""
        self._stop()

    def _cb_ended(self, result: Failure | None) -> None:
        self._counts.open_streams -= 1
        if isinstance(result, Failure) and self._left:
            self._counts.left_early += 1
        self._stop()

    def _stop(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _open(self) -> None:
        self._timer = None
        staging = self._staging
        if staging.raw is not None:
            self._request.channel.transport.write(staging.raw)
        if staging.status is None:
            self._end()
            return
        self._request.setResponseCode(staging.status)
        fields = self._request.responseHeaders
        for name in {name for name, _ in staging.headers}:
            fields.removeHeader(name)  # Twisted's own Server, Date and Content-Type
        for name, value in staging.headers:
            fields.addRawHeader(name, value)
        if staging.length is not None:
            fields.setRawHeaders("content-length", [str(staging.length)])
        self._request.registerProducer(self, True)
        self._request.write(b"")  # the head, also where no piece follows
        self._step()

    def _step(self) -> None:
        self._timer = None
        while not self._paused and not self._over:
            piece = next(self._pieces, None)
            if piece is None:
                self._over = True
                self._request.unregisterProducer()
                self._end()
                return
            self._counts.bytes_written += len(piece)
            self._request.write(piece)
            if self._staging.delay is not None and not self._over:
                self._timer = self._clock.callLater(self._staging.delay, self._step)
                return

    def _end(self) -> None:
        ending = self._staging.ending
        if ending is Ending.FINISH:
            self._request.finish()
        elif ending is Ending.CUT:
            self._left = False
            self._request.loseConnection()
        elif ending is Ending.RESET:
            self._left = False
            # Aborting drops what is not yet written. Two turns of the reactor: in the first the
            # head goes out, in the second the connection breaks.
            self._timer = self._clock.callLater(0, self._reset_next)

    def _reset_next(self) -> None:
        self._timer = self._clock.callLater(0, self._reset)

    def _reset(self) -> None:
        self._timer = None
        self._request.channel.transport.abortConnection()
