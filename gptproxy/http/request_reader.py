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
    has_stray_octet,
    persists,
    read_request,
)
from gptproxy.http.target import Target, parse_target

__all__ = ["RequestReader", "RequestStart"]


_CR = ord("\r")


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

    :ivar waiting: what has been fed and not been read.
    """

    __slots__ = (
        "_decoder",
        "_empty_line_skipped",
        "_framing",
        "_header_limit",
        "_searched",
        "waiting",
    )

    def __init__(self, header_limit_bytes: int) -> None:
        self._header_limit = header_limit_bytes
        self.waiting = b""
        # Where the next search for the head's end starts: a head that comes byte by byte is searched once.
        self._searched = 0
        self._empty_line_skipped = False
        # Of the current body: how it ends, and what reads it as soon as anything does; 0 and None when it is read.
        self._framing = 0
        self._decoder: BodyDecoder | None = None

    @property
    def waiting_bytes(self) -> int:
        """How much that is."""
        return len(self.waiting)

    @property
    def body_finished(self) -> bool:
        """The current request's body has been read to its end; so it is before the first request."""
        return not self._framing

    def feed(self, data: bytes) -> None:
        """
        :param data: the connection's next bytes.
        """
        self.waiting = self.waiting + data if self.waiting else data

    def read_head(self) -> RequestStart | None:
        """
        :return: the next request's start, or None until more is fed. To be called when the last body is finished.
        :raise MalformedMessage: what came is no request; nothing more can be read.
        """
        if not self.waiting:
            return None
        if self.waiting[0] == _CR and not self._empty_line_skipped and self.waiting[:2] == b"\r\n":
            # RFC 9112 2.2: an empty line before the request line is ignored; one, however the bytes arrive.
            self._empty_line_skipped = True
            self.waiting = self.waiting[2:]
        end = self.waiting.find(b"\r\n\r\n", self._searched, self._header_limit)
        if end < 0:
            if has_stray_octet(self.waiting, self._searched, self._header_limit):
                raise MalformedMessage("the request's head does not follow HTTP/1.1's grammar")
            if len(self.waiting) >= self._header_limit:
                raise MalformedMessage("the request's headers are too large", 431)
            self._searched = max(0, len(self.waiting) - 3)
            return None
        head, told, options, waits = read_request(self.waiting[:end].split(b"\r\n"))
        framing = told or 0
        start = RequestStart(
            head,
            parse_target(head.target),
            None if framing == CHUNKED else framing,
            persists(head.minor_version, options),
            framing != 0 and waits,
        )
        self.waiting = self.waiting[end + 4 :]
        self._searched = 0
        self._empty_line_skipped = False
        self._framing = framing
        self._decoder = None
        return start

    def read_body(self) -> list[bytes]:
        """
        :return: the next pieces of the current request's body.
        :raise MalformedMessage: what came is no such body; nothing more can be read.
        """
        if not self._framing or not self.waiting:
            return []
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = decoder_for(self._framing, trailers=False)
        data, self.waiting = self.waiting, b""
        pieces = decoder.receive(data)
        if decoder.finished:
            self.waiting, self._framing, self._decoder = decoder.remainder, 0, None
        return pieces

    def take_body(self) -> bytes | None:
        """
        :return: the current request's body, where all of it waits and nothing of it has been read; else None, and
            nothing is taken.
        """
        length = self._framing
        if length < 0 or len(self.waiting) < length or self._decoder is not None:
            return None
        body, self.waiting = self.waiting[:length], self.waiting[length:]
        self._framing = 0
        return body

    def clear(self) -> None:
        """Throw away what waits."""
        self.waiting = b""
        self._searched = 0
