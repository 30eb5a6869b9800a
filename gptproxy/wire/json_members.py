"""
Where the members of a JSON text stand in its bytes, and edits that leave every other byte as it was.

Pure: imports nothing of gptproxy and nothing of Twisted. The texts given here have been parsed by orjson before (so
they are valid JSON in UTF-8); these functions only find places in them. Time is linear in the text: strings are
skipped by possessive expressions and containers by counting brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

import orjson
from attrs import frozen

__all__ = [
    "DuplicateMember",
    "Edit",
    "NotAnObject",
    "Span",
    "element_spans",
    "member_spans",
    "splice",
]

_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]++")
# A member up to its value's end; where the value is an array or an object, up to its start.
_MEMBER = re.compile(
    rb'[ \t\n\r]*+("[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\n\r]*+:[ \t\n\r]*+'
    rb'(?:("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s,\]}\[{"]++)|(?=[\[{]))',
    re.DOTALL,
)
# Whatever opens and closes nothing, strings included.
_BORING = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)

_OPENING = b"[{"
_CLOSING = b"]}"
_QUOTE = ord('"')
_COMMA = ord(",")


class NotAnObject(ValueError):
    """The text is valid JSON, but its top level is not an object."""


class DuplicateMember(ValueError):
    """
    A name occurs twice at the top level, so two parsers may read two different requests.

    :ivar name: the name that occurs twice.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the member {name!r} occurs twice")
        self.name = name


class Span(NamedTuple):
    """
    A value's place: ``text[start:end]``.

    :param start: offset of the value's first byte.
    :param end: offset behind its last byte.
    """

    start: int
    end: int


@frozen
class Edit:
    """
    One replacement: ``text[start:end]`` becomes ``replacement``; an insertion has ``start == end``.
    """

    start: int
    end: int
    replacement: bytes


def member_spans(text: bytes) -> dict[str, Span]:
    """
    Find the values of the top-level object's members.

    :param text: a valid JSON text.
    :return: name (escapes resolved) to the place of its value.
    :raise NotAnObject: the top level is no object.
    :raise DuplicateMember: a name occurs twice. RFC 8259 section 4 leaves its meaning open.
    """
    position = _skip_space(text, 0)
    if text[position : position + 1] != b"{":
        raise NotAnObject("the body is not a JSON object")
    spans: dict[str, Span] = {}
    position = _skip_space(text, position + 1)
    if text[position : position + 1] == b"}":
        return spans
    while True:
        member = _MEMBER.match(text, position)
        if member is None:
            raise ValueError("not a valid JSON text")
        raw_name = member.group(1)
        name: str = orjson.loads(raw_name) if b"\\" in raw_name else raw_name[1:-1].decode()
        if name in spans:
            raise DuplicateMember(name)
        start, end = member.span(2)
        if start < 0:
            # An array or an object: its end is found by counting.
            start = member.end()
            end = _end_of_value(text, start)
        spans[name] = Span(start, end)
        position = _skip_space(text, end)
        if text[position] != _COMMA:
            return spans
        position += 1


def element_spans(text: bytes, array: Span) -> list[Span]:
    """
    Find the elements of an array.

    :param text: a valid JSON text.
    :param array: the place of an array in it, from :func:`member_spans`.
    :return: the places of its elements, in order.
    """
    spans: list[Span] = []
    position = _skip_space(text, array.start + 1)
    if text[position] in _CLOSING:
        return spans
    while True:
        end = _end_of_value(text, position)
        spans.append(Span(position, end))
        position = _skip_space(text, end)
        if text[position] != _COMMA:
            return spans
        position = _skip_space(text, position + 1)


def splice(text: bytes, edits: Iterable[Edit]) -> bytes:
    """
    Apply edits; every byte outside of them stays as it is.

    :param text: the bytes to edit.
    :param edits: replacements that do not overlap, in any order; of two insertions at one
        place the first given comes first, and both come before a replacement that starts there.
    :return: the edited bytes.
    :raise ValueError: edits overlap, or one ends before its start.
    """
    pieces: list[bytes] = []
    position = 0
    for edit in sorted(edits, key=lambda edit: (edit.start, edit.end)):
        if edit.start < position or edit.end < edit.start:
            raise ValueError("edits overlap")
        pieces.append(text[position : edit.start])
        pieces.append(edit.replacement)
        position = edit.end
    pieces.append(text[position:])
    return b"".join(pieces)


def _end_of_value(text: bytes, start: int) -> int:
    """:return: the offset behind the value that starts at ``start``."""
    first = text[start]
    if first == _QUOTE:
        return _match_end(_STRING, text, start)
    if first not in _OPENING:
        return _match_end(_SCALAR, text, start)
    depth = 0
    position = start
    while True:
        position = _match_end(_BORING, text, position)
        byte = text[position]
        if byte == _QUOTE:
            raise ValueError("not a valid JSON text")
        position += 1
        depth += 1 if byte in _OPENING else -1
        if depth == 0:
            return position


def _skip_space(text: bytes, position: int) -> int:
    return _match_end(_SPACE, text, position)


def _match_end(expression: re.Pattern[bytes], text: bytes, position: int) -> int:
    match = expression.match(text, position)
    if match is None:
        raise ValueError("not a valid JSON text")
    return match.end()
