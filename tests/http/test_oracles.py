"""What we accept, h11 and llhttp read alike; what we refuse and they accept is listed here with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs
import pytest
from hypothesis import HealthCheck, given, settings

from tests.http.messages import METHODS, mutated, requests, responses
from tests.http.oracles import (
    Message,
    Reading,
    Refused,
    h11_request,
    h11_response,
    llhttp_request,
    llhttp_response,
    our_request,
    our_response,
)

_COMMON = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# We are stricter, because: our reason for a refusal, then why another parser's answer is not ours. The values say where
# the strictness comes from.
STRICTER = {
    "a request has exactly one Host header": "RFC 9112 3.2: 400, which llhttp leaves to its user",
    "the Host header is not a valid host": "RFC 9112 3.2: 400 for an invalid one; both oracles take any text",
    "the path has an empty or a dot segment": "two readings of one path are how requests slip past a check",
    "the path has a control character or a backslash": "the same",
    "the path is percent-encoded twice": "the same",
    "the path is not UTF-8": "the same: overlong dots and slashes",
    "CONNECT has no target in origin-form": "RFC 9112 3.2.3",
    "Content-Length is one number": "RFC 9112 6.3 lets equal ones pass; one of two parsers always takes another",
    "Content-Length and Transfer-Encoding exclude each other": "RFC 9112 6.1: may be refused, as an attack",
    "HTTP/1.0 has no Transfer-Encoding": "RFC 9112 6.1: the framing is faulty",
    "the only Transfer-Encoding understood is chunked": "RFC 9112 6.1: what is not understood is an error",
    "trailers are not accepted": "requests have no use for them",
    "a chunk's size line does not follow HTTP/1.1's grammar": "RFC 9112 7.1.1: extensions are tokens or quoted",
}

_LINE = rb"\A(?:\r\n)?([^ ]+) ([^ ]+) HTTP/1\.[01]\r\n"
_SAFE_TARGET = re.compile(rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _head(data: bytes) -> bytes:
    """All that any of the parsers may have taken for the head."""
    return re.split(rb"\r?\n\r?\n", data.lstrip(b"\r\n"), maxsplit=1)[0]


def _foreign_target(data: bytes) -> bool:
    match = re.match(_LINE, data)
    return match is not None and _SAFE_TARGET.fullmatch(match.group(2)) is None


# The same for heads, which we refuse as a whole: what may be wrong with one that an oracle takes.
HEAD_REASONS: dict[str, Callable[[bytes], object]] = {
    "a bare LF ends no line (RFC 9112 2.2 allows it, smugglers use it)": (
        lambda data: re.search(rb"(?<!\r)\n", data)
    ),
    "a bare CR is no part of a line (RFC 9112 2.2)": lambda data: re.search(rb"\r(?!\n)", data),
    "control characters are no part of a value (RFC 9110 5.5)": (
        lambda data: _CONTROL.search(_head(data))
    ),
    "only origin-form, of RFC 3986's characters": _foreign_target,
    "folded lines are obsolete (RFC 9112 5.2)": lambda data: re.search(rb"\r\n[ \t]", data),
    "one empty line may come before a request, not more (RFC 9112 2.2)": (
        lambda data: data.startswith(b"\r\n")
    ),
    "a method has at most 24 letters": lambda data: len(data.partition(b" ")[0]) > 24,
    "a first line has three parts, with one space between them (RFC 9112 3 and 4)": (
        lambda data: re.match(rb"[^ \t\r\n]+ [^ \t\r\n]+(?: |\r\n)", data) is None
    ),
    "HTTP/1.0 and HTTP/1.1 are all there is": (
        lambda data: re.match(rb"(?:[^\r\n]* )?HTTP/1\.[01][ \r]", data) is None
    ),
}


def _explained(refusal: Refused, data: bytes) -> bool:
    if refusal.reason.endswith("head does not follow HTTP/1.1's grammar"):
        return any(holds(data) for holds in HEAD_REASONS.values())
    return refusal.reason in STRICTER


def _canonical(reading: Reading) -> Reading:
    """h11 writes this one value in lower case."""
    if not isinstance(reading, Message):
        return reading
    headers = tuple(
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in reading.headers
    )
    return attrs.evolve(reading, headers=headers)


def _compare(ours: Reading, theirs: Reading, data: bytes) -> None:
    if isinstance(ours, Message):
        assert _canonical(theirs) == _canonical(ours)
    elif isinstance(theirs, Message):
        assert isinstance(ours, Refused), "we wait where another has all it needs"
        assert _explained(ours, data), ours.reason


@_COMMON
@given(requests())
def test_valid_requests_are_accepted_by_all_three(data: bytes) -> None:
    ours = our_request([data])
    assert isinstance(ours, Message)
    _compare(ours, h11_request(data), data)
    _compare(ours, llhttp_request(data), data)


@_COMMON
@given(mutated(requests()))
def test_h11_reads_every_request_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    # Looser, because RFC 9112 2.2 asks for it: one empty line before the request line, which h11 refuses.
    _compare(our_request([data]), h11_request(data.removeprefix(b"\r\n")), data)


@_COMMON
@given(mutated(requests()))
def test_llhttp_reads_every_request_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    ours = our_request([data])
    if isinstance(ours, Message) and ours.start[0] not in METHODS:
        # Looser, because RFC 9110 9.1 leaves methods open: llhttp has a list of its own.
        return
    _compare(ours, llhttp_request(data), data)


@_COMMON
@given(responses())
def test_valid_responses_are_accepted_by_all_three(data: bytes) -> None:
    ours = our_response([data])
    assert isinstance(ours, Message)
    _compare(ours, h11_response(data), data)
    _compare(ours, llhttp_response(data), data)


@_COMMON
@given(mutated(responses()))
def test_h11_reads_every_response_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    _compare(our_response([data]), h11_response(data), data)


@_COMMON
@given(mutated(responses()))
def test_llhttp_reads_every_response_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    _compare(our_response([data]), llhttp_response(data), data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HEAD /x HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_plain_requests_are_read_alike_by_all_three(data: bytes) -> None:
    ours = our_request([data])
    assert isinstance(ours, Message)
    assert ours == h11_request(data) == llhttp_request(data)
