"""
A client's bytes read as requests, sans-I/O: heads and bodies come out in order, the rest waits.

Pure: imports the grammar, the body decoders and the target of this room only.
"""

from __future__ import annotations

from typing import NamedTuple

from gptproxy.http.bodies import BodyDecoder, decoder_for
from gptproxy.http.grammar import (
    CHUNKED,
    MalformedMessage,
    RequestHead,
    field_values,
    has_stray_octet,
    parse_request_head,
    persists,
    request_framing,
)
from gptproxy.http.target import Target, parse_target

__all__ = ["RequestReader", "RequestStart"]


class RequestStart(NamedTuple):
    """
    What is known when a request's headers are complete.

    :param head: its line and fields.
    :param target: its target.
    :param length: its body's length in bytes; None where it comes in chunks.
    :param persists: the connection goes on after it, as far as the client is concerned.
    :param expects_continue: the client waits for ``100 Continue`` before it sends the body (RFC 9110 10.1.1).
    """

    head: RequestHead
    target: Target
    length: int | None
    persists: bool
    expects_continue: bool


class RequestReader:
    """
    One connection's input.

    :param header_limit_bytes: bound on a request's head.
    """

    __slots__ = ("_buffer", "_decoder", "_empty_line_skipped", "_header_limit", "_searched")

    def __init__(self, header_limit_bytes: int) -> None:
        self._header_limit = header_limit_bytes
        self._buffer = b""
        # Where the next search for the head's end starts: a head that comes byte by byte is searched once.
        self._searched = 0
        self._empty_line_skipped = False
        self._decoder: BodyDecoder | None = None

    @property
    def waiting_bytes(self) -> int:
        """How much has been fed and not been read."""
        return len(self._buffer)

    @property
    def body_finished(self) -> bool:
        """The current request's body has been read to its end; so it is before the first request."""
        return self._decoder is None or self._decoder.finished

    def feed(self, data: bytes) -> None:
        """
        :param data: the connection's next bytes.
        """
        self._buffer = self._buffer + data if self._buffer else data

    def read_head(self) -> RequestStart | None:
        """
        :return: the next request's start, or None until more is fed. To be called when the last body is finished.
        :raise MalformedMessage: what came is no request; nothing more can be read.
        """
        if not self._empty_line_skipped and self._buffer.startswith(b"\r\n"):
            # RFC 9112 2.2: an empty line before the request line is ignored; one, however the bytes arrive.
            self._empty_line_skipped = True
            self._buffer = self._buffer[2:]
        end = self._buffer.find(b"\r\n\r\n", self._searched, self._header_limit)
        if end < 0:
            if has_stray_octet(self._buffer, self._searched, self._header_limit):
                raise MalformedMessage("the request's head does not follow HTTP/1.1's grammar")
            if len(self._buffer) >= self._header_limit:
                raise MalformedMessage("the request's headers are too large", 431)
            self._searched = max(0, len(self._buffer) - 3)
            return None
        head = parse_request_head(self._buffer[: end + 4])
        framing = request_framing(head)
        start = RequestStart(
            head,
            parse_target(head.target),
            None if framing == CHUNKED else framing,
            persists(head.minor_version, head.fields),
            framing != 0
            and head.minor_version == 1
            and b"100-continue" in map(bytes.lower, field_values(head.fields, b"expect")),
        )
        self._buffer = self._buffer[end + 4 :]
        self._searched = 0
        self._empty_line_skipped = False
        self._decoder = decoder_for(framing, trailers=False)
        return start

    def read_body(self) -> list[bytes]:
        """
        :return: the next pieces of the current request's body.
        :raise MalformedMessage: what came is no such body; nothing more can be read.
        """
        decoder = self._decoder
        if decoder is None or decoder.finished or not self._buffer:
            return []
        data, self._buffer = self._buffer, b""
        pieces = decoder.receive(data)
        if decoder.finished:
            self._buffer, decoder.remainder = decoder.remainder, b""
        return pieces

    def clear(self) -> None:
        """Throw away what waits."""
        self._buffer = b""
        self._searched = 0
