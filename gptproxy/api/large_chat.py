"""
The few messages of a large conversation that decide what is put into it, and where.

May import the knowledge and wire rooms and this room. Imported only where topics are configured.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import orjson

from gptproxy.api.json_call import SLICE_BYTES, WHOLE_BYTES
from gptproxy.api.turns import Turns
from gptproxy.knowledge import ChatPlaces, is_operators, is_users
from gptproxy.wire import BrokenJSON, ElementScan, Span

__all__ = ["LargeChat", "read_large_chat"]

MAX_LEADING: Final = 256
"""How many messages of the operator's at the chat's beginning are looked at; others' stand behind them then."""

MAX_BEHIND: Final = 64
"""How many of the last messages are looked through for the user's: so often tools are called between two questions."""

MAX_MESSAGES: Final = 100_000
"""Of a chat of more messages no model reads the last: it is about no topic, and no more turns are spent on it."""


class LargeChat:
    """
    What is kept of a chat while it is passed through.

    :param body: the request's body.
    :param array: where ``messages`` stands in it, or a response's ``input``.

    :ivar messages: those that lead, the first behind them, the user's last and the last; None for one too large to be
        read.
    :ivar spans: where they stand.
    """

    def __init__(self, body: bytes, array: Span) -> None:
        self._body = body
        self._scan = ElementScan(body, array)
        self._leading = True
        self._count = 0
        self._last: deque[Span] = deque(maxlen=MAX_BEHIND)
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
            self._last.append(span)
            if self._leading:
                self._keep(span)
                self._leading = is_operators(self.messages[-1])
        self._count += len(self._scan.found)
        self._scan.found.clear()
        if self._count > MAX_MESSAGES:
            raise BrokenJSON("too many messages", 0, 0)
        if done and self._last and self._last[-1] != self.spans[-1]:
            self._keep_last()
        return done

    def _keep(self, span: Span) -> None:
        beyond = self._leading and len(self.spans) == MAX_LEADING
        self.messages.append(None if beyond else self._read(span))
        self.spans.append(span)

    def _keep_last(self) -> None:
        """The last message; and the user's last, as far as it can be found by reading little."""
        last = self._last.pop()
        messages, spans = [self._read(last)], [last]
        room = WHOLE_BYTES
        while self._last and not is_users(messages[0]):
            span = self._last.pop()
            room -= span.end - span.start
            if span == self.spans[-1] or room < 0:
                break
            message = self._read(span)
            if is_users(message):
                messages.insert(0, message)
                spans.insert(0, span)
        self.messages += messages
        self.spans += spans

    def _read(self, span: Span) -> object:
        if span.end - span.start > WHOLE_BYTES:
            return None
        try:
            return orjson.loads(self._body[span.start : span.end])
        except orjson.JSONDecodeError:
            # A number beyond a float's range: the upstream says so.
            return None


async def read_large_chat(
    body: bytes, array: Span | None, turns: Turns
) -> tuple[list[object], ChatPlaces] | None:
    """
    :param body: a large chat.
    :param array: where ``messages`` stands in it, or a response's ``input``.
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
