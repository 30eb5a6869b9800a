"""
Where the members or elements of a JSON text of any size stand, found in slices.

Pure: imports this room only.
"""

from __future__ import annotations

from typing import Final

import orjson

from gptproxy.wire.json_members import DuplicateMember, NotAnObject, Span
from gptproxy.wire.json_scan import Scan, Wrong

__all__ = ["ElementScan", "MemberScan"]

MAX_MEMBERS: Final = 4096
"""Each costs some hundred bytes of ours for as little as five of the caller's. No route has a hundredth of them."""

_BEGIN_OF_VALUE: Final = b'"[-0123456789tfn'


class MemberScan(Scan):
    """
    Check a text that has to be an object, and find its members.

    :param text: any bytes.

    :ivar spans: name (escapes resolved) to the place of its value, for those passed already.
    """

    def __init__(self, text: bytes) -> None:
        super().__init__(text, Span(0, len(text)))
        self.spans: dict[str, Span] = {}
        self._name = ""

    def _check_root(self, byte: int) -> None:
        if byte in _BEGIN_OF_VALUE:
            raise NotAnObject("the body is not a JSON object")
        if byte != ord("{"):
            raise Wrong("unexpected character, expected a JSON value")

    def _name_ended(self, start: int, end: int) -> None:
        self._decode()
        self._name = orjson.loads(self._text[start:end])
        if self._name in self.spans:
            raise DuplicateMember(self._name)
        if len(self.spans) == MAX_MEMBERS:
            raise Wrong(f"more than {MAX_MEMBERS} keys at the top level")

    def _value_ended(self, span: Span) -> None:
        self.spans[self._name] = span


class ElementScan(Scan):
    """
    Find the elements of an array.

    :param text: the text.
    :param array: the array's place in it, from :class:`MemberScan`.

    :ivar found: the elements passed so far, in order; whoever has read them may empty it.
    """

    def __init__(self, text: bytes, array: Span) -> None:
        super().__init__(text, array)
        self.found: list[Span] = []

    def _check_root(self, byte: int) -> None:
        if byte != ord("["):
            raise Wrong("unexpected character, expected an array")

    def _name_ended(self, start: int, end: int) -> None:
        """The top level has no names."""

    def _value_ended(self, span: Span) -> None:
        self.found.append(span)
