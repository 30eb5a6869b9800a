"""The grammar by tables: which heads are messages, which are refused, and where their bodies end."""

from __future__ import annotations

import pytest

from gptproxy.http.grammar import (
    MAX_FIELDS,
    MalformedMessage,
    RequestHead,
    ResponseHead,
    field_values,
    has_stray_octet,
    is_request_line,
    parse_fields,
    parse_request_head,
    parse_response_head,
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
    ("start", "expected"),
    [
        (b"GET / HTTP/1.1", (b"GET", b"/", 1)),
        (b"get /a HTTP/1.0", (b"get", b"/a", 0)),
        (b"M-SEARCH /a?b=%20&c[]=d HTTP/1.1", (b"M-SEARCH", b"/a?b=%20&c[]=d", 1)),
        (b"OPTIONS /?? HTTP/1.1", (b"OPTIONS", b"/??", 1)),
        (b"GET /:@!$&'()*+,;=-._~ HTTP/1.1", (b"GET", b"/:@!$&'()*+,;=-._~", 1)),
    ],
)
def test_a_request_line_in_origin_form_is_read(start: bytes, expected: tuple[object, ...]) -> None:
    head = request_of(start=start)
    assert (head.method, head.target, head.minor_version) == expected


@pytest.mark.parametrize(
    "start",
    [
        b"GET http://a/ HTTP/1.1",
        b"GET a:80 HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT a:443 HTTP/1.1",
        b"CONNECT / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b" GET / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET /",
        b"GET / HTTP/1.2",
        b"GET / HTTP/2.0",
        b"GET / HTTP/0.9",
        b"GET / http/1.1",
        b"GET / HTTP/1.1x",
        b"GET / HTTP/01.1",
        b"GET /a b HTTP/1.1",
        b"GET /# HTTP/1.1",
        b"GET /\\ HTTP/1.1",
        b"GET /% HTTP/1.1",
        b"GET /%2 HTTP/1.1",
        b"GET /%zz HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xe9 HTTP/1.1",
        b'GET /" HTTP/1.1',
        b"GET /<> HTTP/1.1",
        b"GET /{} HTTP/1.1",
        b"GET /| HTTP/1.1",
        b"GET /^ HTTP/1.1",
        b"GET /` HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"G\xc9T / HTTP/1.1",
        b"A" * 25 + b" / HTTP/1.1",
        b"",
    ],
)
def test_every_other_request_line_is_refused_with_400(start: bytes) -> None:
    with pytest.raises(MalformedMessage) as caught:
        request_of(start=start)
    assert caught.value.status == 400


BAD_FIELD_LINES = [
    b"X : a",
    b"X\t: a",
    b" X: a",
    b"X: a\r\n b",
    b"X: a\r\n\tb",
    b"X: a\nY: b",
    b"X: a\rY: b",
    b"X: a\r",
    b"X: \x00",
    b"X: \x01",
    b"X: \x0b",
    b"X: \x0c",
    b"X: \x1f",
    b"X: \x7f",
    b"X",
    b": a",
    b"X Y: a",
    b"X(: a",
    b"X\xe9: a",
    b"X\x00: a",
    b'"X": a',
]


@pytest.mark.parametrize("line", BAD_FIELD_LINES)
def test_a_field_line_out_of_the_grammar_is_refused_in_both_directions(line: bytes) -> None:
    with pytest.raises(MalformedMessage):
        request_of(line)
    with pytest.raises(MalformedMessage):
        response_of(line)
    with pytest.raises(MalformedMessage):
        parse_fields(line + b"\r\n")


def test_field_lines_keep_their_order_and_lose_only_the_space_around_the_value() -> None:
    head = response_of(b"X-A:1", b"x-b: \t a \t b\t ", b"X-A:", b"!#$%&'*+-.^_`|~:caf\xe9")
    assert head.fields == (
        (b"x-a", b"1"),
        (b"x-b", b"a \t b"),
        (b"x-a", b""),
        (b"!#$%&'*+-.^_`|~", b"caf\xe9"),
    )
    assert field_values(head.fields, b"x-a") == [b"1", b""]
    assert parse_fields(b"A: 1\r\nB:2\r\n") == ((b"a", b"1"), (b"b", b"2"))
    assert parse_fields(b"") == ()


def test_too_many_field_lines_are_answered_431() -> None:
    assert len(request_of(*[b"a: b"] * (MAX_FIELDS - 1)).fields) == MAX_FIELDS
    with pytest.raises(MalformedMessage) as caught:
        request_of(*[b"a: b"] * MAX_FIELDS)
    assert caught.value.status == 431


@pytest.mark.parametrize(
    "host",
    [
        b"a",
        b"a.b-c_d~.example:65535",
        b"127.0.0.1:0",
        b"[::1]",
        b"[2001:db8::ffff:1.2.3.4]:8080",
        b"a" * 255,
    ],
)
def test_one_valid_host_is_accepted(host: bytes) -> None:
    assert field_values(request_of(host=b"Host: " + host + b"\r\n").fields, b"host") == [host]


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"Host: a\r\nHost: a\r\n",
        b"Host: a\r\nHOST: b\r\n",
        b"Host:\r\n",
        b"Host: a b\r\n",
        b"Host: a, b\r\n",
        b"Host: a/b\r\n",
        b"Host: a@b\r\n",
        b"Host: u:p@b\r\n",
        b"Host: a?b\r\n",
        b"Host: a#b\r\n",
        b"Host: a:b\r\n",
        b"Host: a:\r\n",
        b"Host: a:123456\r\n",
        b"Host: :80\r\n",
        b"Host: ::1\r\n",
        b"Host: [::1\r\n",
        b"Host: [v1.a]\r\n",
        b"Host: a%41\r\n",
        b"Host: <script>\r\n",
        b"Host: \xe9\r\n",
        b"Host: " + b"a" * 256 + b"\r\n",
    ],
)
def test_a_missing_a_second_and_an_invalid_host_are_answered_400(host: bytes) -> None:
    """RFC 9112 3.2."""
    with pytest.raises(MalformedMessage) as caught:
        request_of(host=host)
    assert caught.value.status == 400


def test_http_1_0_needs_no_host_and_may_have_one() -> None:
    start = b"GET / HTTP/1.0"
    assert request_of(start=start, host=b"").minor_version == 0
    assert request_of(start=start).minor_version == 0
    with pytest.raises(MalformedMessage):
        request_of(start=start, host=HOST + HOST)
    with pytest.raises(MalformedMessage):
        request_of(start=start, host=b"Host: a b\r\n")


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"HTTP/1.1 200 OK", (200, b"OK", 1)),
        (b"HTTP/1.0 999 ", (999, b"", 0)),
        (b"HTTP/1.1 204", (204, b"", 1)),
        (b"HTTP/1.1 404 d\xe9j\xe0 vu\t!", (404, b"d\xe9j\xe0 vu\t!", 1)),
    ],
)
def test_a_status_line_is_read(start: bytes, expected: tuple[object, ...]) -> None:
    head = response_of(start=start)
    assert (head.status, head.reason, head.minor_version) == expected


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1",
        b"HTTP/2 200 OK",
        b"HTTP/1.2 200 OK",
        b"ICY 200 OK",
        b"http/1.1 200 OK",
        b" HTTP/1.1 200 OK",
        b"HTTP/1.1 200 O\x00K",
        b"HTTP/1.1 200 O\nK",
        b"\r\nHTTP/1.1 200 OK",
    ],
)
def test_every_other_status_line_is_refused(start: bytes) -> None:
    with pytest.raises(MalformedMessage):
        response_of(start=start)


def test_the_lines_have_to_end_with_the_empty_one() -> None:
    for head in (b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n"):
        with pytest.raises(MalformedMessage):
            parse_request_head(head)


@pytest.mark.parametrize(
    ("partial", "stray"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\xff\t", False),
        (b"\n", True),
        (b"GET / HTTP/1.1\n", True),
        (b"GET /\rX", True),
        (b"\x16\x03\x01\x02\x00", True),
        (b"a\x7f", True),
    ],
)
def test_what_no_head_may_hold_is_seen_before_the_heads_end(partial: bytes, stray: bool) -> None:
    assert has_stray_octet(partial, 0, 100) is stray


def test_a_line_end_cut_in_two_is_no_stray_octet() -> None:
    assert not has_stray_octet(b"a\r\nb", 2, 100)
    assert not has_stray_octet(b"a\r\nb", 0, 2)


@pytest.mark.parametrize(
    ("method", "target", "valid"),
    [
        (b"GET", b"/a?b", True),
        (b"GET ", b"/", False),
        (b"", b"/", False),
        (b"GET", b"/ HTTP/1.1\r\nX: y", False),
        (b"GET", b"*", False),
    ],
)
def test_what_we_send_follows_the_grammar_too(method: bytes, target: bytes, valid: bool) -> None:
    assert is_request_line(method, target) is valid


def test_a_long_hostile_head_is_read_in_one_pass() -> None:
    """Possessive quantifiers: nothing is tried twice, so 64 KiB of near misses end at once."""
    for filler in (b"a", b":", b" ", b"\t", b"a:", b"a: b\r\n", b"%41", b"%", b"\r\n", b"\r"):
        block = filler * (65_536 // len(filler))
        for head in (b"GET /" + block, b"GET / HTTP/1.1\r\n" + block, block):
            with pytest.raises(MalformedMessage):
                parse_request_head(head)
            with pytest.raises(MalformedMessage):
                parse_response_head(head)


def test_a_trailers_last_line_has_its_end_and_its_lines_are_counted() -> None:
    with pytest.raises(MalformedMessage) as caught:
        parse_fields(b"a: b")
    assert caught.value.reason == "the trailer does not follow HTTP/1.1's grammar"
    with pytest.raises(MalformedMessage) as caught:
        parse_fields(b"a: b\r\n" * (MAX_FIELDS + 1))
    assert caught.value.status == 431
