"""
The lines of a batch's input file, looked through before the batch is made: each is a call under the organisation's key.

May import the access, HTTP and wire rooms, this room, and Twisted. The file is read from the upstream that keeps it, a
piece at a time: what it says cannot change any more, and it does not matter by which route it was uploaded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from gptproxy.access import Caller
from gptproxy.api.json_call import read_json_call
from gptproxy.api.objects import Objects, kept_apart
from gptproxy.api.turns import Turns
from gptproxy.http import Response
from gptproxy.wire import Refusal

__all__ = ["NOT_SEEN", "BatchReading", "check_batch_file"]

NOT_SEEN: Final = ("input_blob", "output_folder")
"""Azure's members for a file that lies elsewhere, where the organisation's identity may read more than the caller."""

MOST_BYTES: Final = 272_629_760
"""260 MiB: OpenAI takes files of up to 200 MB for batches, Azure's of 200 MiB."""

LINE_BYTES: Final = 67_108_864
"""64 MiB, as much as a call by itself may have by default, and a little."""

A_TURN_BYTES: Final = 65_536
"""Of lines that are read before others have their turn: 1 to 3 ms."""

AT_ONCE_NAMES: Final = 1024
"""Ids that are looked up together."""


class _Pieces(Protocol):
    """
    A body, piece by piece: the next is read when it is asked for.

    :param clock: for the bound on the waiting.
    :param idle_seconds: how long one may take.
    """

    def __init__(self, clock: IReactorTime, idle_seconds: float) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._held: list[bytes] = []
        self._end: Failure | None = None
        self._waiting: Deferred[None] | None = None

    def dataReceived(self, data: bytes) -> None:
        self._held.append(data)
        if self.transport is not None:
            self.transport.pauseProducing()  # type: ignore[attr-defined]  # a body's transport is a push producer
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end = reason
        self._wake()

    async def next(self) -> bytes:
        """:return: what came; nothing at the end."""
        if not self._held and self._end is None:
            self._waiting = Deferred()
            self._waiting.addTimeout(self._idle_seconds, self._clock)
            if self.transport is not None:
                self.transport.resumeProducing()  # type: ignore[attr-defined]  # as above
            await self._waiting
        held, self._held = b"".join(self._held), []
        if not held and self._end is not None and not self._end.check(ResponseDone):
            raise _unread()
        return held

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


@frozen
class BatchReading:
    """
    What a file is read with.

    :param caller: who wants the batch.
    :param objects: knows whose what the lines name is.
    :param keeper: the name of the upstream that has the file, and so must have what they name.
    :param private: which of the names are somebody's own.
    :param turns: in which they are read.
    :param clock: for the bound on the waiting.
    :param idle_seconds: how long nothing may come.
    """

    caller: Caller
    objects: Objects
    keeper: str
    private: Callable[[set[str]], set[str]]
    turns: Turns
    clock: IReactorTime
    idle_seconds: float


async def check_batch_file(response: Response, reading: BatchReading) -> None:
    """
    :param response: the file's content; its body has not been taken.
    :param reading: with what it is read.
    :raise Refusal: 404 where something is not the caller's, 400 where a line cannot be read. The answer is dropped
        then, as when this is cancelled.
    """
    names: set[str] = set()
    number = since_turn = 0
    try:
        async for line in _lines(response, reading):
            number += 1
            since_turn += len(line)
            if since_turn > A_TURN_BYTES:
                since_turn = 0
                await reading.turns.run(lambda: True)
            if line.strip():
                names |= await _names_in(line, number, reading)
            if len(names) >= AT_ONCE_NAMES:
                await _look_up(names, reading)
        await _look_up(names, reading)
    except BaseException:
        response.abandon()
        raise


async def _look_up(names: set[str], reading: BatchReading) -> None:
    if await reading.objects.keeper(reading.caller, names) not in (None, reading.keeper):
        raise kept_apart()
    names.clear()


async def _names_in(line: bytes, number: int, reading: BatchReading) -> set[str]:
    objects = reading.objects
    try:
        call = await read_json_call(line, reading.turns, needs_model=False)
        names = reading.private(await objects.named_in(line, few=False))
        if "body" in call.spans:
            start, end = call.spans["body"]
            inner = await read_json_call(line[start:end], reading.turns, needs_model=False)
            items = await objects.items_in(inner)
            names |= items.named
            await objects.sealed_by(reading.caller, items)
    except Refusal as refusal:
        refusal.message = f"Line {number} of the batch's input file: {refusal.message}"
        raise
    return names


async def _lines(response: Response, reading: BatchReading) -> AsyncIterator[bytes]:
    pieces = _Pieces(reading.clock, reading.idle_seconds)
    response.deliverBody(pieces)
    parts: list[bytes] = []
    size = read = 0
    while True:
        try:
            piece = await pieces.next()
        except defer.TimeoutError:
            raise _unread() from None
        if not piece:
            break
        read += len(piece)
        *ended, rest = piece.split(b"\n")
        for each in ended:
            yield b"".join([*parts, each])
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > LINE_BYTES or read > MOST_BYTES:
            raise Refusal(
                400, "The batch's input file, or a line of it, is too large.", code="invalid_file"
            )
    if size:
        yield b"".join(parts)


def _unread() -> Refusal:
    return Refusal(
        502,
        "The batch's input file cannot be read from the model's server: try again later.",
        error_type="server_error",
        code="upstream_broke_off",
    )
