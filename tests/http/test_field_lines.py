"""Field lines are read alike whether they are known or not, and no secret is kept."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.http import field_lines
from gptproxy.http.field_lines import (
    KNOWN_LINE_BYTES,
    KNOWN_LINES,
    MAX_FIELDS,
    MalformedMessage,
    read_field_lines,
)


def test_a_line_is_a_name_in_lower_case_and_a_value_without_the_space_around_it() -> None:
    lines = [b"Accept: \t a b\t ", b"ACCEPT:", b"x-a:b", b"X-Stainless-Lang: python"]
    expected = (
        (b"accept", b"a b"),
        (b"accept", b""),
        (b"x-a", b"b"),
        (b"x-stainless-lang", b"python"),
    )
    assert read_field_lines(lines) == expected
    assert read_field_lines(lines) == expected


@pytest.mark.parametrize(
    "line", [b"", b":a", b"a", b"a b: c", b"a : b", b"a: \x00", b"a: \r", b" a: b"]
)
def test_what_is_no_line_is_refused_each_time(line: bytes) -> None:
    for _ in range(2):
        with pytest.raises(MalformedMessage):
            read_field_lines([line])


def test_lines_are_counted_before_they_are_read() -> None:
    assert len(read_field_lines([b"a: b"] * MAX_FIELDS)) == MAX_FIELDS
    with pytest.raises(MalformedMessage) as caught:
        read_field_lines([b"no line"] * (MAX_FIELDS + 1))
    assert caught.value.status == 431


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"Authentication",
        b"Api-Key",
        b"Private-Token",
        b"Job-Token",
        b"Deploy-Token",
        b"Cookie",
        b"Set-Cookie",
        b"X-Api-Key",
        b"Proxy-Authorization",
        b"Openai-Organization",
        b"Anything-Else",
    ],
)
def test_what_may_be_secret_is_not_kept(name: bytes) -> None:
    line = name + b": Bearer a-secret-token"
    read_field_lines([line])
    assert line not in field_lines._known
    assert not any(b"a-secret-token" in kept for kept in field_lines._known)


def test_what_is_kept_is_bounded_in_number_and_length() -> None:
    read_field_lines([b"accept: " + b"x" * KNOWN_LINE_BYTES])
    for number in range(KNOWN_LINES + 10):
        read_field_lines([b"user-agent: a client of version %d" % number])
        assert len(field_lines._known) <= KNOWN_LINES
    assert all(len(line) <= KNOWN_LINE_BYTES for line in field_lines._known)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from((b"Accept", b"X-Secret", b"host")), st.binary(max_size=20))
def test_the_second_reading_is_the_first(name: bytes, value: bytes) -> None:
    def read() -> object:
        try:
            return read_field_lines([name + b":" + value])
        except MalformedMessage as malformed:
            return malformed.status

    assert read() == read()
