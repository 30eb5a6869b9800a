"""Requests come out in order and alike however their bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.http.grammar import MalformedMessage
from gptproxy.http.request_reader import RequestReader, RequestStart
from tests.http.messages import byte_by_byte, mutated, requests, splits

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
CHUNKS = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"


def read(pieces: list[bytes], limit: int = 65_536) -> tuple[list[tuple[bytes, bytes]], object]:
    """Every request's target and body; then the status that ended it, or how many bytes wait."""
    reader = RequestReader(limit)
    found: list[tuple[bytes, bytes]] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while True:
                if reader.body_finished:
                    start = reader.read_head()
                    if start is None:
                        break
                    found.append((start.target.path, b""))
                body = b"".join(reader.read_body())
                found[-1] = (found[-1][0], found[-1][1] + body)
                if not reader.body_finished:
                    break
    except MalformedMessage as malformed:
        # What of a body was read before it went wrong depends on the reads; it is of no use to anybody.
        return [target for target, _ in found], malformed.status  # type: ignore[misc]  # see above
    return found, reader.waiting_bytes


def start_of(data: bytes) -> RequestStart:
    """The first request's."""
    reader = RequestReader(65_536)
    reader.feed(data)
    start = reader.read_head()
    assert start is not None
    return start


def test_pipelined_requests_come_out_in_order() -> None:
    message = GET + POST + CHUNKS + GET
    expected = [(b"/a", b""), (b"/b", b"abc"), (b"/c", b"x"), (b"/a", b"")]
    assert read([message]) == (expected, 0)
    assert read(byte_by_byte(message)) == (expected, 0)


@settings(max_examples=100, deadline=None)
@given(st.data(), st.lists(mutated(requests()), min_size=1, max_size=3))
def test_the_reading_is_the_same_however_the_bytes_arrive(
    data: st.DataObject, messages: list[bytes]
) -> None:
    message = b"".join(messages)
    whole = read([message])
    assert read(byte_by_byte(message)) == whole
    assert read(data.draw(splits(message))) == whole


@pytest.mark.parametrize("pieces", [[b"\r\n" + GET], [b"\r\n", GET], byte_by_byte(b"\r\n" + GET)])
def test_one_empty_line_before_a_request_is_ignored(pieces: list[bytes]) -> None:
    """RFC 9112 2.2; and one more after each request, as old clients sent behind a POST."""
    assert read(pieces) == ([(b"/a", b"")], 0)
    assert read([*pieces, *pieces]) == ([(b"/a", b""), (b"/a", b"")], 0)


@pytest.mark.parametrize("lead", [b"\r\n\r\n", b"\n", b"\r", b"\r\n\r\n\r\n", b"\r\n\n"])
def test_more_than_that_is_refused_however_it_arrives(lead: bytes) -> None:
    assert read([lead + GET]) == ([], 400)
    assert read(byte_by_byte(lead + GET)) == ([], 400)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\nHost: h\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\n",
        b"GET / HTTP/1.1\r\nHost: h\rX",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\x00",
    ],
)
def test_what_cannot_become_a_request_is_refused_without_waiting_for_its_end(data: bytes) -> None:
    assert read([data]) == ([], 400)
    assert read(byte_by_byte(data)) == ([], 400)


def test_a_head_has_a_bound_that_its_body_does_not_count_for() -> None:
    limit = len(POST) - 3
    assert read([POST], limit) == ([(b"/b", b"abc")], 0)
    assert read([POST], limit - 1) == ([], 431)
    assert read(byte_by_byte(POST), limit - 1) == ([], 431)
    assert read([b"a" * limit], limit) == ([], 431)
    assert read([b"a" * (limit - 1)], limit) == ([], limit - 1)


def test_a_head_that_comes_byte_by_byte_is_searched_once() -> None:
    """Counted: the search starts again at most three bytes back."""
    reader = RequestReader(65_536)
    for i, byte in enumerate(byte_by_byte(b"a" * 3_000)):
        reader.feed(byte)
        assert reader.read_head() is None
        assert reader._searched == max(0, i - 2)


@pytest.mark.parametrize(
    ("message", "expects"),
    [
        (POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"), True),
        (CHUNKS.replace(b"\r\n\r\n", b"\r\nexpect: 100-Continue\r\n\r\n", 1), True),
        (POST, False),
        (POST.replace(b"\r\n\r\n", b"\r\nExpect: something\r\n\r\n"), False),
        (GET.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"), False),
        (POST.replace(b"1.1\r\n", b"1.0\r\nExpect: 100-continue\r\n"), False),
    ],
)
def test_only_a_body_of_http_1_1_waits_for_100_continue(message: bytes, expects: bool) -> None:
    """RFC 9110 10.1.1."""
    assert start_of(message).expects_continue is expects


def test_the_start_tells_length_and_persistence() -> None:
    assert (start_of(GET).length, start_of(GET).persists) == (0, True)
    assert start_of(POST).length == 3
    assert start_of(CHUNKS).length is None
    assert not start_of(GET.replace(b"1.1", b"1.0")).persists
    assert not start_of(GET.replace(b"Host", b"Connection: close\r\nHost")).persists


def test_nothing_is_read_of_a_body_that_is_not_there() -> None:
    reader = RequestReader(100)
    assert reader.read_body() == []
    reader.feed(POST)
    assert reader.read_head() is not None
    assert not reader.body_finished
    reader.clear()
    assert (reader.read_body(), reader.waiting_bytes) == ([], 0)


def test_an_ambiguous_path_is_refused_with_the_head() -> None:
    assert read([GET.replace(b"/a", b"/a/../b")]) == ([], 400)
