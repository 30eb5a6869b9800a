"""
An upstream's bytes read as the answer to one request, sans-I/O.

Pure: imports the grammar and the body decoders of this room only.
"""

from __future__ import annotations

from typing import NamedTuple

from gptproxy.http.bodies import BodyDecoder, decoder_for
from gptproxy.http.grammar import (
    Fields,
    MalformedMessage,
    ResponseHead,
    field_values,
    has_stray_octet,
    persists,
    read_response,
    response_framing,
)

__all__ = ["MAX_RESPONSE_HEAD_BYTES", "ResponseReader", "ResponseStart"]

MAX_RESPONSE_HEAD_BYTES = 65_536
"""Twisted's client has no bound here; what a client of ours may send is a fair one for its upstream. Each interim
answer has its own."""

MAX_INTERIM_RESPONSES = 8
"""``100`` and ``103`` answers before the real one; nobody sends more than one or two."""


class ResponseStart(NamedTuple):
    """
    What is known when an answer's headers are complete.

    :param head: its status and fields.
    :param framing: as :func:`~gptproxy.http.grammar.response_framing` says.
    :param persists: the connection may serve another request.
    """

    head: ResponseHead
    framing: int
    persists: bool


class ResponseReader:
    """
    The input of one connection while one request is under way.

    :param request_method: the method that is answered.

    :ivar start: the answer's start, once its headers are complete.
    :ivar finished: the answer is complete. One that ends with its connection never says so.
    :ivar excess: bytes came behind the answer's end: they belong to nothing that was asked.
    """

    __slots__ = (
        "_buffer",
        "_decoder",
        "_interim",
        "_method",
        "_searched",
        "excess",
        "finished",
        "start",
    )

    def __init__(self, request_method: bytes) -> None:
        self._method = request_method
        self._buffer = b""
        # Where the next search for the head's end starts: a head that comes byte by byte is searched once.
        self._searched = 0
        self._interim = 0
        self._decoder: BodyDecoder | None = None
        self.start: ResponseStart | None = None
        self.finished = False
        self.excess = False

    @property
    def heard(self) -> bool:
        """Something came, and be it an interim answer."""
        return bool(self._buffer or self._interim) or self.start is not None

    def receive(self, data: bytes) -> list[bytes]:
        """
        :param data: the connection's next bytes.
        :return: the body's next bytes, in pieces.
        :raise MalformedMessage: what came is no answer.
        """
        if self.start is not None:
            return self._receive_body(data)
        self._buffer = self._buffer + data if self._buffer else data
        while self.start is None:
            end = self._buffer.find(b"\r\n\r\n", self._searched, MAX_RESPONSE_HEAD_BYTES)
            if end < 0:
                self._check_unfinished()
                return []
            self._take_head(read_response(self._buffer[:end].split(b"\r\n")))
            self._buffer = self._buffer[end + 4 :]
            self._searched = 0
        rest, self._buffer = self._buffer, b""
        length = self.start.framing
        if 0 <= length <= len(rest):
            # All of it is here, as most often.
            self.finished = True
            self.excess = len(rest) > length
            return [rest[:length]] if length else []
        self._decoder = decoder_for(length, trailers=True)
        return self._receive_body(rest)

    def _receive_body(self, data: bytes) -> list[bytes]:
        decoder = self._decoder
        if decoder is None:
            self.excess = self.excess or bool(data)
            return []
        pieces = decoder.receive(data)
        if decoder.finished:
            self.finished = True
            self.excess = bool(decoder.remainder)
        return pieces

    def _check_unfinished(self) -> None:
        if has_stray_octet(self._buffer, self._searched, MAX_RESPONSE_HEAD_BYTES):
            raise MalformedMessage("the response's head does not follow HTTP/1.1's grammar")
        if len(self._buffer) >= MAX_RESPONSE_HEAD_BYTES:
            raise MalformedMessage("the response's headers are too large")
        self._searched = max(0, len(self._buffer) - 3)

    def _take_head(self, head: ResponseHead) -> None:
        framing, options = response_framing(head, self._method)
        if head.status >= 200:
            self.start = ResponseStart(
                head,
                framing,
                persists(head.minor_version, options)
                and not (head.status == 204 and _speaks_of_a_body(head.fields)),
            )
            return
        self._interim += 1
        if head.status == 101 or self._interim > MAX_INTERIM_RESPONSES:
            raise MalformedMessage("an interim response that was not asked for")
        if not persists(head.minor_version, options):
            # HTTP/1.0 has none (RFC 9110 15.2), and parsers disagree whether anything follows one that says close.
            raise MalformedMessage("an interim response that would end its connection")


def _speaks_of_a_body(fields: Fields) -> bool:
    """:return: what RFC 9110 8.6 and RFC 9112 6.1 forbid a 204: a body may follow."""
    return field_values(fields, b"content-length") not in ([], [b"0"]) or bool(
        field_values(fields, b"transfer-encoding")
    )
