"""The body decoders: what comes out, where it ends, and what is refused, however the bytes arrive."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.http.bodies import (
    MAX_CHUNK_LINE_BYTES,
    MAX_TRAILER_BYTES,
    BodyDecoder,
    ChunkedDecoder,
    CloseDelimitedDecoder,
    LengthDecoder,
    decoder_for,
)
from gptproxy.http.grammar import CHUNKED, UNTIL_CLOSE, MalformedMessage
from tests.http.messages import byte_by_byte, chunked_bodies, splits


def read(decoder: BodyDecoder, pieces: list[bytes]) -> tuple[bytes, bool, bytes]:
    """The body, whether it is complete, and what stood behind it."""
    body = b""
    for piece in pieces:
        decoded = decoder.receive(piece)
        assert all(decoded)
        body += b"".join(decoded)
    return body, decoder.finished, decoder.remainder


def outcome(data: list[bytes], *, trailers: bool = False) -> object:
    """The same for chunks; None for refused."""
    try:
        return read(ChunkedDecoder(trailers=trailers), data)
    except MalformedMessage:
        return None


@settings(max_examples=100, deadline=None)
@given(st.data(), st.binary(max_size=30), st.integers(0, 40))
def test_a_counted_body_ends_where_it_says(
    data: st.DataObject, message: bytes, length: int
) -> None:
    pieces = data.draw(splits(message))
    expected = (message[:length], len(message) >= length, message[length:])
    assert read(decoder_for(length, trailers=False), pieces) == expected


def test_an_empty_body_is_finished_from_the_start() -> None:
    decoder = LengthDecoder(0)
    assert decoder.finished
    assert read(decoder, [b"next", b" request"]) == (b"", True, b"next request")
    assert LengthDecoder(3).receive(b"") == []


def test_a_body_that_ends_with_the_connection_never_finishes() -> None:
    decoder = decoder_for(UNTIL_CLOSE, trailers=True)
    assert isinstance(decoder, CloseDelimitedDecoder)
    assert read(decoder, [b"a", b"", b"b"]) == (b"ab", False, b"")


@settings(max_examples=100, deadline=None)
@given(st.data(), chunked_bodies(), st.binary(max_size=5))
def test_chunks_come_out_the_same_however_they_are_split(
    data: st.DataObject, encoded: bytes, behind: bytes
) -> None:
    message = encoded + behind
    whole = outcome([message])
    assert whole is not None
    assert outcome(byte_by_byte(message)) == whole
    assert outcome(data.draw(splits(message))) == whole


@settings(max_examples=100, deadline=None)
@given(st.data(), st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_chunks_of_any_size_come_out_as_they_went_in(
    data: st.DataObject, chunks: list[bytes]
) -> None:
    encoded = b"".join(b"%X\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    decoder = decoder_for(CHUNKED, trailers=False)
    assert read(decoder, data.draw(splits(encoded + b"rest"))) == (b"".join(chunks), True, b"rest")


@pytest.mark.parametrize(
    "line",
    [
        b"3;a",
        b"3;a=b",
        b'3;a="b"',
        b'3;a=""',
        b'3;a="\\""',
        b'3;a="\\\\";b',
        b'3;a=";\\\x80 \t"',
        b"03",
        b"0" * 14 + b"3",
        b"3;" + b"a" * (MAX_CHUNK_LINE_BYTES - 4),
    ],
)
def test_sizes_and_extensions_of_the_grammar_are_read(line: bytes) -> None:
    message = line + b"\r\nabc\r\n0\r\n\r\n"
    assert outcome([message]) == outcome(byte_by_byte(message)) == (b"abc", True, b"")


REFUSED = [
    b"+3\r\nabc\r\n",
    b"-3\r\nabc\r\n",
    b"0x3\r\nabc\r\n",
    b" 3\r\nabc\r\n",
    b"3 \r\nabc\r\n",
    b"3\t\r\nabc\r\n",
    b"3_0\r\nabc\r\n",
    b"3,\r\nabc\r\n",
    b"g\r\nabc\r\n",
    b"\r\nabc\r\n",
    b"\xb3\r\nabc\r\n",
    b"3\nabc\r\n",
    b"3\rabc\r\n\r\n\n",
    b"3\r\nabc\n0\r\n",
    b"3\r\nabcd\r\n",
    b"3\r\nabc0\r\n",
    b"3\r\nabc\r0\r\n",
    b"3\r\nab\r\n0\r\n\r\n",
    b"0" * 16 + b"\r\n",
    b"f" * 16 + b"\r\n",
    b"3;\r\n",
    b"3;=b\r\n",
    b"3;a=\r\n",
    b"3; a\r\n",
    b"3 ;a\r\n",
    b"3;a =b\r\n",
    b"3;a;\r\n",
    b'3;a="b\r\n"\r\n',
    b'3;a="b\n"\r\n',
    b'3;a="b\r\n0\r\n\r\n',
    b'3;a="b"c\r\n',
    b'3;a="\\\r\n',
    b"3;a=\x00\r\n",
    b"3;a\nb\r\n",
    b"3;" + b"a" * MAX_CHUNK_LINE_BYTES + b"\r\n",
    b"3" + b";a" * 130 + b"\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\n\n",
    b"0\n\r\n",
    b"0\r\n\rX",
]


@pytest.mark.parametrize("message", REFUSED)
def test_chunk_tricks_are_refused_however_they_arrive(message: bytes) -> None:
    """RFC 9112 7.1 and 11.2; CVE-2022-24801 among them."""
    assert outcome([message]) is None
    assert outcome(byte_by_byte(message)) is None


def test_an_endless_size_line_is_not_waited_for() -> None:
    assert outcome([b"3;" + b"a" * (MAX_CHUNK_LINE_BYTES - 3)]) == (b"", False, b"")
    assert outcome([b"3;" + b"a" * (MAX_CHUNK_LINE_BYTES - 2)]) is None


def test_a_trailer_is_read_and_dropped_where_it_may_be() -> None:
    message = b"1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\nrest"
    assert outcome([message], trailers=True) == (b"a", True, b"rest")
    assert outcome(byte_by_byte(message), trailers=True) == (b"a", True, b"rest")


@pytest.mark.parametrize(
    "trailer", [b"X : y\r\n\r\n", b"X\r\n\r\n", b"\rX\r\n\r\n", b"X: \0\r\n\r\n"]
)
def test_a_malformed_trailer_is_refused(trailer: bytes) -> None:
    assert outcome([b"0\r\n" + trailer], trailers=True) is None


@pytest.mark.parametrize("trailer", [b"X: y\n\n", b"X: y\nZ", b"\n", b"X\0", b"X: y\rz"])
def test_what_no_trailer_holds_is_refused_before_its_end_has_come(trailer: bytes) -> None:
    """An upstream that ends its lines with LF alone would be waited for until the timeout."""
    assert outcome([b"0\r\n" + trailer], trailers=True) is None
    assert outcome(byte_by_byte(b"0\r\n" + trailer), trailers=True) is None


def test_a_trailer_has_a_bound() -> None:
    line = b"X: " + b"a" * (MAX_TRAILER_BYTES - 7)
    fits = b"0\r\n" + line + b"\r\n\r\n"
    assert outcome([fits], trailers=True) == (b"", True, b"")
    assert outcome([b"0\r\n" + line + b"a\r\n\r\n"], trailers=True) is None
    assert outcome([b"0\r\n" + line + b"aaaaaaa"], trailers=True) is None


def test_what_comes_behind_a_finished_body_is_kept_for_the_next_message() -> None:
    decoder = ChunkedDecoder(trailers=False)
    assert decoder.receive(b"0\r\n\r\nGET") == []
    assert decoder.receive(b" /") == []
    assert decoder.remainder == b"GET /"


def test_a_read_full_of_tiny_chunks_is_decoded_piece_by_piece() -> None:
    assert outcome([b"1\r\na\r\n" * 10_000 + b"0\r\n\r\n"]) == (b"a" * 10_000, True, b"")
