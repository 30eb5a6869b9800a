"""
A request's body as the rooms above read it: whole up to a limit, or piece by piece.

May import the HTTP room and Twisted. Two implementations of
:class:`~gptproxy.http.interfaces.IRequestBody` stand here: :class:`StreamedBody` on our own channel, and
:class:`ReceivedBody` for a request of :mod:`twisted.web` whose body is complete already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.components import registerAdapter
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from zope.interface import implementer

from gptproxy.http.interfaces import IBodyReceiver, IRequestBody

__all__ = ["BodyIncomplete", "BodySource", "BodyTooLarge", "ReceivedBody", "StreamedBody"]


class BodyTooLarge(Exception):
    """
    The body is longer than the limit.

    :param limit_bytes: the limit.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is longer than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class BodyIncomplete(Exception):
    """The body did not come to its end: the client left, stopped sending, or the request was answered before."""


@implementer(IBodyReceiver)
class _Collector:
    """Gathers a body up to a limit."""

    __slots__ = ("_limit", "_over", "_pieces", "_size", "_stop", "result")

    def __init__(self, limit_bytes: int, stop: Callable[[], None]) -> None:
        self._limit = limit_bytes
        self._stop = stop
        self._over = False
        self._pieces: list[bytes] = []
        self._size = 0
        self.result: Deferred[bytes] = Deferred(lambda _: self._give_up())

    def body_piece(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            self.body_failed(Failure(BodyTooLarge(self._limit)))
            self._stop()
        elif not self._over:
            self._pieces.append(piece)

    def body_finished(self) -> None:
        if not self._over:
            self._over = True
            self.result.callback(b"".join(self._pieces))

    def body_failed(self, reason: Failure) -> None:
        if not self._over:
            self._over = True
            self._pieces.clear()
            self.result.errback(reason)

    def _give_up(self) -> None:
        self._over = True
        self._pieces.clear()
        self._stop()


class BodySource(Protocol):
    """Where a :class:`StreamedBody` comes from: its channel."""

    def wanted(self, body: StreamedBody) -> None:
        """:param body: is asked for: the client may send it."""
        ...  # pragma: no cover - a protocol's method has no body to run

    def set_paused(self, paused: bool) -> None:
        """:param paused: stop reading, or go on."""
        ...  # pragma: no cover - as above

    def take(self) -> bytes | None:
        """:return: the body, if all of it waits; nothing of it is taken else."""
        ...  # pragma: no cover - as above


@implementer(IRequestBody, IPushProducer)
class StreamedBody:
    """
    The body of a request on our own channel.

    :param length: in bytes, None for chunks.
    :param source: where it comes from.

    :ivar ended: it has come to its end, or never will.
    """

    __slots__ = (
        "_early_end",
        "_receiver",
        "_source",
        "ended",
        "length",
        "started",
    )

    def __init__(self, length: int | None, source: BodySource) -> None:
        self.length = length
        self.started = False
        self._source = source
        self._receiver: IBodyReceiver | None = None
        self.ended = False
        self._early_end: Failure | None = None

    def collect(self, limit_bytes: int) -> Deferred[bytes]:
        """As :meth:`IRequestBody.collect`."""
        if self.length is not None and self.length > limit_bytes:
            return _failed(BodyTooLarge(limit_bytes))
        collector = _Collector(limit_bytes, self.stopProducing)
        self.deliver(collector)
        return collector.result

    def take_whole(self, limit_bytes: int) -> bytes | None:
        """
        Take the body if all of it has come already, as a short one's has when its head has.

        :param limit_bytes: how long it may be.
        :return: the body; None where :meth:`collect` is to be used.
        """
        if self.started or self._early_end is not None or self.length is None:
            return None
        if self.length > limit_bytes:
            return None
        body = self._source.take()
        if body is not None:
            self.started = self.ended = True
        return body

    def deliver(self, receiver: IBodyReceiver) -> StreamedBody:
        """As :meth:`IRequestBody.deliver`."""
        if self.started:
            raise RuntimeError("a request's body can be read only once")
        self.started = True
        if self._early_end is not None:
            receiver.body_failed(self._early_end)
            return self
        self._receiver = receiver
        self._source.wanted(self)
        return self

    # What the channel tells.

    def piece_received(self, piece: bytes) -> None:
        """:param piece: the body's next bytes; dropped when nobody takes them any more."""
        if self._receiver is not None:
            self._receiver.body_piece(piece)

    def finished(self) -> None:
        """The body is complete."""
        if self.ended:
            return
        self.ended = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.body_finished()

    def failed(self, reason: Failure) -> None:
        """
        The body will not be complete.

        :param reason: why.
        """
        if self.ended:
            return
        self.ended = True
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.body_failed(reason)
        elif not self.started:
            self._early_end = reason

    # IPushProducer

    def pauseProducing(self) -> None:
        """Stop reading from the client."""
        if not self.ended:
            self._source.set_paused(True)

    def resumeProducing(self) -> None:
        """Go on reading from the client."""
        if not self.ended:
            self._source.set_paused(False)

    def stopProducing(self) -> None:
        """Drop what is still to come."""
        self._receiver = None


@implementer(IRequestBody, IPushProducer)
class ReceivedBody:
    """
    The body of a :mod:`twisted.web` request, which is complete when its resource is rendered.

    :param request: the request.
    """

    def __init__(self, request: IRequest) -> None:
        request.content.seek(0)
        self._body: bytes = request.content.read()
        self.length: int | None = len(self._body)
        self.started = False

    def collect(self, limit_bytes: int) -> Deferred[bytes]:
        """As :meth:`IRequestBody.collect`."""
        self._start()
        if len(self._body) > limit_bytes:
            return _failed(BodyTooLarge(limit_bytes))
        result: Deferred[bytes] = Deferred()
        result.callback(self._body)
        return result

    def deliver(self, receiver: IBodyReceiver) -> ReceivedBody:
        """As :meth:`IRequestBody.deliver`."""
        self._start()
        if self._body:
            receiver.body_piece(self._body)
        receiver.body_finished()
        return self

    def _start(self) -> None:
        if self.started:
            raise RuntimeError("a request's body can be read only once")
        self.started = True

    def pauseProducing(self) -> None:
        """Nothing is left to be paused."""

    def resumeProducing(self) -> None:
        """Nothing was paused."""

    def stopProducing(self) -> None:
        """Nothing is left to be stopped."""


def _failed(error: Exception) -> Deferred[bytes]:
    result: Deferred[bytes] = Deferred()
    result.errback(Failure(error))
    return result


registerAdapter(ReceivedBody, IRequest, IRequestBody)
