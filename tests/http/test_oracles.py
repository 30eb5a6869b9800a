"""What we accept, h11 and llhttp read alike; what we refuse and they accept is listed in the oracles' module."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.http.messages import METHODS, mutated, requests, responses
from tests.http.oracles import (
    Message,
    difference,
    h11_request,
    h11_response,
    llhttp_request,
    llhttp_response,
    our_request,
    our_response,
)

_COMMON = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_COMMON
@given(requests())
def test_valid_requests_are_accepted_by_all_three(data: bytes) -> None:
    ours = our_request([data])
    assert isinstance(ours, Message)
    assert difference(ours, h11_request(data), data) is None
    assert difference(ours, llhttp_request(data), data) is None


@_COMMON
@given(mutated(requests()))
def test_h11_reads_every_request_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    # Looser, because RFC 9112 2.2 asks for it: one empty line before the request line, which h11 refuses.
    assert difference(our_request([data]), h11_request(data.removeprefix(b"\r\n")), data) is None


@_COMMON
@given(mutated(requests()))
def test_llhttp_reads_every_request_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    ours = our_request([data])
    if isinstance(ours, Message) and ours.start[0] not in METHODS:
        # Looser, because RFC 9110 9.1 leaves methods open: llhttp has a list of its own.
        return
    assert difference(ours, llhttp_request(data), data) is None


@_COMMON
@given(responses())
def test_valid_responses_are_accepted_by_all_three(data: bytes) -> None:
    ours = our_response([data])
    assert isinstance(ours, Message)
    assert difference(ours, h11_response(data), data) is None
    assert difference(ours, llhttp_response(data), data) is None


@_COMMON
@given(mutated(responses()))
def test_h11_reads_every_response_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    assert difference(our_response([data]), h11_response(data), data) is None


@_COMMON
@given(mutated(responses()))
def test_llhttp_reads_every_response_that_we_accept_and_reads_it_alike(data: bytes) -> None:
    assert difference(our_response([data]), llhttp_response(data), data) is None


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
