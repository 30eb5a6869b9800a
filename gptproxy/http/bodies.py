"""
The decoders of a message's body, sans-I/O: bytes of the connection in, bytes of the body out.

Pure: imports :mod:`gptproxy.http.grammar` only. There is one decoder for each framing of RFC 9112 6.3; all have the
same three members, so neither the server's side nor the client's asks which it has.
"""

from __future__ import annotations

import re
from typing import Protocol

from gptproxy.http.grammar import (
    CHUNKED,
    UNTIL_CLOSE,
    MalformedMessage,
    has_stray_octet,
    parse_fields,
)

__all__ = [
    "MAX_CHUNK_LINE_BYTES",
    "MAX_TRAILER_BYTES",
    "BodyDecoder",
    "ChunkedDecoder",
    "CloseDelimitedDecoder",
    "LengthDecoder",
    "decoder_for",
]

MAX_CHUNK_LINE_BYTES = 256
"""A chunk's size with its extensions. Sizes take 15 digits at most; nobody in this field sends extensions."""

MAX_TRAILER_BYTES = 8192
"""A trailer section; it is read and dropped (RFC 9110 6.5.1 allows that)."""

_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# RFC 9112 7.1, without the "bad whitespace" it tolerates around an extension.
_CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15}+)(?:;%b(?:=(?:%b|%b))?+)*+\r\n" % (_TOKEN, _TOKEN, _QUOTED)
)


class BodyDecoder(Protocol):
    """
    One body's decoder.

    :ivar finished: the body is complete.
    :ivar remainder: what stood behind the body's end: the next message's bytes.
    """

    finished: bool
    remainder: bytes

    def receive(self, data: bytes) -> list[bytes]:
        """
        :param data: the connection's next bytes.
        :return: the body's next bytes, in pieces, none of them empty.
        :raise MalformedMessage: the bytes are no such body.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


class LengthDecoder:
    """
    A body of known length.

    :param length: in bytes.
    """

    __slots__ = ("_left", "finished", "remainder")

    def __init__(self, length: int) -> None:
        self._left = length
        self.finished = length == 0
        self.remainder = b""

    def receive(self, data: bytes) -> list[bytes]:
        """As :meth:`BodyDecoder.receive`; never raises."""
        if len(data) < self._left:
            self._left -= len(data)
            return [data] if data else []
        piece, self.remainder = data[: self._left], self.remainder + data[self._left :]
        self._left = 0
        self.finished = True
        return [piece] if piece else []


class CloseDelimitedDecoder:
    """A body that ends with its connection: it never finishes by itself."""

    __slots__ = ("finished", "remainder")

    def __init__(self) -> None:
        self.finished = False
        self.remainder = b""

    def receive(self, data: bytes) -> list[bytes]:
        """As :meth:`BodyDecoder.receive`; never raises."""
        return [data] if data else []


class ChunkedDecoder:
    """
    A body in chunks (RFC 9112 7.1).

    :param trailers: a trailer section is read and dropped; where False, one is refused: requests have no use for it,
        and it is a place where two parsers may disagree.
    """

    __slots__ = ("_buffer", "_left", "_searched", "_trailers", "finished", "remainder")

    # What is awaited; while above zero, that many bytes of a chunk.
    _SIZE_LINE = 0
    _CHUNK_END = -1
    _TRAILER = -2

    def __init__(self, *, trailers: bool) -> None:
        self._trailers = trailers
        self._buffer = b""
        self._left = self._SIZE_LINE
        # How much of an unfinished trailer has been looked through.
        self._searched = 0
        self.finished = False
        self.remainder = b""

    def receive(self, data: bytes) -> list[bytes]:
        """As :meth:`BodyDecoder.receive`."""
        if self.finished:
            self.remainder += data
            return []
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        pieces: list[bytes] = []
        position = 0
        while position < len(data) and not self.finished:
            if self._left > 0:
                piece = data[position : position + self._left]
                pieces.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._left = self._CHUNK_END
                continue
            taken = self._take_frame(data, position)
            if taken == 0:
                self._buffer = data[position:]
                return pieces
            position += taken
        if self.finished:
            self.remainder = data[position:]
        return pieces

    def _take_frame(self, data: bytes, position: int) -> int:
        """Read what stands between chunks. :return: the bytes taken, 0 where more are needed."""
        if self._left == self._CHUNK_END:
            return self._take_chunk_end(data, position)
        if self._left == self._TRAILER:
            return self._take_trailer(data, position)
        match = _CHUNK_LINE.match(data, position)
        if match is None:
            end = data.find(b"\n", position, position + MAX_CHUNK_LINE_BYTES)
            if end >= 0 or len(data) - position >= MAX_CHUNK_LINE_BYTES:
                raise MalformedMessage("a chunk's size line does not follow HTTP/1.1's grammar")
            return 0
        if match.end() - position > MAX_CHUNK_LINE_BYTES:
            raise MalformedMessage("a chunk's size line is too long")
        self._left = int(match.group(1), 16) or self._TRAILER
        return match.end() - position

    def _take_chunk_end(self, data: bytes, position: int) -> int:
        end = data[position : position + 2]
        if end == b"\r\n":
            self._left = self._SIZE_LINE
            return 2
        if end != b"\r":
            raise MalformedMessage("a chunk does not end where its size says")
        return 0

    def _take_trailer(self, data: bytes, position: int) -> int:
        if data.startswith(b"\r\n", position):
            self.finished = True
            return 2
        if not self._trailers and data[position : position + 2] != b"\r":
            raise MalformedMessage("trailers are not accepted")
        limit = position + MAX_TRAILER_BYTES
        end = data.find(b"\r\n\r\n", position + self._searched, limit)
        if end < 0:
            if has_stray_octet(data, position + self._searched, limit):
                raise MalformedMessage("the trailer does not follow HTTP/1.1's grammar")
            if len(data) - position >= MAX_TRAILER_BYTES:
                raise MalformedMessage("the trailer is too long")
            self._searched = max(0, len(data) - position - 3)
            return 0
        parse_fields(data[position : end + 2])
        self.finished = True
        return end + 4 - position


def decoder_for(framing: int, *, trailers: bool) -> BodyDecoder:
    """
    :param framing: from :func:`~gptproxy.http.grammar.request_framing` or
        :func:`~gptproxy.http.grammar.response_framing`.
    :param trailers: see :class:`ChunkedDecoder`.
    """
    if framing == CHUNKED:
        return ChunkedDecoder(trailers=trailers)
    if framing == UNTIL_CLOSE:
        return CloseDelimitedDecoder()
    return LengthDecoder(framing)
