"""
RFC 9112 as a few compiled regular expressions: bytes of a head in, values out, anything else refused.

Pure: imports :mod:`gptproxy.http.field_lines` only. The grammar is the strict one of the RFC's ABNF: CRLF line
ends only, no folding, no space before a colon, no control characters. Quantifiers are possessive, so every match is
linear in the head, whose size the callers bound.

Where the RFC leaves a choice, the stricter one is taken: of the target's forms only origin-form (so no CONNECT), one
Content-Length, one Transfer-Encoding, and that exactly ``chunked``, never both.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import Final, NamedTuple

from gptproxy.http.field_lines import (
    MAX_FIELDS,
    Fields,
    MalformedMessage,
    parse_fields,
    read_field_lines,
)

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
    "read_request",
    "read_response",
    "request_framing",
    "response_framing",
]

CHUNKED: Final = -1
"""A framing: the length is told chunk by chunk (RFC 9112 7.1)."""

UNTIL_CLOSE: Final = -2
"""A framing of responses only: the body ends with the connection (RFC 9112 6.3, rule 8)."""

MAX_CONTENT_LENGTH_DIGITS = 18
"""More digits than any body has (10**18 bytes), few enough that ``int`` is quick."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
# RFC 3986 path and query characters, percent-encodings well formed; "[" and "]" too, because clients send "include[]=".
_TARGET = rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]++|%[0-9A-Fa-f]{2})*+"

_REQUEST_LINE = re.compile(rb"(%b{1,24}+) (%b) HTTP/1\.([01])" % (_TOKEN, _TARGET))
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?")
_METHOD_AND_TARGET = re.compile(rb"%b{1,24}+ %b" % (_TOKEN, _TARGET))
# Control characters, and a CR or LF without the other. A CR that ends what has come is not judged yet.
_STRAY_OCTET = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?=[^\n])")
# RFC 9110 7.2 with RFC 3986 3.2: a registered name, an IPv4 address or a bracketed IPv6 address, and a port perhaps.
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~]{1,255}+|\[[0-9A-Fa-f:.]{2,45}+\])(?::[0-9]{1,5}+)?")

_NO_OPTIONS: frozenset[bytes] = frozenset()
_TWO_HOSTS = b"two of them, or more"

CACHED_BYTES: Final = 128
"""First lines, hosts and Connection values no longer than this are read once: there are few. Of each 256 are kept."""

# What the connection itself must know of a message.
_CONNECTION_FIELDS = frozenset(
    (b"connection", b"content-length", b"expect", b"host", b"transfer-encoding")
)


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


# As the types themselves, without the constructor in Python that a named tuple has.
_request_head = partial(tuple.__new__, RequestHead)
_response_head = partial(tuple.__new__, ResponseHead)


def parse_request_head(head: bytes) -> RequestHead:
    """
    Read a request's head (RFC 9112 3 and 5).

    :param head: everything up to and with the empty line.
    :raise MalformedMessage: it does not match the grammar, has too many fields, or not exactly one valid Host.
    """
    return read_request(_lines_of(head, "request"))[0]


def read_request(lines: list[bytes]) -> tuple[RequestHead, int | None, frozenset[bytes], bool]:
    """
    :param lines: a head's, the empty one that ends it not among them.
    :return: the head; the body's length in bytes or :data:`CHUNKED`, None where nothing is told; the options of its
        connection; and whether the client waits for ``100 Continue`` (RFC 9110 10.1.1).
    :raise MalformedMessage: as :func:`parse_request_head` and :func:`request_framing`.
    """
    line = lines[0]
    # A query may hold a secret, which is not to stay in memory.
    known = len(line) <= CACHED_BYTES and b"?" not in line
    method, target, minor = _known_request_line(line) if known else _request_line(line)
    fields = read_field_lines(lines[1:])
    framing, options, host, waits = _facts(minor, fields)
    # RFC 9112 3.2: more or fewer than one Host, or an invalid one, is answered 400.
    if host is _TWO_HOSTS or (host is None and minor == 1):
        raise MalformedMessage("a request has exactly one Host header")
    if host is not None and not (_known_host if len(host) <= CACHED_BYTES else _is_host)(host):
        raise MalformedMessage("the Host header is not a valid host")
    return _request_head((method, target, minor, fields)), framing, options, waits


def parse_response_head(head: bytes) -> ResponseHead:
    """
    Read a response's head (RFC 9112 4 and 5). A missing reason phrase may miss its space too.

    :param head: everything up to and with the empty line.
    :raise MalformedMessage: it does not match the grammar, or has too many fields.
    """
    return read_response(_lines_of(head, "response"))


def read_response(lines: list[bytes]) -> ResponseHead:
    """As :func:`parse_response_head`; ``lines`` are as :func:`read_request` takes them."""
    line = lines[0]
    known = len(line) <= CACHED_BYTES
    status, reason, minor = _known_status_line(line) if known else _status_line(line)
    return _response_head((status, reason, minor, read_field_lines(lines[1:])))


def is_request_line(method: bytes, target: bytes) -> bool:
    """
    :return: both follow the grammar, as what we send does too.
    """
    return _METHOD_AND_TARGET.fullmatch(b"%b %b" % (method, target)) is not None


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
    values = [value for name, value in fields if name == b"connection"]
    return _options(b",".join(values)) if values else _NO_OPTIONS


def persists(minor_version: int, options: frozenset[bytes]) -> bool:
    """
    :param options: :func:`connection_options`.
    :return: the connection goes on after this message (RFC 9112 9.3). HTTP/1.0's keep-alive is not offered: its
        proxies are known to pass it on without understanding it.
    """
    return minor_version == 1 and b"close" not in options


def request_framing(head: RequestHead) -> int:
    """
    Decide where a request's body ends (RFC 9112 6.3).

    :return: its length in bytes, 0 for none, or :data:`CHUNKED`.
    :raise MalformedMessage: the length is told twice, in two ways, or in one that is not understood: the ways in which
        requests are smuggled (RFC 9112 11.2).
    """
    return _facts(head.minor_version, head.fields)[0] or 0


def response_framing(head: ResponseHead, request_method: bytes) -> tuple[int, frozenset[bytes]]:
    """
    Decide where a response's body ends (RFC 9112 6.3).

    :param request_method: the method it answers.
    :return: its length in bytes, 0 for none, :data:`CHUNKED`, or :data:`UNTIL_CLOSE`; and its connection's options.
    :raise MalformedMessage: as :func:`request_framing`.
    """
    framing, options, _, _ = _facts(head.minor_version, head.fields)
    if request_method == b"HEAD" or head.status < 200 or head.status in (204, 304):
        return 0, options
    return UNTIL_CLOSE if framing is None else framing, options


def _facts(
    minor_version: int, fields: Fields
) -> tuple[int | None, frozenset[bytes], bytes | None, bool]:
    """
    :return: what a connection must know of a message: its framing as far as it is told, the connection's options, the
        host, whether 100 Continue is waited for.
    """
    length = coding = host = None
    connection = b""
    waits = False
    for name, value in fields:
        if name not in _CONNECTION_FIELDS:
            continue
        if name == b"content-length":
            if length is not None:
                raise MalformedMessage("Content-Length is one number")
            length = value
        elif name == b"host":
            host = value if host is None else _TWO_HOSTS
        elif name == b"connection":
            connection = connection + b"," + value
        elif name == b"transfer-encoding":
            if coding is not None:
                raise MalformedMessage("the only Transfer-Encoding understood is chunked")
            coding = value
        else:
            waits = waits or value.lower() == b"100-continue"
    framing = None
    if coding is not None:
        if length is not None:
            raise MalformedMessage("Content-Length and Transfer-Encoding exclude each other")
        if minor_version == 0:
            raise MalformedMessage("HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise MalformedMessage("the only Transfer-Encoding understood is chunked")
        framing = CHUNKED
    elif length is not None:
        # Of bytes isdigit takes ASCII's digits only.
        if not length.isdigit() or len(length) > MAX_CONTENT_LENGTH_DIGITS:
            raise MalformedMessage("Content-Length is one number")
        framing = int(length)
    options = _options(connection) if connection else _NO_OPTIONS
    return framing, options, host, waits and minor_version == 1


def _lines_of(head: bytes, what: str) -> list[bytes]:
    """:return: a head's lines, the empty one that ends it not among them."""
    if not head.endswith(b"\r\n\r\n"):
        raise MalformedMessage(f"the {what}'s head does not follow HTTP/1.1's grammar")
    return head[:-4].split(b"\r\n")


def _request_line(line: bytes) -> tuple[bytes, bytes, int]:
    """:return: method, target and minor version."""
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise MalformedMessage("the request's head does not follow HTTP/1.1's grammar")
    method, target, minor = match.groups()
    if method == b"CONNECT":
        # RFC 9112 3.2.3: its target is in authority-form only, which asks for a tunnel.
        raise MalformedMessage("CONNECT has no target in origin-form")
    return method, target, int(minor)


def _status_line(line: bytes) -> tuple[int, bytes, int]:
    """:return: status, reason phrase and minor version."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise MalformedMessage("the response's head does not follow HTTP/1.1's grammar")
    minor, status, reason = match.groups()
    return int(status), reason or b"", int(minor)


def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _options(value: bytes) -> frozenset[bytes]:
    """:return: the options of a Connection header, or of several that were joined by commas."""
    return _known_options(value) if len(value) <= CACHED_BYTES else _split_options(value)


def _split_options(value: bytes) -> frozenset[bytes]:
    return frozenset(option for part in value.lower().split(b",") if (option := part.strip(b" \t")))


_known_request_line = lru_cache(maxsize=256)(_request_line)
_known_status_line = lru_cache(maxsize=256)(_status_line)
_known_host = lru_cache(maxsize=256)(_is_host)
_known_options = lru_cache(maxsize=256)(_split_options)
