"""
The Site whose connections speak our grammar.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import frozen
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web import http, server
from twisted.web.resource import IResource, Resource

from gptproxy.http.answer_writer import RefusalPage
from gptproxy.http.channel import ServerChannel
from gptproxy.http.connection_limit import ConnectionLimit, RefusedConnection
from gptproxy.http.held_back import HeldBack
from gptproxy.http.request import Request
from gptproxy.http.site_channel import SiteChannel

__all__ = ["RefusalPage", "ServerTimeouts", "Site", "plain_refusal"]


class Turnstile(Protocol):
    """
    Who lets requests in.

    :ivar shedding: not all are; a variable, because every request looks at it.
    :ivar crowded: some have been turned away just now: there is no room for those that were before.
    """

    shedding: bool
    crowded: bool

    def turns_away(self, now: float) -> bool:
        """
        Asked while not all are let in.

        :param now: seconds.
        :return: whether the request that comes now is refused.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


_BY_CHILDREN = Resource.getChildWithDefault


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

    :ivar channels: the connections that there are.
    :ivar held_back: those of them that are not read from for a moment, because calls of theirs were turned away.
    :ivar draining: no connection is kept for another request.
    """

    requestFactory = Request  # type: ignore[assignment]  # it takes our channel, Twisted's takes Twisted's
    noisy = False
    turnstile: Turnstile | None = None
    """Knows when there is more to do than can be done; None: never."""
    busy_answer: Callable[[int], bytes] = staticmethod(lambda seconds: b"")
    """What calls that it turns away are answered, who are to come again in so many seconds: head and body, for a
    connection that is kept."""
    behind_proxy: Callable[[IAddress, Iterable[tuple[bytes, bytes]]], IAddress] | None = None
    """Tells, by a connection's other end and a request's fields, whose the request is; None: the other end's."""

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
        self.channels: set[SiteChannel] = set()
        self.held_back = HeldBack(clock, self._crowded)
        self.draining = False

    def getResourceFor(self, request: server.Request) -> IResource:
        """
        As Twisted's, without a call for each segment that was put there by ``putChild``.

        :param request: whose resource is looked for.
        :return: it.
        """
        request.site = self
        request.sitepath = []  # type: ignore[attr-defined]  # Twisted does not type it
        resource: Resource = self.resource
        postpath, prepath = request.postpath or [], request.prepath or []
        known = 0
        for segment in postpath:
            if (
                resource.isLeaf
                or getattr(type(resource), "getChildWithDefault", None) is not _BY_CHILDREN
                or segment not in resource.children
            ):
                break
            resource = resource.children[segment]
            known += 1
        prepath += postpath[:known]
        del postpath[:known]
        while postpath and not resource.isLeaf:
            segment = postpath.pop(0)
            prepath.append(segment)
            resource = resource.getChildWithDefault(segment, request)
        return resource

    def _crowded(self) -> bool:
        return self.turnstile is not None and self.turnstile.crowded

    @property
    def busy(self) -> bool:
        """A request is answered or may be on its way, or an answer's bytes are."""
        return any(channel.busy for channel in self.channels)

    def drain(self) -> None:
        """Keep no connection any longer than for what is under way on it."""
        self.draining = True
        self.held_back.release_all()
        for channel in list(self.channels):
            channel.drain()

    def close_connections(self) -> None:
        """Close those that wait for a request, or for the rest of one."""
        for channel in list(self.channels):
            channel.close_unasked()

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
        return RefusedConnection() if place is None else SiteChannel(self, place)
