"""
An upstream's answer: its head at once, its body when somebody takes it.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocol, IPushProducer, ITransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IClientRequest, IResponse
from zope.interface import implementer

from gptproxy.http.flow import ReadSide
from gptproxy.http.grammar import Fields, ResponseHead

__all__ = [
    "COMPLETE",
    "BodyTransport",
    "ClientRequest",
    "Response",
]

_NO_ADDRESS = UNIXAddress(None)


@implementer(IClientRequest)
class ClientRequest:
    """
    What was asked.

    :param method: the method.
    :param absoluteURI: the URL.
    :param headers: the fields that were given.
    """

    def __init__(self, method: bytes, absoluteURI: bytes, headers: Headers | None = None) -> None:
        self.method = method
        self.absoluteURI = absoluteURI
        self.headers = Headers() if headers is None else headers


@implementer(ITransport, IPushProducer)
class BodyTransport:
    """
    The transport that a body's protocol sees: it can pause, resume and give up, until the body has ended.

    :param read_side: the connection's reading; None where the body has ended.
    :param abort: drops the connection.
    """

    __slots__ = ("_abort", "_read_side", "disconnecting")

    def __init__(self, read_side: ReadSide | None, abort: Callable[[], None]) -> None:
        self._read_side = read_side
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


_ENDED = BodyTransport(None, lambda: None)
"""The transport of a body that has ended."""

COMPLETE = Failure(ResponseDone())
"""The end of a body that has come to it. One for all: making one takes as long as reading a head."""

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

    code: int
    phrase: bytes
    fields: Fields
    previousResponse: IResponse | None = None
    _protocol: IProtocol | None = None
    _end: Failure | None = None
    _headers: Headers | None = None
    # Who is told of what comes before somebody takes it, and how many more bytes of it are read.
    _watch: Callable[[bytes | None], None] | None = None
    _room = 0

    def __init__(
        self,
        head: ResponseHead,
        length: int | None,
        request: ClientRequest,
        transport: BodyTransport,
    ) -> None:
        self.code, self.phrase, self._minor_version, self.fields = head
        self.length = UNKNOWN_LENGTH if length is None else length
        self.request = request
        self._transport = transport
        # What came before somebody took it; None from then on.
        self._waiting: list[bytes] | None = []

    @property
    def version(self) -> tuple[bytes, int, int]:
        """The protocol and its version."""
        return (b"HTTP", 1, self._minor_version)

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

    @property
    def end(self) -> Failure | None:
        """:class:`~twisted.web.client.ResponseDone`, or why the body is not complete; None while it is coming."""
        return self._end

    @property
    def waiting(self) -> bytes:
        """What of the body has come and nobody has taken."""
        waiting = self._waiting
        if not waiting:
            return b""
        if len(waiting) > 1:
            waiting[:] = [b"".join(waiting)]
        return waiting[0]

    def read_ahead(self, limit_bytes: int, watch: Callable[[bytes | None], None]) -> None:
        """
        Go on reading before somebody takes the body. What comes is held, and delivered in its turn.

        :param limit_bytes: how much more is read, but for the read that passes it.
        :param watch: called with every piece, and with None at the body's end.
        """
        self._room = limit_bytes
        self._watch = watch
        self._transport.resumeProducing()

    @classmethod
    def complete(
        cls, head: ResponseHead, length: int | None, request: ClientRequest, body: bytes
    ) -> Response:
        """
        :param head: its status and fields.
        :param length: of the body in bytes, as the head has it; None where it has none.
        :param request: what it answers.
        :param body: all of it.
        :return: an answer whose connection is nothing to it any more.
        """
        made = cls(head, length, request, _ENDED)
        if body:
            made._waiting = [body]
        made._end = COMPLETE
        return made

    def take_whole(self) -> bytes | None:
        """
        Take the body if all of it has come already, as a short answer's has when its head has.

        :return: the body; None where it is still on its way, and :meth:`deliverBody` is to be used.
        """
        waiting = self._waiting
        if waiting is None or self._protocol is not None:
            return None
        if self._end is None or not isinstance(self._end.value, ResponseDone):
            return None
        self._protocol = _NOBODY
        self._waiting = []
        return waiting[0] if len(waiting) == 1 else b"".join(waiting)

    def abandon(self) -> None:
        """The body is not wanted: drop the connection unless it is complete already."""
        if self._protocol is None:
            self._waiting = []
        if self._end is None:
            self._transport.stopProducing()

    # What the connection tells

    def body_piece(self, piece: bytes) -> None:
        """
        :param piece: the body's next bytes. Before :meth:`deliverBody` at most one read of them is held, and what
            :meth:`read_ahead` asks for.
        """
        if self._waiting is not None:
            self._waiting.append(piece)
            if self._watch is not None:
                self._room -= len(piece)
                if self._room <= 0:
                    self._transport.pauseProducing()
                self._watch(piece)
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
        elif self._watch is not None:
            self._watch(None)
