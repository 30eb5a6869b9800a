"""
One message read by our room, by h11 and by llhttp (httptools), in one form, so that they can be compared; and the
list of reasons why ours may refuse what another reads.

May import this room's pure modules and the two oracles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import attrs
import h11
import httptools
from attrs import field, frozen

from gptproxy.http.grammar import MalformedMessage
from gptproxy.http.request_reader import RequestReader
from gptproxy.http.response_reader import ResponseReader

Headers = tuple[tuple[bytes, bytes], ...]

__all__ = [
    "HEAD_REASONS",
    "INCOMPLETE",
    "STRICTER",
    "Message",
    "Reading",
    "Refused",
    "difference",
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
    if data:
        # Nothing at all would be the connection's end.
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
        self.forget()

    def forget(self) -> None:
        """Start again: what came was an interim answer."""
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
        if gathered.complete and first is not None and len(first[0]) == 3 and first[0][:1] == b"1":
            gathered.forget()
            first = None
        elif gathered.complete and first is not None:
            return Message(first, tuple(gathered.headers), gathered.body)
    return INCOMPLETE


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
    "the trailer does not follow HTTP/1.1's grammar": "RFC 9112 7.1.2: its lines are those of a head",
    "an interim response that would end its connection": "RFC 9110 15.2; llhttp lets nothing follow it",
    "a chunk's size line does not follow HTTP/1.1's grammar": "RFC 9112 7.1.1: extensions are tokens or quoted",
}

_LINE = rb"\A(?:\r\n)?([^ ]+) ([^ ]+) HTTP/1\.[01]\r\n"
_SAFE_TARGET = re.compile(rb"/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def _head(data: bytes) -> bytes:
    """All that any of the parsers may have taken for the head, with the line ends around it."""
    start = len(data) - len(data.lstrip(b"\r\n"))
    end = re.compile(rb"\r?\n\r?\n").search(data, start)
    return data[: end.end()] if end else data


_INTERIM = re.compile(rb"\A(?:HTTP/1\.[01] 1[0-9]{2}[^\r\n]*+\r\n(?:[^\r\n]++\r\n)*+\r\n)")


def _from_each_head(data: bytes) -> Iterator[bytes]:
    """Interim answers come before the one that the oracles read; ours may have refused any of them."""
    yield data
    while interim := _INTERIM.match(data):
        data = data[interim.end() :]
        yield data


def _foreign_target(data: bytes) -> bool:
    match = re.match(_LINE, data)
    return match is not None and _SAFE_TARGET.fullmatch(match.group(2)) is None


# The same for heads, which we refuse as a whole: what may be wrong with one that an oracle takes.
HEAD_REASONS: dict[str, Callable[[bytes], object]] = {
    "a bare LF ends no line (RFC 9112 2.2 allows it, smugglers use it)": (
        lambda data: re.search(rb"(?<!\r)\n", _head(data))
    ),
    "a bare CR is no part of a line (RFC 9112 2.2)": lambda data: re.search(
        rb"\r(?!\n)", _head(data)
    ),
    "control characters are no part of a value (RFC 9110 5.5)": (
        lambda data: _CONTROL.search(_head(data))
    ),
    "only origin-form, of RFC 3986's characters": _foreign_target,
    "folded lines are obsolete (RFC 9112 5.2)": lambda data: re.search(rb"\r\n[ \t]", _head(data)),
    "one empty line may come before a request, not more (RFC 9112 2.2)": (
        lambda data: re.match(rb"\r?\n(?:\r?\n|HTTP/)", data)
    ),
    "a method has at most 24 letters": lambda data: len(data.lstrip().partition(b" ")[0]) > 24,
    "a first line has three parts, with one space between them (RFC 9112 3 and 4)": (
        lambda data: re.match(rb"(?:\r\n)?[^ \t\r\n]+ [^ \t\r\n]+(?: [^ \t]|\r\n)", data) is None
    ),
    "a status has three digits and starts at 100 (RFC 9112 4, RFC 9110 15)": (
        lambda data: re.match(rb"HTTP/1\.[01] (?![1-9][0-9]{2}[ \r])", data)
    ),
    "HTTP/1.0 and HTTP/1.1 are all there is": (
        lambda data: (
            re.match(rb"(?:\r\n)?(?:HTTP/1\.[01] |(?!HTTP/)[^\r\n]* HTTP/1\.[01]\r)", data) is None
        )
    ),
}


def _explained(refusal: Refused, data: bytes) -> bool:
    if refusal.reason.endswith("head does not follow HTTP/1.1's grammar"):
        return any(holds(rest) for rest in _from_each_head(data) for holds in HEAD_REASONS.values())
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


def difference(ours: Reading, theirs: Reading, data: bytes) -> str | None:
    """
    :param ours: our reading of the message in ``data``.
    :param theirs: an oracle's.
    :return: None where they agree or ours is stricter with a reason; else what has neither.
    """
    if isinstance(ours, Message):
        if _canonical(theirs) != _canonical(ours):
            return f"we read {ours}, they {theirs}"
    elif isinstance(theirs, Message):
        if not isinstance(ours, Refused):
            return f"we wait where another has all it needs: {theirs}"
        if not _explained(ours, data):
            return f"we refuse without a listed reason ({ours.reason}) what they read as {theirs}"
    return None
