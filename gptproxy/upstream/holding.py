"""
A live answer held back for as long as it can still be exchanged for another's.

May import the upstream, HTTP, config and wire rooms and Twisted. What an answer says is read by
:mod:`gptproxy.upstream.filtering`; here is how much of it is waited for, and how long. The response itself keeps the
bytes, so nothing is copied into another and back-pressure is its own. From the first content on nothing is read here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.client import ResponseDone

from gptproxy.config import StreamSettings
from gptproxy.http import DeadlineTimer, Fields, Response, is_event_stream
from gptproxy.upstream.call import Call
from gptproxy.upstream.filtering import KINDS, Kind, Sign, is_intercepted, sign_of
from gptproxy.wire import EventStreamReader

__all__ = ["BrokenOff", "Intercepted", "hold"]

_BRACE: Final = b"{"


@frozen
class Intercepted:
    """
    The content filter intercepted before the caller saw any content.

    :param answer: may be relayed as it is where no other upstream does better; who does not relay it has to call its
        ``abandon``.
    """

    answer: Response = field(repr=False)


@frozen
class BrokenOff:
    """
    The answer failed before the caller saw any content.

    :param reason: what happened, for the log; nothing of the caller's or the model's.
    :param retryable: the same upstream may do better in a while. Otherwise only another can: a quota is used up.
    :param answer: where the upstream said an error in words: may be relayed as it is where no other upstream does
        better; who does not relay it has to call its ``abandon``.
    """

    reason: str
    retryable: bool
    answer: Response | None = field(default=None, repr=False)


async def hold(
    call: Call, response: Response, clock: IReactorTime, settings: StreamSettings
) -> Response | Intercepted | BrokenOff:
    """
    Look at an answer for as long as the caller has seen nothing of it.

    :param call: what was asked.
    :param response: what came, its status 2xx.
    :param clock: for the times.
    :param settings: the bounds.
    :return: the same response, if it is to be relayed; its body is all there, byte for byte, and what was read ahead
        comes first. Otherwise what became of it. Cancelling this drops the upstream's connection.
    """
    kind = KINDS.get(call.route)
    if kind is None or call.method != b"POST":
        return response
    end = response.end
    if end is not None and isinstance(end.value, ResponseDone):
        body = response.waiting
        # Nearly every call: the answer has come with its head, and is no stream.
        if body.startswith(_BRACE):
            return Intercepted(response) if is_intercepted(kind, body) else response
    if _is_encoded(response.fields):
        return response
    if is_event_stream(response.fields):
        return await _hold_stream(kind, response, clock, settings)
    if isinstance(response.length, int) and response.length > settings.inspect_bytes:
        return response
    return await _hold_whole(kind, response, clock, settings)


async def _hold_stream(
    kind: Kind, response: Response, clock: IReactorTime, settings: StreamSettings
) -> Response | Intercepted | BrokenOff:
    look = _StreamLook(kind, settings.hold_back_bytes)
    sign = look.see(response.waiting)
    if sign is Sign.NOTHING and response.end is None:
        watch = _Watch(response, clock)
        # Whatever comes: a stream that says nothing all the time is relayed in the end.
        watch.timer.set(settings.hold_back_seconds, watch.give_up)

        def see(piece: bytes) -> bool:
            nonlocal sign
            sign = look.see(piece)
            return sign is not Sign.NOTHING

        await watch.until(see, settings.hold_back_bytes)
    if sign is Sign.FILTERED:
        return Intercepted(response)
    if sign is Sign.FAILED or sign is Sign.EXHAUSTED:
        return BrokenOff("an error event before any content", sign is Sign.FAILED, response)
    return response if sign is Sign.CONTENT else _ended(response)


async def _hold_whole(
    kind: Kind, response: Response, clock: IReactorTime, settings: StreamSettings
) -> Response | Intercepted | BrokenOff:
    if response.end is None:
        room = settings.inspect_bytes - len(response.waiting)
        watch = _Watch(response, clock)
        watch.timer.set(settings.hold_back_seconds, watch.give_up)

        def see(piece: bytes) -> bool:
            nonlocal room
            room -= len(piece)
            watch.timer.put_off(settings.hold_back_seconds)
            return room < 0

        await watch.until(see, room)
        if response.end is None:
            return response
    ended = _ended(response)
    if ended is response and is_intercepted(kind, response.waiting):
        return Intercepted(response)
    return ended


def _ended(response: Response) -> Response | BrokenOff:
    """:return: what becomes of an answer without content: still silent, complete, or cut."""
    end = response.end
    if end is None or isinstance(end.value, ResponseDone):
        return response
    return BrokenOff(f"broke off before any content: {type(end.value).__name__}", True)


def _is_encoded(fields: Fields) -> bool:
    """:return: compressed, though it was asked for as it is: nothing can be read in it."""
    return any(name == b"content-encoding" and value != b"identity" for name, value in fields)


class _StreamLook:
    """
    Reads a stream's events until one says something.

    :param kind: the stream's family.
    :param limit_bytes: how much is read; a longer silence, and a longer line, pass for content.
    """

    def __init__(self, kind: Kind, limit_bytes: int) -> None:
        self._kind = kind
        self._room = limit_bytes
        self._reader = EventStreamReader(limit_bytes)

    def see(self, piece: bytes) -> Sign:
        """
        :param piece: the stream's next bytes.
        :return: the first sign in them that decides.
        """
        for event in self._reader.receive(piece):
            sign = sign_of(self._kind, event)
            if sign is not Sign.NOTHING:
                return sign
        self._room -= len(piece)
        return Sign.CONTENT if self._room <= 0 or self._reader.gave_up else Sign.NOTHING


class _Watch:
    """
    Waits for what comes of an answer that nobody has taken.

    :param response: the answer.
    :param clock: for the timer.

    :ivar timer: ends the waiting.
    """

    def __init__(self, response: Response, clock: IReactorTime) -> None:
        self._response = response
        self._see: Callable[[bytes], bool] | None = None
        self._done: Deferred[None] = Deferred(lambda _: self._drop())
        self.timer = DeadlineTimer(clock)

    def until(self, see: Callable[[bytes], bool], room: int) -> Deferred[None]:
        """
        :param see: looks at a piece; true ends the waiting.
        :param room: how many bytes more are read.
        :return: fires then, at the answer's end, and when the time is over.
        """
        self._see = see
        self._response.read_ahead(room, self._told)
        return self._done

    def give_up(self) -> None:
        """The time is over."""
        self._end()
        self._done.callback(None)

    def _told(self, piece: bytes | None) -> None:
        # What comes after the end of the waiting is held by the response until somebody takes it.
        if self._see is not None and (piece is None or self._see(piece)):
            self.give_up()

    def _end(self) -> None:
        self._see = None
        self.timer.stop()

    def _drop(self) -> None:
        self._end()
        self._response.abandon()
