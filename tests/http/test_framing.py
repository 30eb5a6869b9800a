"""Where a message's body ends, and whether its connection goes on: told once and plainly, or refused."""

from __future__ import annotations

import pytest

from gptproxy.http.grammar import (
    CHUNKED,
    UNTIL_CLOSE,
    MalformedMessage,
    RequestHead,
    ResponseHead,
    connection_options,
    parse_request_head,
    parse_response_head,
    persists,
    request_framing,
    response_framing,
)

HOST = b"Host: a\r\n"


def request_of(*lines: bytes, start: bytes = b"POST / HTTP/1.1", host: bytes = HOST) -> RequestHead:
    """A request's head of these field lines."""
    block = b"".join(line + b"\r\n" for line in lines)
    return parse_request_head(start + b"\r\n" + host + block + b"\r\n")


def response_of(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    """A response's head of these field lines."""
    return parse_response_head(start + b"\r\n" + b"".join(x + b"\r\n" for x in lines) + b"\r\n")


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((), 0),
        ((b"Content-Length: 0",), 0),
        ((b"Content-Length: 5",), 5),
        ((b"content-length:\t007 ",), 7),
        ((b"Content-Length: 999999999999999999",), 10**18 - 1),
        ((b"Transfer-Encoding: chunked",), CHUNKED),
        ((b"transfer-encoding: CHUNKED",), CHUNKED),
    ],
)
def test_a_body_ends_where_one_header_says(lines: tuple[bytes, ...], framing: int) -> None:
    assert request_framing(request_of(*lines)) == framing
    assert response_framing(response_of(*lines), b"GET")[0] == (framing if lines else UNTIL_CLOSE)


AMBIGUOUS = [
    (b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
    (b"Content-Length: 5", b"Content-Length: 6"),
    (b"Content-Length: 5", b"Content-Length: 5"),
    (b"Content-Length: 5, 5",),
    (b"Content-Length: 5, 6",),
    (b"Content-Length: 5,",),
    (b"Content-Length: +5",),
    (b"Content-Length: -5",),
    (b"Content-Length: 0x5",),
    (b"Content-Length: 5.0",),
    (b"Content-Length: 5e1",),
    (b"Content-Length: 1_0",),
    (b"Content-Length: 5 5",),
    (b"Content-Length: ",),
    (b"Content-Length: five",),
    (b"Content-Length: \xb2",),
    (b"Content-Length: " + b"1" * 19,),
    (b"Content-Length: " + b"0" * 4400,),
    (b"Transfer-Encoding: identity",),
    (b"Transfer-Encoding: chunked, identity",),
    (b"Transfer-Encoding: identity, chunked",),
    (b"Transfer-Encoding: gzip, chunked",),
    (b"Transfer-Encoding: gzip",),
    (b"Transfer-Encoding: xchunked",),
    (b"Transfer-Encoding: chunkedx",),
    (b"Transfer-Encoding: chunked;q=1",),
    (b'Transfer-Encoding: "chunked"',),
    (b"Transfer-Encoding: chunked,",),
    (b"Transfer-Encoding: , chunked",),
    (b"Transfer-Encoding:",),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"),
]


@pytest.mark.parametrize("lines", AMBIGUOUS)
def test_a_length_told_twice_or_in_doubt_is_refused_in_both_directions(
    lines: tuple[bytes, ...],
) -> None:
    """RFC 9112 11.2: request smuggling, and its twin on the upstream's side."""
    with pytest.raises(MalformedMessage):
        request_framing(request_of(*lines))
    for method in (b"GET", b"HEAD"):
        with pytest.raises(MalformedMessage):
            response_framing(response_of(*lines), method)


def test_http_1_0_has_no_chunks_in_either_direction() -> None:
    """RFC 9112 6.1."""
    coding = b"Transfer-Encoding: chunked"
    with pytest.raises(MalformedMessage):
        request_framing(request_of(coding, start=b"POST / HTTP/1.0"))
    with pytest.raises(MalformedMessage):
        response_framing(response_of(coding, start=b"HTTP/1.0 200 OK"), b"GET")


@pytest.mark.parametrize(
    ("method", "status", "framing"),
    [
        (b"HEAD", 200, 0),
        (b"GET", 204, 0),
        (b"GET", 304, 0),
        (b"GET", 103, 0),
        (b"GET", 200, 5),
        (b"head", 200, 5),
    ],
)
def test_some_responses_have_no_body_whatever_they_say(
    method: bytes, status: int, framing: int
) -> None:
    """RFC 9112 6.3, rule 1."""
    head = response_of(b"Content-Length: 5", start=b"HTTP/1.1 %d x" % status)
    assert response_framing(head, method)[0] == framing


@pytest.mark.parametrize(
    ("minor", "value", "expected"),
    [
        (1, None, True),
        (1, b"keep-alive", True),
        (1, b"close", False),
        (1, b"Keep-Alive, CLOSE", False),
        (1, b"closed", True),
        (0, None, False),
        (0, b"keep-alive", False),
    ],
)
def test_a_connection_goes_on_unless_somebody_says_close(
    minor: int, value: bytes | None, expected: bool
) -> None:
    fields = () if value is None else ((b"connection", value),)
    assert persists(minor, connection_options(fields)) is expected


def test_connection_options_are_gathered_from_all_lines() -> None:
    fields = ((b"connection", b" Close ,,X-A"), (b"x", b"y"), (b"connection", b"\tTE\t"))
    assert connection_options(fields) == {b"close", b"x-a", b"te"}
