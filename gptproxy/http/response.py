"""
An upstream's answer: its head at once, its body when somebody takes it.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

from gptproxy.http.flow import ReadSide
from gptproxy.http.grammar import Fields, ResponseHead

__all__ = ["BodyTransport", "ClientRequest", "Response", "ResponseTooLarge", "collect_body"]

_NO_ADDRESS = UNIXAddress(None)


class ResponseTooLarge(Exception):
    """An answer's body is longer than whoever asked wants to hold."""


@implementer(IClientRequest)
class ClientRequest:
    """
    What was asked.

    :param method: the method.
    :param absoluteURI: the URL.
    :param headers: the fields that were given.
    """

    def __init__(self, method: bytes, absoluteURI: bytes, headers: Headers) -> None:
        self.method = method
        self.absoluteURI = absoluteURI
        self.headers = headers


@implementer(ITransport, IPushProducer)
class BodyTransport:
    """
    The transport that a body's protocol sees: it can pause, resume and give up, until the body has ended.

    :param read_side: the connection's reading.
    :param abort: drops the connection.
    """

    __slots__ = ("_abort", "_read_side", "disconnecting")

    def __init__(self, read_side: ReadSide, abort: Callable[[], None]) -> None:
        self._read_side: ReadSide | None = read_side
        self._abort = abort
        self.disconnecting = False

    def detach(self) -> None:
        """The body has ended: the connection may serve another by now, which is nothing to this one's protocol."""
        self._read_side = None

    def pauseProducing(self) -> None:
        """Stop reading."""
        if self._read_side is not None:
            self._read_side.read(False)

    def resumeProducing(self) -> None:
        """Go on reading."""
        if self._read_side is not None:
            self._read_side.read(True)

    def stopProducing(self) -> None:
        """The rest is not wanted."""
        if self._read_side is not None:
            self._read_side = None
            self._abort()

    loseConnection = stopProducing
    abortConnection = stopProducing

    def write(self, data: bytes) -> None:
        """Nothing: a body is read, not written."""

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Nothing, as :meth:`write`."""

    def getPeer(self) -> IAddress:
        """:return: no address: it is the connection's, not the body's."""
        return _NO_ADDRESS

    def getHost(self) -> IAddress:
        """:return: as :meth:`getPeer`."""
        return _NO_ADDRESS


_NOBODY = Protocol()
"""Stands for whoever took a body that needed no protocol."""


@implementer(IResponse)
class Response:
    """
    One answer.

    :param head: its status and fields.
    :param length: of the body in bytes, or None.
    :param request: what it answers.
    :param transport: pauses and drops the connection it comes on.

    :ivar fields: the field lines as they came, those that are the connection's own among them (RFC 9110 7.6.1).
    """

    def __init__(
        self,
        head: ResponseHead,
        length: int | None,
        request: ClientRequest,
        transport: BodyTransport,
    ) -> None:
        self.version = (b"HTTP", 1, head.minor_version)
        self.code = head.status
        self.phrase = head.reason
        self.fields: Fields = head.fields
        self.length = UNKNOWN_LENGTH if length is None else length
        self.request = request
        self.previousResponse: IResponse | None = None
        self._transport = transport
        self._protocol: IProtocol | None = None
        # What came before somebody took it; None from then on.
        self._waiting: list[bytes] | None = []
        self._end: Failure | None = None
        self._headers: Headers | None = None

    @property
    def headers(self) -> Headers:
        """The fields as Twisted and treq want them; made when first asked for."""
        if self._headers is None:
            self._headers = Headers()
            for name, value in self.fields:
                self._headers.addRawHeader(name, value)
        return self._headers

    def setPreviousResponse(self, response: IResponse) -> None:
        """
        :param response: the one that led to this one by a redirection.
        """
        self.previousResponse = response

    def deliverBody(self, protocol: IProtocol) -> None:
        """
        :param protocol: takes the body; its ``connectionLost`` gets
            :class:`~twisted.web.client.ResponseDone` when the body was complete.
        """
        if self._protocol is not None:
            raise RuntimeError("a response's body can be delivered only once")
        self._protocol = protocol
        # First, so that a protocol that pauses at once, or at what is waiting, has the last word.
        self._transport.resumeProducing()
        protocol.makeConnection(self._transport)
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            for piece in waiting:
                protocol.dataReceived(piece)
        self._waiting = None
        if self._end is not None:
            protocol.connectionLost(self._end)

    def take_whole(self) -> bytes | None:
        """
        Take the body if all of it has come already, as a short answer's has when its head has.

        :return: the body; None where it is still on its way, and :meth:`deliverBody` is to be used.
        """
        waiting = self._waiting
        if waiting is None or self._protocol is not None:
            return None
        if self._end is None or not self._end.check(ResponseDone):
            return None
        self._protocol = _NOBODY
        self._waiting = []
        return b"".join(waiting)

    def abandon(self) -> None:
        """The body is not wanted: drop the connection unless it is complete already."""
        if self._protocol is None:
            self._waiting = []
        if self._end is None:
            self._transport.stopProducing()

    # What the connection tells

    def body_piece(self, piece: bytes) -> None:
        """
        :param piece: the body's next bytes. Before :meth:`deliverBody` at most one read of them is held.
        """
        if self._waiting is not None:
            self._waiting.append(piece)
        elif self._protocol is not None:
            self._protocol.dataReceived(piece)

    def body_ended(self, reason: Failure) -> None:
        """
        :param reason: :class:`~twisted.web.client.ResponseDone`, or why the body is not complete.
        """
        self._end = reason
        self._transport.detach()
        if self._waiting is None and self._protocol is not None:
            self._protocol.connectionLost(reason)


class _Collector(Protocol):
    """Gathers a body up to a limit."""

    transport: BodyTransport

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._over = False
        self.result: Deferred[bytes] = Deferred(lambda _: self._stop())

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit and not self._over:
            self._stop()
            self.result.errback(Failure(ResponseTooLarge()))
        elif not self._over:
            self._pieces.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._over:
            return
        self._over = True
        if reason.check(ResponseDone):
            self.result.callback(b"".join(self._pieces))
        else:
            self.result.errback(reason)

    def _stop(self) -> None:
        self._over = True
        self._pieces.clear()
        # Of a body's transport in Twisted's own client, treq's tests included, this is all there is to give up with.
        self.transport.stopProducing()


def collect_body(response: IResponse, limit_bytes: int) -> Deferred[bytes]:
    """
    Read an answer's body into memory.

    :param response: whose body.
    :param limit_bytes: how long it may be.
    :return: a Deferred that fires with the body; fails with :class:`ResponseTooLarge`,
        :class:`~gptproxy.http.grammar.MalformedMessage` or :class:`~twisted.internet.error.ConnectionClosed`.
        Cancelling it drops the connection.
    """
    collector = _Collector(limit_bytes)
    response.deliverBody(collector)
    return collector.result
