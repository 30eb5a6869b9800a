"""
One message read by our room, by h11 and by llhttp (httptools), in one form, so that they can be compared.

May import this room's pure modules and the two oracles.
"""

from __future__ import annotations

from collections.abc import Iterable

import h11
import httptools
from attrs import field, frozen

from gptproxy.http.grammar import MalformedMessage
from gptproxy.http.request_reader import RequestReader
from gptproxy.http.response_reader import ResponseReader

Headers = tuple[tuple[bytes, bytes], ...]

__all__ = [
    "INCOMPLETE",
    "Message",
    "Refused",
    "h11_request",
    "h11_response",
    "llhttp_request",
    "llhttp_response",
    "our_request",
    "our_response",
]


@frozen
class Message:
    """
    :param start: method and target, or status.
    :param headers: names in lower case, values without the space around them.
    :param body: decoded.
    """

    start: tuple[bytes, ...]
    headers: Headers
    body: bytes


@frozen
class Refused:
    """
    :param reason: of no account when two are compared.
    """

    reason: str = field(eq=False)


INCOMPLETE = "incomplete"
Reading = Message | Refused | str


def our_request(pieces: Iterable[bytes]) -> Reading:
    """The first request among the bytes, as the room reads it."""
    reader, start, body = RequestReader(65_536), None, b""
    try:
        for piece in pieces:
            reader.feed(piece)
            if start is None:
                start = reader.read_head()
            if start is not None:
                body += b"".join(reader.read_body())
                if reader.body_finished:
                    head = start.head
                    return Message((head.method, head.target), head.fields, body)
    except MalformedMessage as malformed:
        return Refused(malformed.reason)
    return INCOMPLETE


def our_response(pieces: Iterable[bytes], method: bytes = b"GET") -> Reading:
    """The answer among the bytes, as the room reads it."""
    reader, body = ResponseReader(method), b""
    try:
        for piece in pieces:
            body += b"".join(reader.receive(piece))
            if reader.finished and reader.start is not None:
                head = reader.start.head
                return Message((b"%d" % head.status,), head.fields, body)
    except MalformedMessage as malformed:
        return Refused(malformed.reason)
    return INCOMPLETE


def h11_request(data: bytes) -> Reading:
    """The first request, as h11 reads it in the server's role."""
    return _h11(h11.Connection(h11.SERVER, max_incomplete_event_size=65_536), data)


def h11_response(data: bytes, method: bytes = b"GET") -> Reading:
    """The answer, as h11 reads it in the client's role."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=65_536)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"h")]))
    connection.send(h11.EndOfMessage())
    return _h11(connection, data)


def _h11(connection: h11.Connection, data: bytes) -> Reading:
    connection.receive_data(data)
    start: tuple[bytes, ...] = ()
    headers: Headers = ()
    body = b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return INCOMPLETE
            if isinstance(event, h11.Request):
                start, headers = (event.method, event.target), tuple(event.headers)
            elif isinstance(event, h11.Response):
                start, headers = (b"%d" % event.status_code,), tuple(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return Message(start, headers, body)
    except h11.RemoteProtocolError as error:
        return Refused(str(error))


class _Gathered:
    """What llhttp tells, of the first message."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False
        self.headers_done = False

    def on_url(self, url: bytes) -> None:
        if not self.complete:
            self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headers_done:
            self.headers.append((name.lower(), (value or b"").strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.headers_done = True

    def on_body(self, body: bytes) -> None:
        if not self.complete:
            self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def llhttp_request(data: bytes) -> Reading:
    """The first request, as llhttp reads it."""
    gathered = _Gathered()
    parser = httptools.HttpRequestParser(gathered)
    return _llhttp(parser, gathered, data, lambda: (parser.get_method(), gathered.target))


def llhttp_response(data: bytes) -> Reading:
    """The answer, as llhttp reads it."""
    gathered = _Gathered()
    parser = httptools.HttpResponseParser(gathered)
    return _llhttp(parser, gathered, data, lambda: (b"%d" % parser.get_status_code(),))


def _llhttp(parser, gathered, data, start) -> Reading:  # type: ignore[no-untyped-def]  # httptools has no types
    first: tuple[bytes, ...] | None = None
    # Byte by byte, so that what follows the first message cannot spoil it.
    for i in range(len(data)):
        try:
            parser.feed_data(data[i : i + 1])
        except httptools.HttpParserUpgrade:
            return Refused("upgrade")
        except httptools.HttpParserError as error:
            return Refused(str(error))
        if gathered.headers_done and first is None:
            first = start()
        if gathered.complete and first is not None:
            return Message(first, tuple(gathered.headers), gathered.body)
    return INCOMPLETE
