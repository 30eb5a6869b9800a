"""
Field lines (RFC 9112 5) as values, the familiar ones without reading them again.

Pure: imports nothing of gptproxy and nothing of Twisted. A client sends the same ten to twenty lines with each
request, an upstream the same with every answer: those whose names say nothing secret are looked up by their bytes.
What a line means does not depend on the lines around it, so nothing is lost in strictness: a line that is known was
read by the grammar once.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "KNOWN_LINES",
    "MAX_FIELDS",
    "Fields",
    "MalformedMessage",
    "parse_fields",
    "read_field_lines",
]

Fields = tuple[tuple[bytes, bytes], ...]
"""Field lines in order: the name in lower case (RFC 9110 5.1), the value without the space around it."""

MAX_FIELDS = 128
"""Field lines in one head: Apache takes 100, Twisted 500; the busiest OpenAI client seen sends 34."""

KNOWN_LINES: Final = 1024
"""Lines that are kept; what a few dozen sorts of clients send."""

KNOWN_LINE_BYTES: Final = 256
"""Longer lines are not kept: 256 KiB in all."""

# Only what is known to be no secret is kept: a token stands in memory no longer than its call.
_KEPT = frozenset(
    (
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"accept-ranges",
        b"access-control-expose-headers",
        b"alt-svc",
        b"cache-control",
        b"cf-cache-status",
        b"connection",
        b"date",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"host",
        b"keep-alive",
        b"openai-beta",
        b"openai-version",
        b"pragma",
        b"sec-fetch-mode",
        b"server",
        b"strict-transport-security",
        b"te",
        b"transfer-encoding",
        b"user-agent",
        b"vary",
        b"via",
        b"x-content-type-options",
    )
)

_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)")
_SPACES = (b" ", b"\t")
_KEPT_PREFIX = b"x-stainless-"


class MalformedMessage(Exception):
    """
    Bytes that are not an HTTP/1.1 message as the grammar has it. The connection they came on can only be closed.

    :param reason: what is wrong, without any of the peer's bytes.
    :param status: the answer where the peer is a client: 400, or a more exact one. It says nothing where the peer is
        a server.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class _KnownLines(dict[bytes, tuple[bytes, bytes]]):
    """What lines say; a line that is not among them is read, and kept where that is fitting."""

    def __missing__(self, line: bytes) -> tuple[bytes, bytes]:
        match = _LINE.fullmatch(line)
        if match is None:
            raise MalformedMessage("a line of the head does not follow HTTP/1.1's grammar")
        name, value = match.groups()
        name = name.lower()
        if value[-1:] in _SPACES:
            value = value.rstrip(b" \t")
        field = (name, value)
        if (name in _KEPT or name[:12] == _KEPT_PREFIX) and len(line) <= KNOWN_LINE_BYTES:
            if len(self) >= KNOWN_LINES:
                # Somebody makes lines up. The familiar ones are soon back.
                self.clear()
            self[line] = field
        return field


_known = _KnownLines()


def read_field_lines(lines: list[bytes]) -> Fields:
    """
    :param lines: without their CRLF.
    :raise MalformedMessage: one does not match the grammar, or they are too many.
    """
    if len(lines) > MAX_FIELDS:
        raise MalformedMessage(f"a head has at most {MAX_FIELDS} header lines", 431)
    # A list first: a tuple made of a generator takes twice as long.
    return tuple([_known[line] for line in lines])


def parse_fields(block: bytes) -> Fields:
    """
    Read field lines alone, as they stand in a chunked body's trailer section.

    :param block: the lines, each with its CRLF, without the empty line.
    :raise MalformedMessage: they do not match the grammar, or are too many.
    """
    lines = block.split(b"\r\n")
    try:
        if lines.pop():
            raise MalformedMessage("a line without its end")
        return read_field_lines(lines)
    except MalformedMessage as malformed:
        if malformed.status != 400:
            raise
        raise MalformedMessage("the trailer does not follow HTTP/1.1's grammar") from malformed
