"""
A client's connection: requests read by the strict grammar, one at a time, and their answers written in order.

May import the HTTP room and Twisted. :class:`ServerChannel` stands where :class:`twisted.web.http.HTTPChannel` stands
under a Site, and offers Twisted's Request what it expects of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IAddress, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from gptproxy.http.answer_writer import AnswerWriter
from gptproxy.http.body_intake import BodyIntake
from gptproxy.http.flow import ReadSide
from gptproxy.http.grammar import MalformedMessage
from gptproxy.http.interfaces import IConnection
from gptproxy.http.request_body import BodyIncomplete, BodyTooLarge
from gptproxy.http.request_reader import RequestReader, RequestStart
from gptproxy.http.timer import DeadlineTimer

if TYPE_CHECKING:
    from gptproxy.http.request import Request
    from gptproxy.http.site import Site

__all__ = ["MAX_READ_AHEAD_BYTES", "Phase", "ServerChannel"]

MAX_READ_AHEAD_BYTES = 65_536
"""What is read ahead of a body nobody has asked for, or of a next request: one read of Twisted's, twice at most."""


class Phase(Enum):
    """What the channel is waiting for."""

    HEAD = auto()
    """the next request's head"""
    ANSWER = auto()
    """the current request's answer; what arrives meanwhile waits, unless somebody asks for the body"""
    CLOSING = auto()
    """nothing more: input is thrown away"""


class ServerChannel(Protocol):
    """
    One client's connection.

    :param site: whose resources answer.
    """

    transport: IConnection

    def __init__(self, site: Site) -> None:
        self.site = site
        self.factory = site  # where Request looks for its log
        self._reader = RequestReader(site.header_limit_bytes)
        self._phase = Phase.HEAD
        self._request: Request | None = None
        self._peer: IAddress | None = None
        self._persistent = True
        self._advancing = False
        self._timer = DeadlineTimer(site.clock)
        self._idle = False  # between two requests, without a byte of the next one

    def connectionMade(self) -> None:
        """Nothing is asked yet."""
        self._read_side = ReadSide(self.transport)
        clock, timeouts = self.site.clock, self.site.timeouts
        self._out = out = AnswerWriter(self.transport, clock, self._output_resumed)
        self._intake = BodyIntake(
            self._reader, clock, timeouts.body_idle, out.write_continue, self._advance
        )
        self._timer.set(timeouts.header, self._header_timeout)

    def dataReceived(self, data: bytes) -> None:
        """
        :param data: what comes next.
        """
        if self._phase is Phase.CLOSING:
            return
        self._reader.feed(data)
        self._advance()
        if self._idle and self._reader.waiting and self._phase is Phase.HEAD:
            self._await_request()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        :param reason: why.
        """
        self._phase = Phase.CLOSING
        self._timer.stop()
        self._intake.stop()
        self._out.lost()
        self._reader.clear()
        request, self._request = self._request, None
        if request is not None:
            # First, so that whoever reads the body knows by then that nobody waits for an answer.
            request.connectionLost(reason)
        self._intake.fail(Failure(BodyIncomplete("the client closed the connection")))

    # What Twisted's Request asks of its channel

    def getPeer(self) -> IAddress:
        """:return: the client's address."""
        self._peer = self._peer or self.transport.getPeer()
        return self._peer

    def getHost(self) -> IAddress:
        """:return: the address the client reached."""
        return self.transport.getHost()

    def isSecure(self) -> bool:
        """:return: the connection is TLS."""
        return bool(ISSLTransport.providedBy(self.transport))

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """
        Write the answer's head.

        :param version: the request's; an answer has the server's own (RFC 9110 2.5).
        :param code: status code.
        :param reason: reason phrase.
        :param headers: the fields.
        """
        self._settle()
        fields = [(name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self._out.write_head(code, reason, fields, close=not self._persistent)

    def write_lean_head(
        self,
        status: int,
        reason: bytes,
        fields: Iterable[tuple[bytes, bytes]],
        length: int | None,
        *,
        chunked: bool = False,
        body: bytes = b"",
    ) -> None:
        """
        Write the answer's head, and a body with it, in one piece.

        :param status: code.
        :param reason: phrase.
        :param fields: the field lines, framing and Date not among them.
        :param length: of the body in bytes; None where it is not known.
        :param chunked: the body follows in chunks.
        :param body: as much of it as there is.
        """
        self._settle()
        self._out.write_lean(
            status, reason, fields, length, chunked=chunked, close=not self._persistent, body=body
        )

    def write(self, data: bytes) -> None:
        """
        :param data: the answer's next bytes, framed already.
        """
        self._out.write(data)

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """
        :param pieces: the answer's next bytes, framed already.
        """
        self._out.write_sequence(pieces)

    def requestDone(self, request: Request) -> None:
        """
        The answer is written: the next request's turn, or the end.

        :param request: the one.
        """
        self._request = None
        self._intake.answered()
        if not self._persistent:
            self._close()
            return
        self._phase = Phase.HEAD
        self._await_request()
        if self._reader.waiting or self._out.write_side.paused:
            self._advance()
        elif not self._read_side.reading:
            self._read_side.read(True)

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """
        :param producer: who writes the answer; paused while the client does not read.
        :param streaming: True; a pull producer has no place in a relay.
        """
        if not streaming:
            raise ValueError("only push producers are supported")
        self._out.register(producer)

    def unregisterProducer(self) -> None:
        """It is done."""
        self._out.unregister()

    def loseConnection(self) -> None:
        """Close without another request; an answer under way is broken off, as :meth:`abort_answer` says."""
        self.abort_answer()

    # What our own rooms ask of it

    def abort_answer(self) -> None:
        """
        End the connection in the middle of an answer, so that no client takes it for complete.

        What was written before is sent; the answer's end is not. Only where the connection's end would be the
        answer's (HTTP/1.0), it is reset.
        """
        if self._request is not None and self._request.clientproto == b"HTTP/1.0":
            self._close(at_once=True)
        else:
            self._close()

    def refuse_body(self, reason: Failure) -> None:
        """
        Answer for a resource that wanted the body complete and does not get it.

        :param reason: why not.
        """
        if reason.check(BodyTooLarge):
            self._refuse(413, "the request's body is too large")
        elif reason.check(MalformedMessage):
            self._refuse(400, "the request's body is malformed")
        else:
            self._refuse(408, "the request's body did not arrive in time")

    def _settle(self) -> None:
        self._persistent = self._intake.settle() and self._persistent and not self.site.draining

    # Reading

    def _advance(self) -> None:
        """Go on with what waits, as far as it and the phase allow."""
        if self._advancing:
            return  # called from within: an answer was written while its request was being started
        self._advancing = True
        try:
            while self._step():
                pass
        except MalformedMessage as malformed:
            self._refuse(malformed.status, malformed.reason)
        finally:
            self._advancing = False
        self._update_reading()

    def _step(self) -> bool:
        """:return: there may be more to do."""
        if self._intake.reading:
            return self._intake.read()
        if self._phase is not Phase.HEAD or self._out.write_side.paused:
            return False
        start = self._reader.read_head()
        if start is None:
            return False
        self._timer.cancel()
        self._start_request(start)
        return True

    def _start_request(self, start: RequestStart) -> None:
        self._idle = False
        self._persistent = start.persists
        self._phase = Phase.ANSWER
        self._request = request = self.site.requestFactory(self)
        request.headers_complete(start.head, start.target, self._intake.begin(start))

    def _update_reading(self) -> None:
        """Read from the socket unless enough has been read that nobody takes."""
        if self._phase is Phase.CLOSING:
            return
        if self._intake.reading:
            reading = not self._intake.paused
        elif self._phase is Phase.HEAD and not self._out.write_side.paused:
            reading = True
        else:
            reading = len(self._reader.waiting) < MAX_READ_AHEAD_BYTES
        if reading is not self._read_side.reading:
            self._read_side.read(reading)

    def _await_request(self) -> None:
        """Bound the time to the end of the next request's head; or until the client has taken the last answer."""
        self._idle = not self._reader.waiting
        if self._idle or self._out.write_side.paused:
            self._timer.set(self.site.timeouts.keep_alive_idle, self._close)
        else:
            self._timer.set(self.site.timeouts.header, self._header_timeout)

    def _output_resumed(self) -> None:
        if self._phase is Phase.HEAD:
            self._await_request()
        self._advance()

    # Ending

    def _header_timeout(self) -> None:
        if self._reader.waiting:
            self._refuse(408, "the request's headers did not arrive in time")
        else:
            self._close()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer without a resource, and close."""
        fields, body = self.site.refusal_page(status, f"{reason[0].upper()}{reason[1:]}.")
        head_only = self._request is not None and self._request.method == b"HEAD"
        self._out.write_refusal(status, fields, body, head_only=head_only)
        self._close()

    def _close(self, *, at_once: bool = False) -> None:
        """
        Send what is written, then end.

        :param at_once: reset the connection instead.
        """
        if self._phase is Phase.CLOSING:
            return
        self._phase = Phase.CLOSING
        self._persistent = False
        self._timer.stop()
        self._reader.clear()
        if at_once:
            self._out.abort()
        else:
            self._out.close()
            self._read_side.read(True)  # the peer's end must be seen, and its input thrown away
        self._intake.fail(Failure(BodyIncomplete("the connection is being closed")))
