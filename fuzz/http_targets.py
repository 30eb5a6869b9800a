"""
The HTTP room's readers, with h11 and llhttp (httptools) as oracles, and urllib for addresses.

May import the room's pure modules and the oracles of its tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import httptools

from fuzz.checking import Finding, Target
from gptproxy.http.bodies import ChunkedDecoder
from gptproxy.http.grammar import MalformedMessage, is_request_line
from gptproxy.http.origin import InvalidURL, split_url
from gptproxy.http.request_reader import RequestReader
from gptproxy.http.response_reader import ResponseReader
from gptproxy.http.target import parse_target
from tests.http.messages import METHODS
from tests.http.oracles import (
    Message,
    Reading,
    Refused,
    difference,
    h11_request,
    h11_response,
    llhttp_request,
    llhttp_response,
    our_request,
    our_response,
)

__all__ = ["CHUNKED_BODIES", "REQUESTS", "RESPONSES", "URLS"]

_CHUNKED_REQUEST: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNKED_RESPONSE: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_HEADER_LIMIT_BYTES: Final = 65_536
_REFUSED: Final = "refused"


def _agree(ours: Reading, theirs: Reading, data: bytes, oracle: str) -> None:
    found = difference(ours, theirs, data)
    if found is not None:
        raise Finding(f"{oracle}: {found}")


def _read_requests(pieces: Sequence[bytes]) -> object:
    """Everything a connection brings, request after request."""
    reader = RequestReader(_HEADER_LIMIT_BYTES)
    told: list[object] = []
    body: list[bytes] = []
    in_body = False
    try:
        for piece in pieces:
            reader.feed(piece)
            while True:
                if not in_body:
                    start = reader.read_head()
                    if start is None:
                        break
                    told.append(start)
                    body, in_body = [], True
                body += reader.read_body()
                if not reader.body_finished:
                    break
                told.append(b"".join(body))
                in_body = False
    except MalformedMessage:
        # What came of a body before its fault depends on the split, and is of no account.
        return told, _REFUSED
    return told, b"".join(body) if in_body else reader.waiting_bytes


def _compare_request(data: bytes) -> None:
    ours = our_request([data])
    # Looser, because RFC 9112 2.2 asks for it: one empty line before the request line, which h11 refuses.
    _agree(ours, h11_request(data.removeprefix(b"\r\n")), data, "h11")
    # Looser, because RFC 9110 9.1 leaves methods open: llhttp has a list of its own.
    if not isinstance(ours, Message) or ours.start[0] in METHODS:
        theirs = llhttp_request(data)
        # Looser, because RFC 9110 7.8 lets a server pass over Upgrade, as it does here; llhttp stops at one.
        if not (isinstance(theirs, Refused) and theirs.reason == "upgrade"):
            _agree(ours, theirs, data, "llhttp")


def _read_response(pieces: Sequence[bytes]) -> object:
    """The answer to a GET, and to a HEAD."""
    return [_read_one_response(pieces, method) for method in (b"GET", b"HEAD")]


def _read_one_response(pieces: Sequence[bytes], method: bytes) -> object:
    reader, body, excess = ResponseReader(method), [], False
    try:
        for piece in pieces:
            if reader.finished:
                excess = True
                break
            body += reader.receive(piece)
    except MalformedMessage:
        return _REFUSED
    return reader.start, b"".join(body), reader.finished, excess or reader.excess, reader.heard


def _compare_response(data: bytes) -> None:
    ours = our_response([data])
    _agree(ours, h11_response(data), data, "h11")
    _agree(ours, llhttp_response(data), data, "llhttp")
    _agree(our_response([data], b"HEAD"), h11_response(data, b"HEAD"), data, "h11, HEAD")


def _read_chunked(pieces: Sequence[bytes]) -> object:
    return [_read_one_chunked(pieces, trailers=trailers) for trailers in (False, True)]


def _read_one_chunked(pieces: Sequence[bytes], *, trailers: bool) -> object:
    decoder, body, behind = ChunkedDecoder(trailers=trailers), [], []
    try:
        for piece in pieces:
            if decoder.finished:
                behind.append(piece)
            else:
                body += decoder.receive(piece)
    except MalformedMessage:
        return _REFUSED
    if b"" in body:
        raise Finding("a piece is empty")
    return b"".join(body), decoder.finished, decoder.remainder + b"".join(behind)


def _compare_chunked(data: bytes) -> None:
    _compare_request(_CHUNKED_REQUEST + data)
    _compare_response(_CHUNKED_RESPONSE + data)


def _read_urls(pieces: Sequence[bytes]) -> object:
    data = b"".join(pieces)
    for read in (split_url, parse_target):
        try:
            read(data)
        except (InvalidURL, MalformedMessage):
            continue
    return is_request_line(b"GET", data)


def _compare_url(data: bytes) -> None:
    try:
        origin, target = split_url(data)
    except InvalidURL:
        pass
    else:
        # Neither oracle tells an empty query from none.
        path, _, query = target.partition(b"?")
        ours = _canonical(origin.secure, origin.host, origin.port, path, query)
        # Looser, because RFC 3986 3.2.2 allows it and container networks use it: an underscore, which llhttp refuses.
        oracles = [_by_urllib] if "_" in origin.host else [_by_urllib, _by_llhttp]
        for theirs in (oracle(data) for oracle in oracles):
            if theirs != ours:
                raise Finding(f"{data!r} is read as {ours}, elsewhere as {theirs}")
        if not is_request_line(b"GET", target):
            raise Finding(f"{target!r} cannot be sent")
    if is_request_line(b"GET", data):
        _compare_target(data)


def _by_llhttp(url: bytes) -> object:
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as error:
        return error
    secure = parsed.schema == b"https"
    return _canonical(
        secure, parsed.host.decode(), parsed.port, parsed.path or b"", parsed.query or b""
    )


def _by_urllib(url: bytes) -> object:
    try:
        parsed = urlsplit(url)
        host, port = parsed.hostname, parsed.port
    except ValueError as error:
        return error
    return _canonical(
        parsed.scheme == b"https", (host or b"").decode(), port, parsed.path, parsed.query
    )


def _canonical(secure: bool, host: str, port: int | None, path: bytes, query: bytes) -> object:
    target = (path or b"/") + (b"?" + query if query else b"")
    return secure, host.lower(), port or (443 if secure else 80), target


def _compare_target(data: bytes) -> None:
    try:
        target = parse_target(data)
    except MalformedMessage:
        return
    oracle = httptools.parse_url(data)
    if (oracle.path, oracle.query or b"") != (target.path, target.query):
        raise Finding(f"{data!r} is read as {target}, by llhttp as {oracle}")
    if [unquote_to_bytes(part) for part in target.path.strip(b"/").split(b"/") if part] != list(
        target.segments
    ):
        raise Finding(f"{target.segments} are not the path's segments")
    for segment in target.segments:
        # Whoever decodes once more still finds no way out of the path.
        for part in unquote_to_bytes(segment).split(b"/"):
            if part in (b"", b".", b"..") or b"\\" in part or min(part) < 0x20 or b"\x7f" in part:
                raise Finding(f"{segment!r} can be read in two ways")
        if unquote_to_bytes(segment).count(b"/") != segment.count(b"/"):
            raise Finding(f"{segment!r} hides a slash")


REQUESTS = Target("requests", _read_requests, _compare_request)
RESPONSES = Target("responses", _read_response, _compare_response)
CHUNKED_BODIES = Target("chunked", _read_chunked, _compare_chunked)
URLS = Target("urls", _read_urls, _compare_url, incremental=False)
