"""Answers are read alike however their bytes arrive, and an odd one never keeps its connection."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.http.grammar import UNTIL_CLOSE, MalformedMessage
from gptproxy.http.response_reader import (
    MAX_INTERIM_RESPONSES,
    MAX_RESPONSE_HEAD_BYTES,
    ResponseReader,
)
from tests.http.messages import byte_by_byte, mutated, responses, splits
from tests.http.oracles import Message, our_response

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def reader_of(data: bytes, method: bytes = b"GET") -> ResponseReader:
    """A reader that has been given these bytes."""
    reader = ResponseReader(method)
    reader.receive(data)
    return reader


@settings(max_examples=100, deadline=None)
@given(st.data(), mutated(responses()))
def test_the_reading_is_the_same_however_the_bytes_arrive(
    data: st.DataObject, message: bytes
) -> None:
    whole = our_response([message])
    assert our_response(byte_by_byte(message)) == whole
    assert our_response(data.draw(splits(message))) == whole


def test_interim_answers_are_passed_over() -> None:
    """RFC 9110 15.2."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    expected = Message((b"200",), ((b"content-length", b"2"),), b"hi")
    assert our_response([interim + OK]) == expected
    assert our_response(byte_by_byte(interim + OK)) == expected


def test_there_is_a_bound_on_interim_answers_and_101_is_none_that_was_asked_for() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    reader_of(interim * MAX_INTERIM_RESPONSES)
    with pytest.raises(MalformedMessage):
        reader_of(interim * (MAX_INTERIM_RESPONSES + 1))
    with pytest.raises(MalformedMessage):
        reader_of(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")


def test_something_is_heard_from_the_first_byte_on() -> None:
    assert not ResponseReader(b"GET").heard
    assert reader_of(b"H").heard
    assert reader_of(b"HTTP/1.1 100 Continue\r\n\r\n").heard
    assert reader_of(OK).heard


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    reader = ResponseReader(b"GET")
    assert reader.receive(b"HTTP/1.0 200 OK\r\n\r\nab") == [b"ab"]
    assert reader.receive(b"c") == [b"c"]
    assert reader.start is not None
    assert (reader.start.framing, reader.finished, reader.start.persists) == (
        UNTIL_CLOSE,
        False,
        False,
    )


def test_an_answer_to_head_has_no_body() -> None:
    reader = ResponseReader(b"HEAD")
    assert reader.receive(OK) == []
    assert reader.finished
    assert reader.excess


def test_bytes_behind_the_end_are_noticed() -> None:
    reader = reader_of(OK)
    assert reader.finished
    assert not reader.excess
    reader.receive(b"x")
    assert reader.excess
    assert not ResponseReader(b"GET").excess


@pytest.mark.parametrize(
    ("line", "persists"),
    [
        (b"X: y", True),
        (b"Content-Length: 0", True),
        (b"Content-Length: 5", False),
        (b"Transfer-Encoding: chunked", False),
        (b"Connection: close", False),
    ],
)
def test_a_204_that_speaks_of_a_body_does_not_keep_its_connection(
    line: bytes, persists: bool
) -> None:
    """RFC 9110 8.6: what was announced may follow, and would be taken for the next answer."""
    reader = reader_of(b"HTTP/1.1 204 No Content\r\n" + line + b"\r\n\r\n")
    assert reader.finished
    assert reader.start is not None
    assert reader.start.persists is persists


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\n",
        b"SSH-2.0-OpenSSH_9.6\n",
        b"\x15\x03\x01\x00\x02\x02\x50",
        b"a" * MAX_RESPONSE_HEAD_BYTES,
        OK.replace(b"2\r\n", b"2\r\nTransfer-Encoding: chunked\r\n", 1),
    ],
)
def test_what_cannot_become_an_answer_is_refused_without_waiting(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        reader_of(data)


def test_a_heads_bound_counts_one_head() -> None:
    field = b"X: " + b"a" * (MAX_RESPONSE_HEAD_BYTES // 2) + b"\r\n\r\n"
    interim, final = b"HTTP/1.1 103 E\r\n" + field, b"HTTP/1.1 204 N\r\n" + field
    assert reader_of(interim * 3 + final).finished


@pytest.mark.parametrize(
    "interim",
    [b"HTTP/1.0 100 Continue\r\n\r\n", b"HTTP/1.1 103 Hints\r\nConnection: close\r\n\r\n"],
)
def test_an_interim_answer_that_would_end_its_connection_is_refused(interim: bytes) -> None:
    """HTTP/1.0 has none (RFC 9110 15.2), and parsers disagree whether anything may follow one that says close."""
    with pytest.raises(MalformedMessage):
        ResponseReader(b"GET").receive(interim + b"HTTP/1.1 204 No Content\r\n\r\n")
