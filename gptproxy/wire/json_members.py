"""
Where the members of a JSON text stand in its bytes, and edits that leave every other byte as it was.

Pure: imports this room's skeletons, and nothing of Twisted. The texts given here have been parsed by orjson before (so
they are valid JSON in UTF-8); these functions only find places in them. Time is linear in the text: strings are
skipped by possessive expressions and containers by counting brackets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import accumulate
from operator import indexOf
from typing import NamedTuple

import orjson
from attrs import frozen

from gptproxy.wire.json_skeleton import skeleton_of

__all__ = [
    "DuplicateMember",
    "Edit",
    "NotAnObject",
    "Span",
    "element_spans",
    "end_of_value",
    "member_spans",
    "splice",
]

_SPACE = re.compile(rb"[ \t\n\r]*+")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]++")


def _nested(depth: int) -> bytes:
    """:return: an expression for arrays and objects that hold so many levels of each other at most."""
    within = rb"[^\[\]{}]++" + (b"|" + _nested(depth - 1) if depth else b"")
    return rb"[\[{](?:" + within + rb")*+[\]}]"


# In a skeleton: a member, its value, and what stands behind it, in one match. A value nested more deeply (a chat with
# tools has six levels) does not match and is found by counting. Possessive: each level fails where the one in it does.
_MEMBER = re.compile(
    rb'[ \t\n\r]*+(")[ \t\n\r]*+:[ \t\n\r]*+("|[^\s,\]}\[{"]++|%b)[ \t\n\r]*+([,}])' % _nested(6)
)
_DEEP_MEMBER = re.compile(rb'[ \t\n\r]*+(")[ \t\n\r]*+:[ \t\n\r]*+(?=[\[{])')
# What a byte of a skeleton adds to the depth.
_DEPTHS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]
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


# As Span(*place), without the constructor in Python that a named tuple has.
_span: Callable[[tuple[int, int]], Span] = partial(tuple.__new__, Span)


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
    skeleton, lengths = skeleton_of(text)
    position = 0 if skeleton[:1] == b"{" else _skip_space(skeleton, 0)
    if skeleton[position : position + 1] != b"{":
        raise NotAnObject("the body is not a JSON object")
    spans: dict[str, Span] = {}
    position += 1
    # How many strings have been passed, and how much further than in the skeleton the text is by them.
    strings = shift = 0
    while True:
        member = _MEMBER.match(skeleton, position)
        if member is not None:
            quote, (start, end) = member.start(1), member.span(2)
            position = member.end()
        elif not spans and skeleton[_skip_space(skeleton, position)] in _CLOSING:
            return spans
        else:
            quote, start, end = _deep_member(skeleton, position)
            position = _skip_space(skeleton, end) + 1
        quote += shift + 1
        raw_name = text[quote : quote + lengths[strings]]
        shift += lengths[strings] + 1
        strings += 1
        value_start = start + shift
        if skeleton[start] == _QUOTE:
            shift += lengths[strings] + 1
            strings += 1
        elif within := skeleton.count(b'"', start, end):
            shift += sum(lengths[strings : strings + within]) + within
            strings += within
        name = orjson.loads(b'"%b"' % raw_name) if b"\\" in raw_name else raw_name.decode()
        if name in spans:
            raise DuplicateMember(name)
        spans[name] = _span((value_start, end + shift))
        if skeleton[position - 1] != _COMMA:
            return spans


def _deep_member(skeleton: bytes, position: int) -> tuple[int, int, int]:
    """:return: the places of a member's name, and of its value's start and end."""
    member = _DEEP_MEMBER.match(skeleton, position)
    if member is None:
        raise ValueError("not a valid JSON text")
    # Added up by iterators of C: a text of nothing but brackets would take four times as long in a loop.
    depths = accumulate(map(_DEPTHS.__getitem__, memoryview(skeleton)[member.end() :]))
    return member.start(1), member.end(), member.end() + indexOf(depths, 0) + 1


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
        end = end_of_value(text, position)
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


def end_of_value(text: bytes, start: int) -> int:
    """
    :param text: a valid JSON text, or the beginning of one.
    :param start: offset of a value's first byte.
    :return: the offset behind the value.
    :raise ValueError: the text ends inside of it.
    """
    first = text[start]
    if first == _QUOTE:
        return _match_end(_STRING, text, start)
    if first not in _OPENING:
        return _match_end(_SCALAR, text, start)
    depth = 0
    position = start
    while True:
        position = _match_end(_BORING, text, position)
        if position == len(text) or text[position] == _QUOTE:
            raise ValueError("not a valid JSON text")
        byte = text[position]
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
