"""
The client: an :class:`~twisted.web.iweb.IAgent` over our own connections, kept for the next request.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.error import TimeoutError as ConnectTimedOut
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from gptproxy.http.client_connection import ClientConnection, ResponseNeverReceived
from gptproxy.http.grammar import Fields, is_request_line
from gptproxy.http.immediate import read_directly
from gptproxy.http.immediate_tls import ImmediateTLSFactory
from gptproxy.http.interfaces import IReactor
from gptproxy.http.origin import Origin, split_url
from gptproxy.http.request_producer import BytesBody
from gptproxy.http.response import ClientRequest, Response
from gptproxy.http.timer import Timer

__all__ = ["Agent", "ClientTimeouts", "ConnectFailed"]

MAX_IDLE_PER_ORIGIN = 1000
"""Connections kept for one origin: a cache, not a limit. With fewer than there are calls at once the others connect
anew for each: of 1,000 callers, with 100 kept, a third fewer calls got done."""

NEXT_ADDRESS_SECONDS = 0.1
"""
When a host's next address is tried beside the one before: RFC 8305 section 5 asks for 100 ms at least. Twisted finds
out no sooner that there is no next one, so a refusal takes as long, even of a host with a single address.
"""

MAX_TLS_SETTINGS = 100
"""Hosts whose TLS settings are kept. In pure proxy mode the callers name the hosts, so there must be a bound."""

KNOWN_TARGET_BYTES = 256
"""The starts of requests to targets no longer than this are written once; 256 of them are kept."""

_WITH_BODY = frozenset((b"POST", b"PUT", b"PATCH"))
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

    :ivar timeouts: likewise; they may be replaced.
    """

    def __init__(
        self,
        reactor: IReactor,
        trust: Callable[[str], IOpenSSLClientConnectionCreator],
        timeouts: ClientTimeouts | None = None,
    ) -> None:
        self._reactor = reactor
        self._trust = trust
        self.timeouts = timeouts or ClientTimeouts()
        self._idle: dict[Origin, list[ClientConnection]] = {}
        self._creators: dict[str, IOpenSSLClientConnectionCreator] = {}
        self._open: set[ClientConnection] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        """How many there are, in use and kept."""
        return len(self._open)

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
        # A query may hold a secret, which is not to stay in memory.
        known = len(target) <= KNOWN_TARGET_BYTES and b"?" not in target
        start, request = (_known_start if known else _start)(method, origin, target)
        if isinstance(body, BytesBody):
            # One write, one segment.
            head, sent_body = _with_fields(start, method, fields, body.length, body.data), None
        else:
            length = None if body is None else body.length
            head, sent_body = _with_fields(start, method, fields, length), body
        connection = self._take(origin)
        if connection is not None:
            try:
                return await connection.ask(request, head, sent_body, self.timeouts.first_byte)
            except ResponseNeverReceived:
                if sent_body is not None:
                    raise
        connection = await self._connect(origin)
        return await connection.ask(request, head, sent_body, self.timeouts.first_byte)

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
        connections = self._idle.get(origin)
        if connections is None:
            connections = self._idle[origin] = []
        if self._closed or len(connections) >= MAX_IDLE_PER_ORIGIN:
            connection.abort()
            return
        connections.append(connection)
        connection.retire_after(self.timeouts.idle)

    def _forget(self, origin: Origin, connection: ClientConnection) -> None:
        self._open.discard(connection)
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
        timer.set(self.timeouts.connect, expire)
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
            self._reactor,
            origin.host,
            origin.port,
            timeout=self.timeouts.connect,
            attemptDelay=NEXT_ADDRESS_SECONDS,
        )
        connection = ClientConnection(
            self._reactor,
            origin.secure,
            partial(self._keep, origin),
            partial(self._forget, origin),
        )

        def made() -> ClientConnection:
            self._open.add(connection)
            return connection

        factory: Factory[ClientConnection] | ImmediateTLSFactory = Factory.forProtocol(made)
        factory.noisy = False
        if origin.secure:
            creator = self._creator(origin.host)
            factory = ImmediateTLSFactory(creator, True, factory, self._reactor)
            factory.noisy = False
        read_directly(await endpoint.connect(factory))
        return await connection.ready

    def _creator(self, host: str) -> IOpenSSLClientConnectionCreator:
        # A TLS context takes milliseconds to make.
        if host not in self._creators:
            while len(self._creators) >= MAX_TLS_SETTINGS:
                self._creators.pop(next(iter(self._creators)))
            self._creators[host] = self._trust(host)
        return self._creators[host]


def _start(method: bytes, origin: Origin, target: bytes) -> tuple[bytes, ClientRequest]:
    """:return: a request's first two lines, and how the answer knows it."""
    if not is_request_line(method, target):
        raise ValueError("the request's method and target do not follow HTTP's grammar")
    authority = origin.authority
    if b"\r" in authority or b"\n" in authority:
        raise ValueError("the origin does not follow HTTP's grammar")
    scheme = b"https" if origin.secure else b"http"
    return (
        b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method, target, authority),
        ClientRequest(method, b"%b://%b%b" % (scheme, authority, target)),
    )


_known_start = lru_cache(maxsize=256)(_start)


def _with_fields(
    start: bytes,
    method: bytes,
    fields: Iterable[tuple[bytes, bytes]],
    length: int | str | None,  # as an IBodyProducer says it
    body: bytes = b"",
) -> bytes:
    """:return: a request's head, and its body behind it."""
    lines = [b"%b: %b\r\n" % field for field in fields if field[0] not in _OWN_FIELDS]
    named = b"".join(lines)
    # As many line ends as lines: none came with a value.
    if not named.count(b"\r") == named.count(b"\n") == len(lines):
        raise ValueError("the request's fields do not follow HTTP's grammar")
    if length is None:
        # RFC 9110 8.6: a method that has a body says so even when it is empty.
        framing = b"content-length: 0\r\n\r\n" if method in _WITH_BODY else b"\r\n"
    elif not isinstance(length, int):
        framing = b"transfer-encoding: chunked\r\n\r\n"
    else:
        framing = b"content-length: %d\r\n\r\n" % length
    return b"".join((start, named, framing, body))
