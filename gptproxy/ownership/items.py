"""
The ids of earlier items that a response's input, or a conversation's new items, bring along.

Pure: imports the wire room only. An item of nothing but an id is a reference, whether it says so or not: its ``type``
may be left out (https://platform.openai.com/docs/api-reference/responses/create, "Item reference"). One that is
written out may bring its id too, and the upstream looks it up.
"""

from __future__ import annotations

from typing import Final

import orjson

from gptproxy.ownership.references import TooManyReferences
from gptproxy.wire import (
    BrokenJSON,
    DuplicateMember,
    ElementScan,
    MemberScan,
    Span,
)

__all__ = ["ITEM_MEMBERS", "ItemScan"]

ITEM_MEMBERS: Final = ("input", "items")
"""The members that hold items: of a response, of a conversation."""

MOST_ITEMS: Final = 16_384
"""Conversations of thousands are sent whole by agents; the models read no longer ones."""

WHOLE_ITEM_BYTES: Final = 262_144
"""An item that is parsed at once."""

_OBJECT: Final = ord("{")
_TOLD: Final = ("id", "type", "role", "encrypted_content")


class ItemScan:
    """
    :param body: a valid JSON text.
    :param array: where the items stand in it; what is no list has none.

    :ivar named: ids of items that stand for what they name; they must be the caller's own.
    :ivar repeated: ids of items that are written out; they must not be somebody else's.
    :ivar sealed: those of them with encrypted content, which the upstream alone can read that made it, in their order.
    """

    def __init__(self, body: bytes, array: Span) -> None:
        self._body = body
        self._scan: ElementScan | None = None
        # Those that are too large to be parsed at once, and where they begin.
        self._large: list[tuple[int, MemberScan]] = []
        self._count = 0
        self.named: set[str] = set()
        self.repeated: set[str] = set()
        self.sealed: list[str] = []
        if body[array.start : array.start + 1] == b"[":
            self._scan = ElementScan(body, array)

    def step(self, max_bytes: int) -> bool:
        """
        Go on.

        :param max_bytes: how far.
        :return: whether the end was reached.
        :raise TooManyReferences: it cannot be told which items are meant.
        """
        scan = self._scan
        if scan is None:
            return True
        try:
            if self._large:
                start, large = self._large[0]
                if large.step(max_bytes):
                    del self._large[0]
                    self._take(self._told(start, large))
                return False
            done = scan.step(max_bytes)
            for start, end in scan.found:
                if end - start <= WHOLE_ITEM_BYTES:
                    self._take(orjson.loads(self._body[start:end]))
                elif self._body[start] == _OBJECT:
                    self._large.append((start, MemberScan(self._body[start:end])))
            self._count += len(scan.found)
            scan.found.clear()
            if self._count > MOST_ITEMS:
                raise TooManyReferences("input")
            return done and not self._large
        except (BrokenJSON, DuplicateMember, orjson.JSONDecodeError) as error:
            raise TooManyReferences("input") from error

    def _told(self, start: int, large: MemberScan) -> dict[str, object]:
        item: dict[str, object] = {}
        for name in _TOLD:
            if name in large.spans:
                first, last = large.spans[name]
                # A long one is text, whatever it says.
                short = last - first <= WHOLE_ITEM_BYTES
                item[name] = orjson.loads(self._body[start + first : start + last]) if short else ""
        return item

    def _take(self, item: object) -> None:
        identity = item.get("id") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(identity, str):
            return
        if item.get("type") is None and item.get("role") is None:
            self.named.add(identity)
        else:
            self.repeated.add(identity)
            if isinstance(item.get("encrypted_content"), str):
                self.sealed.append(identity)
