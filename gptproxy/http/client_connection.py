"""
A connection to an upstream: requests out, answers in by the strict grammar, one at a time.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from gptproxy.http.closing import Closing
from gptproxy.http.flow import ReadSide, WriteSide
from gptproxy.http.grammar import UNTIL_CLOSE, MalformedMessage
from gptproxy.http.interfaces import IConnection
from gptproxy.http.request_producer import Upload
from gptproxy.http.response import COMPLETE, BodyTransport, ClientRequest, Response
from gptproxy.http.response_reader import ResponseReader, ResponseStart
from gptproxy.http.timer import DeadlineTimer

__all__ = ["ClientConnection", "FirstByteTimeout", "ResponseNeverReceived"]


class ResponseNeverReceived(Exception):
    """
    The connection ended before a byte of the answer.

    :param reused: it had served requests before, so its end may be its age and not this request.
    :param cause: the connection's own failure.
    """

    def __init__(self, reused: bool, cause: Failure) -> None:
        super().__init__("the connection ended before a byte of the answer")
        self.reused = reused
        self.cause = cause


class FirstByteTimeout(Exception):
    """The answer's headers did not come in time."""


@implementer(IHandshakeListener)
class ClientConnection(Protocol):
    """
    One connection to one origin.

    :param clock: for the first byte's timeout.
    :param secure: TLS: the connection is ready only when its handshake is done.
    :param idle: called with this connection when it may take another request.
    :param gone: called with this connection when it can take no more.

    :ivar ready: fires with this connection when a request may be sent; fails when it never can.
    """

    transport: IConnection

    def __init__(
        self,
        clock: IReactorTime,
        secure: bool,
        idle: Callable[[ClientConnection], None],
        gone: Callable[[ClientConnection], None],
    ) -> None:
        self._clock = clock
        self._secure = secure
        self._idle = idle
        self._gone = gone
        self._ready_pending = True
        self.ready: Deferred[ClientConnection] = Deferred(lambda _: self._not_wanted())
        self._timer = DeadlineTimer(clock)
        # Apart, because it comes sooner: one would be set back and forth.
        self._idle_timer = DeadlineTimer(clock)
        self._served = 0
        self._lost = False
        self._aborted = False
        self._closing: Closing | None = None
        self._reset()

    def _reset(self) -> None:
        """No request is under way."""
        self._request: ClientRequest | None = None
        self._reader: ResponseReader | None = None
        self._result: Deferred[Response] | None = None
        self._response: Response | None = None
        self._upload: Upload | None = None

    # Protocol

    def connectionMade(self) -> None:
        """TCP is there; over TLS the handshake follows."""
        self._read_side = ReadSide(self.transport)
        self._write_side = WriteSide(self.transport, lambda: None)
        if not self._secure:
            self._become_ready()

    def handshakeCompleted(self) -> None:
        """
        TLS is there. Twisted 24.11 says so even where the peer is not who it should be: it has aborted the connection
        by then, and ``connectionLost`` tells why.
        """
        if not getattr(self.transport, "disconnecting", False):
            self._become_ready()

    def dataReceived(self, data: bytes) -> None:
        """
        :param data: the connection's next bytes.
        """
        reader, request = self._reader, self._request
        if reader is None or request is None:
            # Nothing was asked: whatever this is, the next answer would be out of step.
            self.abort()
            return
        try:
            pieces = reader.receive(data)
        except MalformedMessage as malformed:
            self._fail(Failure(malformed))
            return
        result = None
        response = self._response
        if response is None:
            if reader.start is None:
                return
            if reader.finished and self._upload is None:
                self._whole_answer(request, reader, pieces)
                return
            response, result = self._start_response(request, reader.start)
        if pieces:
            # One piece for each read: the events that came together go on together.
            response.body_piece(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if reader.finished and self._reader is reader:
            self._finish(
                reusable=reader.start is not None
                and reader.start.persists
                and not reader.excess
                and (self._upload is None or self._upload.over)
            )
        elif result is not None:
            # Nobody takes the body yet; what has been read already is held by the response. A body that is complete
            # leaves the connection reading: pausing it for nothing costs two system calls.
            self._read_side.read(False)
        if result is not None:
            result.callback(response)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        :param reason: why.
        """
        self._lost = True
        self._timer.stop()
        self._idle_timer.stop()
        if self._closing is not None:
            self._closing.lost()
        self._gone(self)
        if self._ready_pending:
            self._ready_pending = False
            self.ready.errback(reason)
        reader = self._reader
        if reader is None:
            return
        if reader.start is None:
            if reader.heard:
                reason = Failure(
                    MalformedMessage("the connection ended inside the response's headers")
                )
            else:
                reason = Failure(ResponseNeverReceived(self._served > 0, reason))
        elif reader.start.framing == UNTIL_CLOSE and reason.check(ConnectionDone):
            self._finish(reusable=False)
            return
        elif not reason.check(ConnectionClosed):
            # TLS breaks off with errors of its own; whoever takes the body need know only one family.
            reason = Failure(ConnectionLost(type(reason.value).__name__))
        self._fail(reason)

    # Asking

    def ask(
        self,
        request: ClientRequest,
        head: bytes,
        body: IBodyProducer | None,
        first_byte_seconds: float,
    ) -> Deferred[Response]:
        """
        Send a request. To be called when the connection is ready and idle.

        :param request: what is asked.
        :param head: it as bytes, framing fields and empty line included.
        :param body: what is sent behind the head.
        :param first_byte_seconds: from the request's last byte to the end of the answer's headers.
        :return: a Deferred that fires with the answer when its headers are complete. It fails with
            :class:`ResponseNeverReceived`, :class:`FirstByteTimeout`, MalformedMessage, or what ended the body that
            was sent. Cancelling it drops the connection.
        """
        self._request = request
        self._reader = ResponseReader(request.method)
        result: Deferred[Response] = Deferred(self._given_up)
        self._result = result
        self._idle_timer.cancel()
        self._timer.set(first_byte_seconds, self._first_byte_timeout)
        self.transport.write(head)
        if body is not None:
            self._upload = Upload(
                body,
                self.transport,
                self._write_side,
                # It may take longer than the answer; once the answer's headers are here no timer is set.
                moved=lambda: self._timer.put_off(first_byte_seconds),
                failed=self._fail,
            )
            self._upload.start()
        return result

    def retire_after(self, seconds: float) -> None:
        """
        Close when idle for so long; another request puts an end to that.

        :param seconds: from now.
        """
        self._idle_timer.set(seconds, self._close)

    def _whole_answer(
        self, request: ClientRequest, reader: ResponseReader, pieces: list[bytes]
    ) -> None:
        """Head and body have come together, as most often."""
        start, result = reader.start, self._result
        if (
            start is None or result is None
        ):  # pragma: no cover - a finished answer has a start, and somebody waits for it
            return
        self._timer.cancel()
        self._result = None
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        response = Response.complete(
            start.head, start.framing if start.framing >= 0 else None, request, body
        )
        self._finish(reusable=start.persists and not reader.excess)
        result.callback(response)

    def _start_response(
        self, request: ClientRequest, start: ResponseStart
    ) -> tuple[Response, Deferred[Response] | None]:
        """:return: the answer, and what is to be fired when it is ready to be handed out."""
        self._timer.cancel()
        framing = start.framing
        self._response = response = Response(
            start.head,
            framing if framing >= 0 else None,
            request,
            BodyTransport(self._read_side, self.abort),
        )
        result, self._result = self._result, None
        return response, result

    # Ending

    def _finish(self, reusable: bool) -> None:
        response = self._response
        if self._upload is not None:
            self._stop_sending()
        self._served += 1
        self._reset()
        if not self._lost:
            if reusable:
                if not self._read_side.reading:
                    # An idle connection is read from, so that its end is seen when it comes.
                    self._read_side.read(True)
                self._idle(self)
            else:
                self._close()
        if response is not None:
            response.body_ended(COMPLETE)

    def _fail(self, reason: Failure) -> None:
        result, response = self._result, self._response
        self._timer.cancel()
        self._stop_sending()
        self._reset()
        self.abort()
        if result is not None:
            result.errback(reason)
        elif response is not None:
            response.body_ended(reason)

    def _stop_sending(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()

    def _given_up(self, _: Deferred[Response]) -> None:
        self._fail(Failure(CancelledError()))

    def _first_byte_timeout(self) -> None:
        self._fail(Failure(FirstByteTimeout()))

    def _close(self) -> None:
        """No request is under way, and none will be."""
        self._timer.stop()
        self._idle_timer.stop()
        self._gone(self)
        self._write_side.end()
        self._read_side.read(True)
        self._closing = Closing(self.transport, self._clock)

    def abort(self) -> None:
        """Drop the connection at once, with whatever is under way on it."""
        if not self._aborted and not self._lost:
            self._aborted = True
            self._timer.stop()
            self._idle_timer.stop()
            self._gone(self)
            if self.transport is not None:
                self.transport.abortConnection()

    def _not_wanted(self) -> None:
        """Whoever waited for the connection does so no more."""
        self._ready_pending = False
        self.abort()

    def _become_ready(self) -> None:
        if self._ready_pending:
            self._ready_pending = False
            self.ready.callback(self)
