"""
The items that a stream tells as it passes: they become their caller's, who may name them in the next call.

May import the HTTP room and this room. The bytes are looked at, not held up: an item is known to be
somebody's a moment after its caller has read of it, and until then it is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from gptproxy.api.creation import Found
from gptproxy.api.passing import PassedResponse
from gptproxy.http import Response

__all__ = ["HeardItems", "heard"]

_ADDED: Final = b'"response.output_item.added"'
"""The type of the event that tells a new item first. A quote inside a text has a backslash before it."""

MOST_BYTES: Final = 65_536
"""Of a line that is waited for: reasoning that is encrypted has some KiB, and what is made is told by later events."""


class HeardItems:
    """
    :param tell: is given ids and kinds.
    """

    def __init__(self, tell: Callable[[Found], None]) -> None:
        self._tell = tell
        self._rest = b""

    def receive(self, piece: bytes) -> bytes:
        """
        :param piece: the stream's next bytes.
        :return: the same.
        """
        text = self._rest + piece if self._rest else piece
        last = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        self._rest = text[last:] if len(text) - last <= MOST_BYTES else b""
        found: Found = []
        place = text.find(_ADDED, 0, last)
        while place >= 0:
            begin = max(text.rfind(b"\n", 0, place), text.rfind(b"\r", 0, place)) + 1
            end = last
            for line_end in (b"\n", b"\r"):
                found_at = text.find(line_end, place, end)
                end = found_at if found_at >= 0 else end
            found += _items(text[begin:end])
            place = text.find(_ADDED, end, last)
        if found:
            self._tell(found)
        return piece

    def finish(self) -> bytes:
        """:return: nothing: what was not a whole line tells no item."""
        return b""


def _items(line: bytes) -> Found:
    try:
        content = orjson.loads(line.removeprefix(b"data:"))
    except orjson.JSONDecodeError:
        return []
    item = content.get("item") if isinstance(content, dict) else None
    if not isinstance(item, dict):
        return []
    told = (item.get("id"), "item"), (item.get("container_id"), "container")
    return [(each, kind) for each, kind in told if isinstance(each, str) and each]


def heard(response: Response, tell: Callable[[Found], None]) -> Response:
    """
    :param response: a stream of events; its body has not been taken.
    :param tell: is given the ids and kinds of the items in it, as they pass.
    :return: the same stream.
    """
    return PassedResponse(response, HeardItems(tell), response.length)
