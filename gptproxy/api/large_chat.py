"""
The few messages of a large chat that decide what is put into it, and where.

May import the knowledge and wire rooms and this room. Imported only where topics are configured.
"""

from __future__ import annotations

from typing import Final

import orjson

from gptproxy.api.json_call import SLICE_BYTES, WHOLE_BYTES
from gptproxy.api.turns import Turns
from gptproxy.knowledge import ChatPlaces, is_operators
from gptproxy.wire import BrokenJSON, ElementScan, Span

__all__ = ["LargeChat", "read_large_chat"]

MAX_LEADING: Final = 256
"""How many messages of the operator's at the chat's beginning are looked at; others' stand behind them then."""

MAX_MESSAGES: Final = 100_000
"""Of a chat of more messages no model reads the last: it is about no topic, and no more turns are spent on it."""


class LargeChat:
    """
    What is kept of a chat while it is passed through.

    :param body: the request's body.
    :param array: where ``messages`` stands in it.

    :ivar messages: those that lead, the first behind them, and the last; None for one too large to be read.
    :ivar spans: where they stand.
    """

    def __init__(self, body: bytes, array: Span) -> None:
        self._body = body
        self._scan = ElementScan(body, array)
        self._leading = True
        self._count = 0
        self._last: Span | None = None
        self.messages: list[object] = []
        self.spans: list[Span] = []

    def step(self) -> bool:
        """
        Go on for a slice.

        :return: whether the chat's end was reached.
        :raise BrokenJSON: ``messages`` is no array, or too long.
        """
        done = self._scan.step(SLICE_BYTES)
        for span in self._scan.found:
            self._last = span
            if self._leading:
                self._keep(span)
                self._leading = is_operators(self.messages[-1])
        self._count += len(self._scan.found)
        self._scan.found.clear()
        if self._count > MAX_MESSAGES:
            raise BrokenJSON("too many messages", 0, 0)
        if done and self._last is not None and self._last != self.spans[-1]:
            self._keep(self._last)
        return done

    def _keep(self, span: Span) -> None:
        beyond = self._leading and len(self.spans) == MAX_LEADING
        read = not beyond and span.end - span.start <= WHOLE_BYTES
        try:
            message = orjson.loads(self._body[span.start : span.end]) if read else None
        except orjson.JSONDecodeError:
            # A number beyond a float's range: the upstream says so.
            message = None
        self.messages.append(message)
        self.spans.append(span)


async def read_large_chat(
    body: bytes, array: Span | None, turns: Turns
) -> tuple[list[object], ChatPlaces] | None:
    """
    :param body: a large chat.
    :param array: where ``messages`` stands in it.
    :param turns: in which it is read.
    :return: its first, leading and last messages, and where they stand; None where it has no list of messages.
    """
    if array is None:
        return None
    chat = LargeChat(body, array)
    try:
        await turns.run(chat.step)
    except BrokenJSON:
        return None
    return chat.messages, ChatPlaces(array, chat.spans)
