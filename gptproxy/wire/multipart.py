"""
A ``multipart/form-data`` body (RFC 7578) read as it comes: its parts' names and places, and the values of small fields.

Pure: imports nothing of gptproxy and nothing of Twisted. One grammar, the strictest that clients keep to: nothing
before the first delimiter, nothing behind the last, CRLF everywhere, one Content-Disposition a part, bounded heads. A
body that another reader might take apart differently is refused. Time is linear in the body, whatever the pieces.
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

__all__ = ["BrokenForm", "FormPart", "FormScan", "boundary_of"]

MAX_PARTS: Final = 1024
"""No route's form has a tenth of them; each costs us some hundred bytes."""

MAX_HEAD_BYTES: Final = 8192
"""Of one part: a disposition with a file's name of 255 characters in percent-encoding has a tenth."""

MAX_VALUE_BYTES: Final = 65_536
"""Of a field that is kept; prompts are the longest, 32,000 characters. What is longer must be no JSON."""

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED: Final = rb'"(?:[^"\\\r\n\x00]|\\["\\])*+"'
_TYPE = re.compile(rb"multipart/form-data[ \t]*+((?:;[ \t]*+[^;]++)++)", re.IGNORECASE)
_PARAMETER = re.compile(rb";[ \t]*+(%b)=(%b|%b)[ \t]*+" % (_TOKEN, _TOKEN, _QUOTED), re.IGNORECASE)
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_FIELD = re.compile(rb"(%b):[ \t]*+([^\r\n\x00]*+)\r\n" % _TOKEN)
_DISPOSITION = re.compile(
    rb"form-data((?:[ \t]*+;[ \t]*+%b=(?:%b|%b))*+)[ \t]*+" % (_TOKEN, _TOKEN, _QUOTED),
    re.IGNORECASE,
)
_PLAIN_CODINGS: Final = (b"7bit", b"8bit", b"binary")


class BrokenForm(ValueError):
    """The body is no form as this module's grammar has it; says what is wrong."""


@frozen
class FormPart:
    """
    :param name: the field's.
    :param is_file: it has a file's name, so its value is a file's content.
    :param start: offset of the value's first byte in the body.
    :param end: offset behind its last byte.
    :param value: what it says; None for a file, or where it is longer than :data:`MAX_VALUE_BYTES`.
    """

    name: str
    is_file: bool
    start: int
    end: int
    value: bytes | None


def boundary_of(content_type: bytes) -> bytes:
    """
    :param content_type: the field's value.
    :return: the boundary, of a form's type; empty for every other.
    :raise BrokenForm: it is a form's type that two readers may read differently.
    """
    if not content_type[:19].lower().startswith(b"multipart/form-data"):
        return b""
    whole = _TYPE.fullmatch(content_type)
    found: list[bytes] = []
    position = whole.start(1) if whole is not None else 0
    while whole is not None and position < len(content_type):
        parameter = _PARAMETER.match(content_type, position)
        if parameter is None:
            break
        position = parameter.end()
        if parameter.group(1).lower() == b"boundary":
            found.append(_unquoted(parameter.group(2)))
    if position < len(content_type) or len(found) != 1 or not _BOUNDARY.fullmatch(found[0]):
        raise BrokenForm("the Content-Type has no boundary as RFC 2046 defines it")
    return found[0]


class FormScan:
    """
    :param boundary: from :func:`boundary_of`.

    :ivar parts: those that are complete; whoever has read them may empty it.
    :ivar ended: the last delimiter has come.
    """

    def __init__(self, boundary: bytes) -> None:
        self._dashed = b"--" + boundary
        self._delimiter = b"\r\n" + self._dashed
        # As if a line had ended before the body, so that the first delimiter is as the others.
        self._buffer = bytearray(b"\r\n")
        self._offset = -2  # of the buffer's first byte, in the body
        self._count = 0
        self._searched = 0  # in the buffer: no delimiter begins before
        self._open: tuple[str, bool, int] | None = None
        self._begun = False
        self._in_head = False
        self._value = bytearray()
        self._kept = False
        self.parts: list[FormPart] = []
        self.ended = False

    def feed(self, piece: bytes) -> None:
        """
        :param piece: the body's next bytes, some tens of KiB at most where the loop waits.
        :raise BrokenForm: the body breaks the grammar.
        """
        self._buffer += piece
        while self._advance():
            pass

    def finish(self) -> None:
        """
        The body has ended.

        :raise BrokenForm: the form has not.
        """
        if not self.ended or bytes(self._buffer) not in (b"", b"\r\n"):
            raise BrokenForm("the form has no end, or something behind it")

    def _advance(self) -> bool:
        """:return: whether there may be more to do without more bytes."""
        if self.ended:
            if len(self._buffer) > 2 or not b"\r\n".startswith(self._buffer):
                raise BrokenForm("something stands behind the form's end")
            return False
        if self._in_head:
            return self._head()
        if not self._begun and not self._buffer.startswith(self._delimiter[: len(self._buffer)]):
            raise BrokenForm("the body does not begin with the boundary")
        return self._body()

    def _body(self) -> bool:
        buffer, delimiter = self._buffer, self._delimiter
        place = buffer.find(self._dashed, self._searched) - 2
        if place == -3:
            # What may be a delimiter's beginning stays.
            free = max(0, len(buffer) - len(delimiter) + 1)
            self._pass(free)
            self._searched = 0
            return False
        if place < 0 or not buffer.startswith(delimiter, place):
            # Readers that take a bare LF for a line's end, or a head's own end for one, would see another part here.
            raise BrokenForm("the boundary stands inside a part")
        behind = place + len(delimiter)
        if len(buffer) < behind + 2:
            self._searched = place
            return False
        after = bytes(buffer[behind : behind + 2])
        if after not in (b"\r\n", b"--"):
            # RFC 2046 5.1.1 lets a line go on behind a boundary; no client does that, readers disagree about it.
            raise BrokenForm("a line begins with the boundary and is no delimiter")
        self._pass(place)
        self._close()
        del buffer[: len(delimiter) + 2]
        self._offset += len(delimiter) + 2
        self._searched = 0
        self._begun = True
        self.ended = after == b"--"
        self._in_head = not self.ended
        return True

    def _pass(self, size: int) -> None:
        """Take bytes of a value."""
        if self._open is not None and self._kept and size:
            self._value += self._buffer[:size]
            if len(self._value) > MAX_VALUE_BYTES:
                if bytes(self._value.lstrip()[:1]) in (b"", b"{", b"["):
                    # It may name something, and nobody would see it.
                    raise BrokenForm("a field that may be JSON is too long")
                self._kept = False
                self._value.clear()
        if self._begun:
            del self._buffer[:size]
            self._offset += size

    def _close(self) -> None:
        if self._open is None:
            return
        name, is_file, start = self._open
        value = bytes(self._value) if self._kept else None
        self.parts.append(FormPart(name, is_file, start, self._offset, value))
        self._open = None
        self._value.clear()

    def _head(self) -> bool:
        if self._buffer.startswith(b"\r\n"):
            raise BrokenForm("a part has no Content-Disposition")
        end = self._buffer.find(b"\r\n\r\n", self._searched, MAX_HEAD_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD_BYTES:
                raise BrokenForm("a part's head is too long")
            self._searched = max(0, len(self._buffer) - 3)
            return False
        if self._count == MAX_PARTS:
            raise BrokenForm("the form has too many parts")
        self._count += 1
        name, is_file = _part_name(bytes(self._buffer[: end + 2]))
        del self._buffer[: end + 4]
        self._offset += end + 4
        self._searched = 0
        self._open = (name, is_file, self._offset)
        self._kept = not is_file
        self._in_head = False
        return True


def _part_name(head: bytes) -> tuple[str, bool]:
    """:return: a part's name, and whether it has a file's."""
    position = 0
    dispositions: list[bytes] = []
    while position < len(head):
        field = _FIELD.match(head, position)
        if field is None:
            raise BrokenForm("a part's head is malformed")
        position = field.end()
        name, value = field.group(1).lower(), field.group(2).strip(b" \t")
        if name == b"content-disposition":
            dispositions.append(value)
        elif name == b"content-transfer-encoding" and value.lower() not in _PLAIN_CODINGS:
            raise BrokenForm("a part's content is encoded")
    whole = _DISPOSITION.fullmatch(dispositions[0]) if len(dispositions) == 1 else None
    if whole is None:
        raise BrokenForm("a part has no Content-Disposition: form-data, or two")
    parameters: dict[bytes, bytes] = {}
    position = 0
    text = whole.group(1).strip(b" \t")
    while position < len(text):
        parameter = _PARAMETER.match(text, position)
        if parameter is None or parameter.group(1).lower() in parameters:
            raise BrokenForm("a part's Content-Disposition is malformed")
        position = parameter.end()
        parameters[parameter.group(1).lower()] = _unquoted(parameter.group(2))
    if b"name" not in parameters or b"name*" in parameters:
        raise BrokenForm("a part has no name")
    try:
        name_text = parameters[b"name"].decode()
    except UnicodeDecodeError:
        raise BrokenForm("a part's name is not UTF-8") from None
    return name_text, bool(parameters.get(b"filename") or parameters.get(b"filename*"))


def _unquoted(value: bytes) -> bytes:
    if not value.startswith(b'"'):
        return value
    return re.sub(rb'\\(["\\])', rb"\1", value[1:-1])
