"""
A client in memory of a Site of ours, and resources that do as a test says.

May import this room, Twisted and h11 (which reads the answers).
"""

from __future__ import annotations

from collections.abc import Callable

import h11
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from gptproxy.http import IBodyReceiver, IRenderedAtHeaders, IRequestBody, Request, Site
from gptproxy.http.site import ServerTimeouts
from tests.http.memory import MemoryTLSTransport, MemoryTransport

TIMEOUTS = ServerTimeouts(header=30.0, body_idle=60.0, keep_alive_idle=90.0)


@frozen
class Answer:
    """
    :param status: status code.
    :param headers: names in lower case.
    :param body: decoded.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Rendered(Resource):
    """
    A leaf that hands each request to a function.

    :param render: gets the request; what it returns is the answer's body, None for "not yet".
    """

    isLeaf = True

    def __init__(self, render: Callable[[Request], bytes | None]) -> None:
        super().__init__()
        self._render = render
        self.requests: list[Request] = []
        self.ends: list[object] = []

    def render(self, request: Request) -> bytes | int:
        self.requests.append(request)
        finished: Deferred[None] = request.notifyFinish()
        finished.addCallbacks(
            lambda _: self.ends.append("finished"), lambda reason: self.ends.append(reason.type)
        )
        answer = self._render(request)
        return NOT_DONE_YET if answer is None else answer


@implementer(IRenderedAtHeaders)
class EarlyRendered(Rendered):
    """The same at the headers."""


@implementer(IBodyReceiver)
class Receiver:
    """Notes what it gets of a body."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.end: object = None

    def body_piece(self, piece: bytes) -> None:
        self.pieces.append(piece)

    def body_finished(self) -> None:
        assert self.end is None
        self.end = "finished"

    def body_failed(self, reason: Failure) -> None:
        assert self.end is None
        self.end = reason.type


class Client:
    """
    One connection to a site.

    :param resource: the site's root.
    :param tls: over TLS.
    :param site_options: as Site's.
    """

    def __init__(self, resource: Resource, *, tls: bool = False, **site_options: object) -> None:
        self.clock = Clock()
        site_options.setdefault("timeouts", TIMEOUTS)
        self.site = Site(resource, self.clock, **site_options)  # type: ignore[arg-type]  # as Site's own
        self.transport = MemoryTLSTransport() if tls else MemoryTransport()
        self.channel = self.site.buildProtocol(None)
        self.transport.connect(self.channel)

    def send(self, *pieces: bytes) -> None:
        """:param pieces: bytes as they arrive."""
        self.transport.deliver(*pieces)

    def wait(self, seconds: float) -> None:
        """:param seconds: on the clock."""
        self.clock.advance(seconds)
        self.transport.settle()

    def answers(self, *methods: bytes) -> list[Answer]:
        """
        :param methods: those of the requests that were answered; GET for one where none is named.
        :return: what has been received, which must be exactly that.
        """
        self.transport.settle()
        data, found = self.transport.take(), []
        for method in methods or (b"GET",):
            answer, data = read_answer(data, method, closed=self.transport.half_closed)
            found.append(answer)
        assert data == b"", data
        return found

    def answer(self, method: bytes = b"GET") -> Answer:
        """:return: the only answer."""
        return self.answers(method)[0]

    @property
    def ended(self) -> bool:
        """The server has closed or reset the connection."""
        return self.transport.half_closed or self.transport.lost is not None

    def check_nothing_is_left(self) -> None:
        """Leave, and see that no delayed call and no producer outlives the connection."""
        self.transport.leave()
        assert self.clock.getDelayedCalls() == []
        assert self.transport.producer is None


def read_answer(data: bytes, method: bytes, *, closed: bool) -> tuple[Answer, bytes]:
    """
    :param data: what a client has received.
    :param method: of its request.
    :param closed: and that is all it will receive.
    :return: the first answer, interim ones passed over, and what is behind it.
    """
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    if closed:
        connection.receive_data(b"")
    status, headers, body = 0, {}, b""
    while True:
        event = connection.next_event()
        assert event is not h11.NEED_DATA, data
        if isinstance(event, h11.Response):
            status, headers = event.status_code, dict(event.headers)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            return Answer(status, headers, body), connection.trailing_data[0]


def collected(request: Request, limit: int = 1_000) -> list[object]:
    """
    Read a request's body.

    :return: gets the body, or the class of the failure.
    """
    results: list[object] = []
    body = IRequestBody(request).collect(limit)
    body.addCallbacks(results.append, lambda reason: results.append(reason.type))
    return results
