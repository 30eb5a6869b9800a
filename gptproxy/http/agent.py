"""
The client: an :class:`~twisted.web.iweb.IAgent` over our own connections, kept for the next request.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.error import TimeoutError as ConnectTimedOut
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from gptproxy.http.client_connection import ClientConnection, ResponseNeverReceived
from gptproxy.http.grammar import Fields, is_request_line
from gptproxy.http.immediate import ImmediateTLSFactory
from gptproxy.http.interfaces import IReactor
from gptproxy.http.origin import Origin, split_url
from gptproxy.http.request_producer import BytesBody
from gptproxy.http.response import ClientRequest, Response
from gptproxy.http.timer import Timer

__all__ = ["Agent", "ClientTimeouts", "ConnectFailed"]

MAX_IDLE_PER_ORIGIN = 100
"""Connections kept for one origin: a cache, not a limit. So many calls at once are a big company's."""

MAX_TLS_SETTINGS = 100
"""Hosts whose TLS settings are kept. In pure proxy mode the callers name the hosts, so there must be a bound."""

_OWN_FIELDS = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection"))


class ConnectFailed(Exception):
    """
    No connection: not a byte of the request was sent.

    :param origin: where to.
    :param cause: why not.
    """

    def __init__(self, origin: Origin, cause: Failure) -> None:
        super().__init__(
            f"no connection to {origin.host}:{origin.port}: {type(cause.value).__name__}"
        )
        self.origin = origin
        self.cause = cause


@frozen
class ClientTimeouts:
    """
    All in seconds.

    :param connect: name look-up, TCP and TLS together.
    :param first_byte: from the request sent to the end of the answer's headers.
    :param idle: how long a connection is kept without a request. Shorter than any upstream's own limit that is known
        (Azure's is 120 to 240 s), so that the end is ours.
    """

    connect: float = 5.0
    first_byte: float = 600.0
    idle: float = 60.0


@implementer(IAgent)
class Agent:
    """
    Sends requests, each on a connection of its own while it lasts.

    No redirects are followed, no cookies kept, nothing decoded.

    :param reactor: connects, and is the clock.
    :param trust: host name to what verifies that host's certificate.
    :param timeouts: how long things may take.
    """

    def __init__(
        self,
        reactor: IReactor,
        trust: Callable[[str], IOpenSSLClientConnectionCreator],
        timeouts: ClientTimeouts | None = None,
    ) -> None:
        self._reactor = reactor
        self._trust = trust
        self._timeouts = timeouts or ClientTimeouts()
        self._idle: dict[Origin, list[ClientConnection]] = {}
        self._creators: dict[str, IOpenSSLClientConnectionCreator] = {}
        self._closed = False

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """
        :param method: the method.
        :param uri: an absolute URL.
        :param headers: the fields; Host and those of framing are the agent's own.
        :param bodyProducer: the body.
        :return: as :meth:`ask`; fails with :class:`~gptproxy.http.origin.InvalidURL` too.
        """
        fields = tuple(
            (name.lower(), value)
            for name, values in (headers or Headers()).getAllRawHeaders()
            for value in values
        )
        return Deferred.fromCoroutine(self._request(method, uri, fields, bodyProducer))

    async def _request(
        self, method: bytes, uri: bytes, fields: Fields, body: IBodyProducer | None
    ) -> IResponse:
        origin, target = split_url(uri)
        return await self.ask(method, origin, target, fields, body)

    async def ask(
        self,
        method: bytes,
        origin: Origin,
        target: bytes,
        fields: Iterable[tuple[bytes, bytes]],
        body: IBodyProducer | None = None,
    ) -> Response:
        """
        Send a request as it stands and wait for the answer's headers.

        A kept connection that turns out to be closed is nobody's fault: the request is sent once
        more on a fresh one, if its body can be.

        :param method: the method.
        :param origin: the server.
        :param target: in origin-form.
        :param fields: field lines, names in lower case. Host, Content-Length, Transfer-Encoding and Connection among
            them are replaced by the agent's own.
        :param body: the body.
        :return: the answer; its body waits to be taken.
        :raise ConnectFailed: nothing was sent.
        :raise ResponseNeverReceived: the connection ended before a byte of the answer.
        :raise FirstByteTimeout: the answer's headers did not come in time.
        :raise MalformedMessage: the answer is not HTTP, or ended inside its headers.
        :raise ValueError: what is asked does not follow HTTP's grammar; nothing was sent.
        :raise Exception: whatever else the body's producer failed with.
        """
        head = _request_head(method, origin, target, fields, body)
        request = ClientRequest(
            method,
            b"%b://%b%b" % (b"https" if origin.secure else b"http", origin.authority, target),
            Headers(),
        )
        if isinstance(body, BytesBody):
            # One write, one segment.
            head, sent_body = head + body.data, None
        else:
            sent_body = body
        connection = self._take(origin)
        if connection is not None:
            try:
                return await connection.ask(request, head, sent_body, self._timeouts.first_byte)
            except ResponseNeverReceived:
                if sent_body is not None:
                    raise
        connection = await self._connect(origin)
        return await connection.ask(request, head, sent_body, self._timeouts.first_byte)

    def close(self) -> None:
        """Drop the connections that are kept, and keep none from now on: those in use end with their requests."""
        self._closed = True
        for connections in list(self._idle.values()):
            for connection in list(connections):
                connection.abort()

    def _take(self, origin: Origin) -> ClientConnection | None:
        """:return: the connection used last: those that are not needed grow old and go."""
        connections = self._idle.get(origin)
        return connections.pop() if connections else None

    def _keep(self, origin: Origin, connection: ClientConnection) -> None:
        connections = self._idle.setdefault(origin, [])
        if self._closed or len(connections) >= MAX_IDLE_PER_ORIGIN:
            connection.abort()
            return
        connections.append(connection)
        connection.retire_after(self._timeouts.idle)

    def _forget(self, origin: Origin, connection: ClientConnection) -> None:
        connections = self._idle.get(origin)
        if connections and connection in connections:
            connections.remove(connection)
        if not connections:
            self._idle.pop(origin, None)

    async def _connect(self, origin: Origin) -> ClientConnection:
        connecting = Deferred.fromCoroutine(self._connected(origin))
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            connecting.cancel()

        timer = Timer(self._reactor)
        timer.set(self._timeouts.connect, expire)
        try:
            return await connecting
        except Exception as error:  # refused, unreachable, unresolved, timed out, not to be trusted: all are one here
            if not expired and isinstance(error, CancelledError | ConnectingCancelledError):
                # Whoever asked has given up: that is no failure of the server's.
                raise CancelledError from error
            raise ConnectFailed(origin, Failure(ConnectTimedOut() if expired else error)) from error
        finally:
            timer.cancel()

    async def _connected(self, origin: Origin) -> ClientConnection:
        endpoint = HostnameEndpoint(
            self._reactor, origin.host, origin.port, timeout=self._timeouts.connect
        )
        connection = ClientConnection(
            self._reactor,
            origin.secure,
            lambda idle: self._keep(origin, idle),
            lambda gone: self._forget(origin, gone),
        )
        factory: Factory[ClientConnection] | ImmediateTLSFactory = Factory.forProtocol(
            lambda: connection
        )
        factory.noisy = False
        if origin.secure:
            creator = self._creator(origin.host)
            factory = ImmediateTLSFactory(creator, True, factory, self._reactor)
            factory.noisy = False
        await endpoint.connect(factory)
        return await connection.ready

    def _creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        # A TLS context takes milliseconds to make.
        if host not in self._creators:
            while len(self._creators) >= MAX_TLS_SETTINGS:
                self._creators.pop(next(iter(self._creators)))
            self._creators[host] = self._trust(host)
        return self._creators[host]


def _request_head(
    method: bytes,
    origin: Origin,
    target: bytes,
    fields: Iterable[tuple[bytes, bytes]],
    body: IBodyProducer | None,
) -> bytes:
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target), b"host: %b\r\n" % origin.authority]
    lines += [b"%b: %b\r\n" % field for field in fields if field[0] not in _OWN_FIELDS]
    if body is None:
        if method in (b"POST", b"PUT", b"PATCH"):
            # RFC 9110 8.6: a method that has a body says so even when it is empty.
            lines.append(b"content-length: 0\r\n")
    elif body.length is UNKNOWN_LENGTH:
        lines.append(b"transfer-encoding: chunked\r\n")
    else:
        lines.append(b"content-length: %d\r\n" % body.length)
    lines.append(b"\r\n")
    head = b"".join(lines)
    # As many line ends as lines: none came with a value.
    if not is_request_line(method, target) or not (
        head.count(b"\r") == head.count(b"\n") == len(lines)
    ):
        raise ValueError("the request's method, target or fields do not follow HTTP's grammar")
    return head
