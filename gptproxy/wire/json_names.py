"""
Members of given names, wherever in a JSON text they stand, found in slices.

Pure: imports this room only. The texts given here have been checked before, at once or in slices, so an unescaped
quotation mark is a string's begin or end. Every occurrence is told, those that a parser would let a later one of the
same name replace among them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import orjson

from gptproxy.wire.json_scan import BrokenJSON

__all__ = ["FoundMember", "NameFinder", "NameScan"]

LONGEST_NAME: Final = 1024
"""In bytes as written; every character of a name of 160 may be written as an escape."""

MOST_SPACE: Final = 65_536
"""Bytes of white space around a colon; beyond it a text is refused, because nobody writes so."""

_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_SPACE: Final = rb"[ \t\n\r]*+"
_NAME = re.compile(
    rb'"((?:[^"\\]|\\.){0,%d}+)"[ \t\n\r]{0,%d}+(?:(:)[ \t\n\r]{0,%d}+)?'
    % (LONGEST_NAME, MOST_SPACE, MOST_SPACE),
    re.DOTALL,
)
_SHORT_STRING = re.compile(rb'"(?:[^"\\]|\\.){0,%d}+"' % LONGEST_NAME, re.DOTALL)
_QUOTE: Final = ord('"')


class FoundMember(NamedTuple):
    """
    :param name: escapes resolved.
    :param start: offset of the name's quotation mark.
    :param value: offset of the value's first byte.
    """

    name: str
    start: int
    value: int


class NameFinder:
    """
    What is looked for, made once.

    :param names: of members that are told whatever their value is.
    :param types: values of members called ``type`` that are told.
    """

    def __init__(self, names: Iterable[str], types: Iterable[str] = ()) -> None:
        self.names = frozenset(names)
        self.types = frozenset(types)
        known = b"|".join(re.escape(name.encode()) for name in sorted(self.names))
        values = b"|".join(re.escape(name.encode()) for name in sorted(self.types))
        typed = rb'|"type"%b(?:\Z|:%b(?:\Z|"(?:(?:%b)"|[^"\\]*+(?:\\|\Z))))' % (
            _SPACE,
            _SPACE,
            values,
        )
        wanted = (
            # Perhaps a name, when the text goes on behind the slice: then it is looked at again.
            rb'"(?:%b)"' % known
            + (typed if self.types else b"")
            + rb'|"[^"\\]*+\\.[^"\\]*+(?:\\.[^"\\]*+)*+"%b(?::|\Z)' % _SPACE
        )
        self.boring = re.compile(
            rb'(?:[^"]++|(?!%b)"[^"\\]*+(?:\\.[^"\\]*+)*+")*+' % wanted, re.DOTALL
        )


class NameScan:
    """
    :param text: a valid JSON text.
    :param finder: what is looked for.

    :ivar found: what was passed so far; whoever has read it may empty it.
    """

    def __init__(self, text: bytes, finder: NameFinder) -> None:
        self._text = text
        self._finder = finder
        self._position = 0
        self._in_string = False
        self.found: list[FoundMember] = []

    def step(self, max_bytes: int) -> bool:
        """
        Go on.

        :param max_bytes: how far, from 1.
        :return: whether the text's end was reached.
        :raise BrokenJSON: there is more white space behind a name than anybody writes.
        """
        text = self._text
        limit = min(self._position + max_bytes, len(text))
        while self._position < limit:
            if self._in_string:
                self._rest_of_string(limit)
                continue
            boring = self._finder.boring.match(text, self._position, limit)
            self._position = boring.end() if boring is not None else self._position
            if self._position < limit:
                self._string()
        return self._position >= len(text)

    def _rest_of_string(self, limit: int) -> None:
        rest = _IN_STRING.match(self._text, self._position, limit)
        position = rest.end() if rest is not None else self._position
        if position < limit and self._text[position] == _QUOTE:
            self._in_string = False
            position += 1
        elif position < limit:
            # An escape that the limit cuts.
            position += 2
        self._position = position

    def _string(self) -> None:
        """Take the string at the position: a name that may be wanted, or one that does not end in the slice."""
        start = self._position
        name = _NAME.match(self._text, start)
        if name is None:
            # Longer than any name that is looked for.
            self._in_string = True
            self._position += 1
            return
        end = name.end()
        if self._text[end : end + 1] in (b" ", b"\t", b"\n", b"\r"):
            raise BrokenJSON("too much white space behind a key", 0, 0)
        self._position = name.end(1) + 1
        if name.group(2) is None:
            return
        self._position = name.end(2)
        raw = name.group(1)
        text = _decoded(b'"%b"' % raw) if b"\\" in raw else raw.decode("utf-8", "replace")
        if text in self._finder.names or (text == "type" and self._is_wanted_type(end)):
            self.found.append(FoundMember(text, start, end))

    def _is_wanted_type(self, value: int) -> bool:
        string = _SHORT_STRING.match(self._text, value)
        return string is not None and _decoded(string.group()) in self._finder.types


def _decoded(string: bytes) -> str:
    text = orjson.loads(string)
    return text if isinstance(text, str) else ""
