"""
The current request's body on its way from a connection's reader to whoever asked for it.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from gptproxy.http.grammar import MalformedMessage
from gptproxy.http.request_body import BodyIncomplete, StreamedBody
from gptproxy.http.request_reader import RequestReader, RequestStart
from gptproxy.http.timer import DeadlineTimer

__all__ = ["BodyIntake"]


class BodyIntake:
    """
    One connection's request bodies, one after the other.

    :param reader: where the bytes wait.
    :param clock: for the idle time.
    :param idle_seconds: how long a client may send nothing of a body that is being read.
    :param write_continue: tells the client to send.
    :param advance: called when reading can go on.

    :ivar reading: somebody has asked for the body, and it has not ended.
    :ivar paused: whoever asked for it takes no more at the moment.
    """

    def __init__(
        self,
        reader: RequestReader,
        clock: IReactorTime,
        idle_seconds: float,
        write_continue: Callable[[], None],
        advance: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._timer = DeadlineTimer(clock)
        self._idle_seconds = idle_seconds
        self._write_continue = write_continue
        self._advance = advance
        self._expects_continue = False
        self._body: StreamedBody | None = None
        self.reading = False
        self.paused = False

    def begin(self, start: RequestStart) -> StreamedBody:
        """
        :param start: the request whose headers are complete.
        :return: its body, for whoever will ask for it.
        """
        self._expects_continue = start.expects_continue
        self._body = body = StreamedBody(start.length, self)
        return body

    def read(self) -> bool:
        """
        Hand on what waits.

        :return: there was something.
        """
        body = self._body
        if body is None or self.paused or not self._reader.waiting_bytes:
            return False
        try:
            pieces = self._reader.read_body()
        except MalformedMessage as malformed:
            self._give_up(Failure(malformed))
            return True
        finished = self._reader.body_finished
        if finished:
            # Before the last pieces are handed on: whoever takes them may answer at once.
            self.reading = False
            self._timer.cancel()
        else:
            self._timer.put_off(self._idle_seconds)
        for piece in pieces:
            body.piece_received(piece)
        if finished:
            body.finished()
        return True

    def settle(self) -> bool:
        """
        An answer begins. What has come of a body that nobody asked for is thrown away.

        :return: the body has come to its end, so that another request can follow it; else the client is about to send
            what nobody will read, and the connection ends behind the answer.
        """
        body = self._body
        if body is not None and not body.started and not self._reader.body_finished:
            try:
                self._reader.read_body()
            except MalformedMessage:
                self._reader.clear()
            # Whoever asks for it now must not get the rest as if it were all.
            self.fail(Failure(BodyIncomplete("the answer began before the body was asked for")))
        return self._reader.body_finished

    def fail(self, reason: Failure) -> None:
        """
        Nothing more of the body is handed on.

        :param reason: what whoever reads it is told.
        """
        self.reading = self.paused = False
        self._timer.cancel()
        body, self._body = self._body, None
        if body is not None:
            body.failed(reason)

    def answered(self) -> None:
        """The request was answered; a body that is still being read will not be read to its end."""
        body = self._body
        if body is not None and not body.ended:
            self.fail(Failure(BodyIncomplete("the request was answered before its end")))
        self._body = None

    def stop(self) -> None:
        """The connection is gone: no timer of it may outlive it."""
        self._timer.stop()

    # BodySource

    def take(self) -> bytes | None:
        """:return: the body, if all of it waits in the reader; nothing of it is taken else."""
        return None if self._body is None else self._reader.take_body()

    def wanted(self, body: StreamedBody) -> None:
        """
        Somebody asks for the body, so the client may send it.

        :param body: the current request's.
        """
        if self._reader.body_finished:
            body.finished()
            return
        if self._expects_continue and not self._reader.waiting_bytes:
            self._write_continue()
        self.reading = True
        self.set_paused(self.paused)

    def set_paused(self, paused: bool) -> None:
        """
        :param paused: whoever reads the body takes no more at the moment.
        """
        self.paused = paused
        if not self.reading:
            return
        if paused:
            # The client is not to blame for what does not come now.
            self._timer.cancel()
        else:
            self._timer.set(self._idle_seconds, self._timed_out)
        self._advance()

    def _timed_out(self) -> None:
        self._give_up(Failure(BodyIncomplete("the body did not arrive in time")))

    def _give_up(self, reason: Failure) -> None:
        """The body cannot be read to its end: whoever reads it may still answer; then the connection closes."""
        self._reader.clear()
        self.fail(reason)
