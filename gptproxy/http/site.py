"""
The Site whose connections speak our grammar.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import IResource

from gptproxy.http.answer_writer import RefusalPage
from gptproxy.http.channel import ServerChannel
from gptproxy.http.connection_limit import ConnectionLimit, Place, RefusedConnection
from gptproxy.http.request import Request

__all__ = ["RefusalPage", "ServerTimeouts", "Site", "plain_refusal"]


@frozen
class ServerTimeouts:
    """
    All in seconds.

    :param header: from the first byte of a request, or the connection's start, to the end of its headers.
    :param body_idle: between two reads of a body.
    :param keep_alive_idle: between two requests.
    """

    header: float = 30.0
    body_idle: float = 60.0
    keep_alive_idle: float = 90.0


def plain_refusal(status: int, reason: str) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """
    The default :data:`RefusalPage`: plain text.

    :param status: status code.
    :param reason: one sentence.
    :return: headers and body.
    """
    return ((b"content-type", b"text/plain; charset=utf-8"),), reason.encode() + b"\n"


class _CountedChannel(ServerChannel):
    """
    A channel that takes up a place as long as its connection lasts.

    :param site: whose resources answer.
    :param place: its own.
    """

    def __init__(self, site: Site, place: Place) -> None:
        super().__init__(site)
        self._place = place

    def connectionMade(self) -> None:
        self._place.take()
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._place.leave()
        super().connectionLost(reason)


class Site(server.Site):
    """
    A Twisted Site whose connections are :class:`~gptproxy.http.channel.ServerChannel`.

    :param resource: the root of the resource tree.
    :param clock: for the timeouts.
    :param timeouts: how long a client may take.
    :param header_limit_bytes: a head larger than this is answered 431.
    :param body_limit_bytes: bound for resources that want their body complete; those rendered at the headers set
        their own.
    :param refusal_page: how refusals of the room's own are worded.
    :param connection_limit: how many clients may be connected.
    """

    requestFactory = Request  # type: ignore[assignment]  # it takes our channel, Twisted's takes Twisted's
    noisy = False

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        *,
        timeouts: ServerTimeouts | None = None,
        header_limit_bytes: int = 65_536,
        body_limit_bytes: int = 1_048_576,
        refusal_page: RefusalPage = plain_refusal,
        connection_limit: ConnectionLimit | None = None,
    ) -> None:
        super().__init__(resource, reactor=clock)
        self.clock = clock
        self.timeouts = timeouts or ServerTimeouts()
        self.header_limit_bytes = header_limit_bytes
        self.body_limit_bytes = body_limit_bytes
        self.refusal_page = refusal_page
        self.connection_limit = connection_limit or ConnectionLimit(clock)

    def startFactory(self) -> None:
        """Nothing: the access line is written where the call is known, not here."""

    def stopFactory(self) -> None:
        """Nobody listens any more, and nobody will be refused."""
        self.connection_limit.stop()

    def log(self, request: http.Request) -> None:
        """
        Nothing, as :meth:`startFactory` says.

        :param request: what was answered.
        """

    def acceptableProtocols(self) -> list[bytes]:
        """:return: HTTP/1.1 alone, whether or not an HTTP/2 library is installed."""
        return [b"http/1.1"]

    # mypy: Twisted types this as the proxy in front of its own two channels, which is what is replaced here.
    def buildProtocol(  # type: ignore[override]  # see above
        self, addr: IAddress | None
    ) -> ServerChannel | RefusedConnection:
        """
        :param addr: the client's.
        :return: a channel for it. Where there is no place it is a protocol all the same: factories that wrap this one,
            Twisted's for TLS and for PROXY among them, cannot do with None.
        """
        place = self.connection_limit.place(addr)
        return RefusedConnection() if place is None else _CountedChannel(self, place)
