"""
JSON texts of any size checked in slices: a step costs what a slice costs, wherever it stops.

Pure: imports this room only. The whole grammar of RFC 8259 is checked, as orjson checks it, except that a number may
exceed what a float holds. Members and elements of few levels are taken in runs by one expression; what remains goes
token by token, and within a long string the next step goes on where the last one stopped.
"""

from __future__ import annotations

import re
from codecs import utf_8_decode
from enum import Enum, auto
from typing import Final

from gptproxy.wire.json_grammar import (
    CHARACTERS,
    ESCAPE,
    RUN_LEVELS,
    SCALAR,
    SPACE,
    run_of,
)
from gptproxy.wire.json_members import Span

__all__ = ["BrokenJSON", "Scan", "Wrong"]

MAX_DEPTH: Final = 1024
"""orjson's bound, so that a body's size does not decide whether it is JSON."""

MAX_NAME_BYTES: Final = 4096
"""A name at the top level is decoded at once, and kept."""

_BYTES_A_TOKEN: Final = 64
"""A step of n bytes takes n/64 tokens at most, so a slice of nothing but brackets does not cost ten times another's."""

_QUOTE: Final = ord('"')
_BACKSLASH: Final = ord("\\")
_OPENING: Final = {ord("["): ord("]"), ord("{"): ord("}")}
_END_OF_OBJECT: Final = ord("}")


class BrokenJSON(ValueError):
    """
    The text is not JSON in UTF-8.

    :ivar reason: what is wrong, in orjson's words where it has them.
    :ivar line: where, from 1.
    :ivar column: in characters, from 1.
    """

    def __init__(self, reason: str, line: int, column: int) -> None:
        super().__init__(f"{reason}: line {line} column {column}")
        self.reason = reason
        self.line = line
        self.column = column


class Wrong(Exception):
    """What is wrong at the scan's position."""


class _Await(Enum):
    """What has to come."""

    ROOT = auto()
    FIRST_NAME = auto()
    NAME = auto()
    REST_OF_NAME = auto()
    COLON = auto()
    FIRST_ELEMENT = auto()
    VALUE = auto()
    REST_OF_STRING = auto()
    COMMA = auto()
    END = auto()


class Scan:
    """
    One array or object; what its top level must be, and what is kept of it, is said by those that derive from this.

    :param text: the text.
    :param whole: the place in it that is scanned.
    """

    def __init__(self, text: bytes, whole: Span) -> None:
        self._text = text
        self._position, self._end = whole
        self._await = _Await.ROOT
        self._closing = bytearray()
        self._start = 0  # of the name or value at the top level
        # UTF-8 has been checked up to here, which is so many lines and characters of the last one.
        self._decoded = self._position
        self._lines = self._columns = 0

    def step(self, max_bytes: int) -> bool:
        """
        Go on.

        :param max_bytes: how far, from 1; a token that is not a string may be taken beyond it, 4 KiB at most.
        :return: whether the text's end was reached.
        :raise BrokenJSON: the text is no JSON, or is beyond a bound of this module.
        :raise NotAnObject: the top level is no object where one is wanted.
        :raise DuplicateMember: a name occurs twice at the top level.
        """
        if self._position < self._end:
            limit = min(self._position + max_bytes, self._end)
            try:
                self._advance(limit, max_bytes // _BYTES_A_TOKEN + 1)
            except Wrong as wrong:
                self._decode()
                raise self._broken(str(wrong)) from None
            self._decode()
        if self._position < self._end:
            return False
        if self._await is not _Await.END:
            raise self._broken("unexpected end of data")
        return True

    def _advance(self, limit: int, tokens: int) -> None:
        while tokens and self._position < limit:
            tokens -= 1
            if self._await in _INSIDE_A_STRING:
                self._rest_of_string(limit)
                continue
            self._match(SPACE, limit)
            if self._position < limit:
                self._token(self._text[self._position], limit)

    def _token(self, byte: int, limit: int) -> None:
        """Take one token or a run of values; the position is at its first byte, which is no space."""
        awaited = self._await
        if awaited is _Await.COMMA:
            if byte == self._closing[-1]:
                self._close()
            elif byte == ord(","):
                self._position += 1
                in_object = self._closing[-1] == _END_OF_OBJECT
                self._await = _Await.NAME if in_object else _Await.VALUE
                self._run(limit)
            else:
                raise Wrong(f"unexpected character, expected ',' or '{chr(self._closing[-1])}'")
        elif awaited is _Await.COLON:
            if byte != ord(":"):
                raise Wrong("unexpected character, expected ':' after key")
            self._position += 1
            self._await = _Await.VALUE
        elif awaited is _Await.FIRST_ELEMENT and byte == ord("]"):
            self._close()
        elif awaited in (_Await.FIRST_ELEMENT, _Await.VALUE):
            self._value(byte, limit)
        elif awaited is _Await.FIRST_NAME and byte == _END_OF_OBJECT:
            self._close()
        elif awaited in (_Await.FIRST_NAME, _Await.NAME):
            if byte != _QUOTE:
                raise Wrong(self._unexpected(byte, "a string key"))
            self._begin(_Await.REST_OF_NAME)
        elif awaited is _Await.ROOT:
            self._check_root(byte)
            self._open(byte, limit)
        else:
            raise Wrong("unexpected content after document")

    def _value(self, byte: int, limit: int) -> None:
        if byte == _QUOTE:
            self._begin(_Await.REST_OF_STRING)
        elif byte in _OPENING:
            if len(self._closing) == MAX_DEPTH:
                raise Wrong("depth limit exceeded")
            self._note_start()
            self._open(byte, limit)
        else:
            self._note_start()
            if not self._match(SCALAR, self._end):
                raise Wrong(self._unexpected(byte, "a JSON value"))
            self._ended()

    def _unexpected(self, byte: int, expected: str) -> str:
        in_object = self._closing[-1] == _END_OF_OBJECT
        behind_comma = self._await is (_Await.NAME if in_object else _Await.VALUE)
        if behind_comma and byte == self._closing[-1]:
            return "trailing comma is not allowed"
        return f"unexpected character, expected {expected}"

    def _begin(self, awaited: _Await) -> None:
        self._note_start()
        self._position += 1
        self._await = awaited

    def _note_start(self) -> None:
        if len(self._closing) == 1:
            self._start = self._position

    def _rest_of_string(self, limit: int) -> None:
        self._match(CHARACTERS, limit)
        is_name = self._await is _Await.REST_OF_NAME
        if is_name and len(self._closing) == 1 and self._position - self._start > MAX_NAME_BYTES:
            raise Wrong(f"a key of more than {MAX_NAME_BYTES} bytes")
        if self._position == limit:
            return
        byte = self._text[self._position]
        if byte == _BACKSLASH:
            # Cut by the limit, or wrong: the text goes on, and an escape is short.
            if not self._match(ESCAPE, self._end):
                raise Wrong("invalid escaped sequence in string")
        elif byte != _QUOTE:
            raise Wrong("unexpected control character in string")
        else:
            self._position += 1
            if not is_name:
                self._ended()
                return
            self._await = _Await.COLON
            if len(self._closing) == 1:
                self._name_ended(self._start, self._position)

    def _open(self, byte: int, limit: int) -> None:
        self._closing.append(_OPENING[byte])
        self._position += 1
        self._await = _Await.FIRST_NAME if byte == ord("{") else _Await.FIRST_ELEMENT
        self._run(limit)

    def _run(self, limit: int) -> None:
        """Take members or elements of few levels at once; the position is behind a comma or an opening bracket."""
        if len(self._closing) == 1 or len(self._closing) > MAX_DEPTH - RUN_LEVELS:
            return
        self._match(SPACE, limit)
        in_object = self._closing[-1] == _END_OF_OBJECT
        run = run_of(in_object).match(self._text, self._position, limit)
        if run is None or run.end() == self._position:
            return
        self._position = run.end()
        if run.lastindex:
            self._await = _Await.COMMA
        else:
            self._await = _Await.NAME if in_object else _Await.VALUE

    def _close(self) -> None:
        self._closing.pop()
        self._position += 1
        if self._closing:
            self._ended()
        else:
            self._await = _Await.END

    def _ended(self) -> None:
        """A value ends at the position."""
        self._await = _Await.COMMA
        if len(self._closing) == 1:
            self._value_ended(Span(self._start, self._position))

    def _match(self, expression: re.Pattern[bytes], limit: int) -> bool:
        match = expression.match(self._text, self._position, limit)
        if match is None:
            return False
        self._position = match.end()
        return True

    def _decode(self) -> None:
        """Check the UTF-8 up to the position, and count lines and columns."""
        piece = self._text[self._decoded : self._position]
        try:
            self._count(*utf_8_decode(piece, "strict", self._position == self._end))
        except UnicodeDecodeError as error:
            self._count(*utf_8_decode(piece[: error.start], "strict", True))
            raise self._broken("str is not valid UTF-8") from None

    def _count(self, characters: str, size: int) -> None:
        self._decoded += size
        self._lines += characters.count("\n")
        newline = characters.rfind("\n")
        self._columns = len(characters) - newline - 1 + (self._columns if newline < 0 else 0)

    def _broken(self, reason: str) -> BrokenJSON:
        return BrokenJSON(reason, self._lines + 1, self._columns + 1)

    def _check_root(self, byte: int) -> None:
        raise NotImplementedError  # pragma: no cover - said by those that derive from this

    def _name_ended(self, start: int, end: int) -> None:
        raise NotImplementedError  # pragma: no cover - said by those that derive from this

    def _value_ended(self, span: Span) -> None:
        raise NotImplementedError  # pragma: no cover - said by those that derive from this


_INSIDE_A_STRING: Final = frozenset({_Await.REST_OF_NAME, _Await.REST_OF_STRING})
