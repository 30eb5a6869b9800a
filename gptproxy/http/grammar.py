"""
RFC 9112 as a few compiled regular expressions: bytes of a head in, values out, anything else refused.

Pure: imports nothing of gptproxy and nothing of Twisted. The grammar is the strict one of the RFC's ABNF: CRLF line
ends only, no folding, no space before a colon, no control characters. Quantifiers are possessive, so every match is
linear in the head, whose size the callers bound.

Where the RFC leaves a choice, the stricter one is taken: of the target's forms only origin-form (so no CONNECT), one
Content-Length, one Transfer-Encoding, and that exactly ``chunked``, never both.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = [
    "CHUNKED",
    "MAX_CONTENT_LENGTH_DIGITS",
    "MAX_FIELDS",
    "UNTIL_CLOSE",
    "Fields",
    "MalformedMessage",
    "RequestHead",
    "ResponseHead",
    "connection_options",
    "field_values",
    "has_stray_octet",
    "is_request_line",
    "parse_fields",
    "parse_request_head",
    "parse_response_head",
    "persists",
    "request_framing",
    "response_framing",
]

Fields = tuple[tuple[bytes, bytes], ...]
"""Field lines in order: the name in lower case (RFC 9110 5.1), the value without the space around it."""

CHUNKED: Final = -1
"""A framing: the length is told chunk by chunk (RFC 9112 7.1)."""

UNTIL_CLOSE: Final = -2
"""A framing of responses only: the body ends with the connection (RFC 9112 6.3, rule 8)."""

MAX_FIELDS = 128
"""Field lines in one head: Apache takes 100, Twisted 500; the busiest OpenAI client seen sends 34."""

MAX_CONTENT_LENGTH_DIGITS = 18
"""More digits than any body has (10**18 bytes), few enough that ``int`` is quick."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_FIELD_LINE = rb"%b++:[\t\x20-\x7e\x80-\xff]*+\r\n" % _TOKEN
# RFC 3986 path and query characters, percent-encodings well formed; "[" and "]" too, because clients send "include[]=".
_TARGET = rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]++|%[0-9A-Fa-f]{2})*+"

_REQUEST_HEAD = re.compile(
    rb"(%b{1,24}+) (%b) HTTP/1\.([01])\r\n((?:%b)*+)\r\n" % (_TOKEN, _TARGET, _FIELD_LINE)
)
_RESPONSE_HEAD = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n((?:%b)*+)\r\n"
    % _FIELD_LINE
)
_FIELD = re.compile(rb"([^:]++):[ \t]*+([^\r]*+)\r\n")
_FIELD_BLOCK = re.compile(rb"(?:%b)*+" % _FIELD_LINE)
_REQUEST_LINE = re.compile(rb"%b{1,24}+ %b" % (_TOKEN, _TARGET))
# Control characters, and a CR or LF without the other. A CR that ends what has come is not judged yet.
_STRAY_OCTET = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
_CONTENT_LENGTH = re.compile(rb"[0-9]{1,%d}+" % MAX_CONTENT_LENGTH_DIGITS)
# RFC 9110 7.2 with RFC 3986 3.2: a registered name, an IPv4 address or a bracketed IPv6 address, and a port perhaps.
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~]{1,255}+|\[[0-9A-Fa-f:.]{2,45}+\])(?::[0-9]{1,5}+)?")


_NO_OPTIONS: frozenset[bytes] = frozenset()


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


class RequestHead(NamedTuple):
    """
    A request's line and fields.

    :param method: as sent; methods are case-sensitive.
    :param target: origin-form, as sent.
    :param minor_version: 0 or 1.
    :param fields: the field lines.
    """

    method: bytes
    target: bytes
    minor_version: int
    fields: Fields


class ResponseHead(NamedTuple):
    """
    A response's status line and fields.

    :param status: 100 to 999.
    :param reason: the reason phrase, perhaps empty.
    :param minor_version: 0 or 1.
    :param fields: the field lines.
    """

    status: int
    reason: bytes
    minor_version: int
    fields: Fields


def parse_request_head(head: bytes) -> RequestHead:
    """
    Read a request's head (RFC 9112 3 and 5).

    :param head: everything up to and with the empty line.
    :raise MalformedMessage: it does not match the grammar, has too many fields, or not exactly one valid Host.
    """
    match = _REQUEST_HEAD.fullmatch(head)
    if match is None:
        raise MalformedMessage("the request's head does not follow HTTP/1.1's grammar")
    method, target, minor, block = match.groups()
    if method == b"CONNECT":
        # RFC 9112 3.2.3: its target is in authority-form only, which asks for a tunnel.
        raise MalformedMessage("CONNECT has no target in origin-form")
    parsed = RequestHead(method, target, int(minor), _split_fields(block))
    hosts = field_values(parsed.fields, b"host")
    # RFC 9112 3.2: more or fewer than one Host, or an invalid one, is answered 400.
    if len(hosts) > 1 or (not hosts and parsed.minor_version == 1):
        raise MalformedMessage("a request has exactly one Host header")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise MalformedMessage("the Host header is not a valid host")
    return parsed


def parse_response_head(head: bytes) -> ResponseHead:
    """
    Read a response's head (RFC 9112 4 and 5). A missing reason phrase may miss its space too.

    :param head: everything up to and with the empty line.
    :raise MalformedMessage: it does not match the grammar, or has too many fields.
    """
    match = _RESPONSE_HEAD.fullmatch(head)
    if match is None:
        raise MalformedMessage("the response's head does not follow HTTP/1.1's grammar")
    minor, status, reason, block = match.groups()
    return ResponseHead(int(status), reason or b"", int(minor), _split_fields(block))


def parse_fields(block: bytes) -> Fields:
    """
    Read field lines alone, as they stand in a chunked body's trailer section.

    :param block: the lines, each with its CRLF, without the empty line.
    :raise MalformedMessage: they do not match the grammar, or are too many.
    """
    if _FIELD_BLOCK.fullmatch(block) is None:
        raise MalformedMessage("the trailer does not follow HTTP/1.1's grammar")
    return _split_fields(block)


def is_request_line(method: bytes, target: bytes) -> bool:
    """
    :return: both follow the grammar, as what we send does too.
    """
    return _REQUEST_LINE.fullmatch(b"%b %b" % (method, target)) is not None


def has_stray_octet(partial: bytes, start: int, end: int) -> bool:
    """
    Look for what no head may hold, before its end has come: a client that ends its lines with LF alone would wait for
    an answer until the timeout.

    :param partial: what has come of a head.
    :param start: where to start looking.
    :param end: where to stop.
    :return: it will not match the grammar, whatever follows.
    """
    return _STRAY_OCTET.search(partial, start, end) is not None


def field_values(fields: Fields, name: bytes) -> list[bytes]:
    """
    :param name: in lower case.
    :return: the values of the field lines of that name, in order.
    """
    return [value for field_name, value in fields if field_name == name]


def connection_options(fields: Fields) -> frozenset[bytes]:
    """
    :return: the Connection header's options, in lower case: ``close``, ``keep-alive`` and names of hop-by-hop
        headers (RFC 9110 7.6.1).
    """
    values = field_values(fields, b"connection")
    if not values:
        return _NO_OPTIONS
    return frozenset(
        option
        for value in values
        for part in value.lower().split(b",")
        if (option := part.strip(b" \t"))
    )


def persists(minor_version: int, fields: Fields) -> bool:
    """
    :return: the connection goes on after this message (RFC 9112 9.3). HTTP/1.0's keep-alive is not offered: its
        proxies are known to pass it on without understanding it.
    """
    return minor_version == 1 and b"close" not in connection_options(fields)


def request_framing(head: RequestHead) -> int:
    """
    Decide where a request's body ends (RFC 9112 6.3).

    :return: its length in bytes, 0 for none, or :data:`CHUNKED`.
    :raise MalformedMessage: the length is told twice, in two ways, or in one that is not understood: the ways in which
        requests are smuggled (RFC 9112 11.2).
    """
    framing = _explicit_framing(head.minor_version, head.fields)
    return 0 if framing is None else framing


def response_framing(head: ResponseHead, request_method: bytes) -> int:
    """
    Decide where a response's body ends (RFC 9112 6.3).

    :param request_method: the method it answers.
    :return: its length in bytes, 0 for none, :data:`CHUNKED`, or :data:`UNTIL_CLOSE`.
    :raise MalformedMessage: as :func:`request_framing`.
    """
    framing = _explicit_framing(head.minor_version, head.fields)
    if request_method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        return 0
    return UNTIL_CLOSE if framing is None else framing


def _explicit_framing(minor_version: int, fields: Fields) -> int | None:
    lengths = []
    codings = []
    for name, value in fields:
        if name == b"content-length":
            lengths.append(value)
        elif name == b"transfer-encoding":
            codings.append(value)
    if codings:
        if lengths:
            raise MalformedMessage("Content-Length and Transfer-Encoding exclude each other")
        if minor_version == 0:
            raise MalformedMessage("HTTP/1.0 has no Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise MalformedMessage("the only Transfer-Encoding understood is chunked")
        return CHUNKED
    if not lengths:
        return None
    if len(lengths) > 1 or _CONTENT_LENGTH.fullmatch(lengths[0]) is None:
        raise MalformedMessage("Content-Length is one number")
    return int(lengths[0])


def _split_fields(block: bytes) -> Fields:
    """:param block: field lines that match the grammar."""
    # A list first: a tuple made of a generator takes twice as long.
    fields = tuple([(name.lower(), value.rstrip(b" \t")) for name, value in _FIELD.findall(block)])
    if len(fields) > MAX_FIELDS:
        raise MalformedMessage(f"a head has at most {MAX_FIELDS} header lines", 431)
    return fields
