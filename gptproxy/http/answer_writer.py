"""
What goes out on a client's connection: heads, bodies, interim answers, refusals, and the connection's end.

May import the HTTP room and Twisted. Once the end has been decided on, nothing more is written, whoever tries: an
answer that was broken off must not get its last chunk after all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.web.http import datetimeToString

from gptproxy.http.closing import Closing
from gptproxy.http.flow import WriteSide
from gptproxy.http.interfaces import IConnection

__all__ = ["AnswerWriter", "RefusalPage"]

RefusalPage = Callable[[int, str], tuple[tuple[tuple[bytes, bytes], ...], bytes]]
"""(status, reason) to (headers, body): how the site words what the HTTP room itself refuses."""


@lru_cache(maxsize=1)
def _http_date(second: int) -> bytes:
    """
    :param second: since the epoch.
    :return: it in HTTP's form (RFC 9110 6.6.1); written once, however many answers a second has.
    """
    date: bytes = datetimeToString(second)
    return date


class AnswerWriter:
    """
    One connection's output.

    :param transport: the connection.
    :param clock: bounds the connection's end.
    :param resumed: called when the transport's buffer has room again.

    :ivar write_side: knows whether the client reads.
    :ivar closed: the connection's end has been decided on.
    """

    def __init__(
        self, transport: IConnection, clock: IReactorTime, resumed: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._clock = clock
        self.write_side = WriteSide(transport, resumed)
        self._closing: Closing | None = None
        self.closed = False

    def register(self, producer: IPushProducer) -> None:
        """
        :param producer: who writes the answer; paused while the client does not read.
        """
        self.write_side.register(producer)

    def unregister(self) -> None:
        """The answer's producer is done."""
        self.write_side.unregister()

    def write_continue(self) -> None:
        """Tell a client that waits for it to send its body (RFC 9110 15.2.1)."""
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def write_head(
        self, code: bytes, reason: bytes, fields: Iterable[tuple[bytes, bytes]], *, close: bool
    ) -> None:
        """
        :param code: status code.
        :param reason: reason phrase.
        :param fields: the field lines.
        :param close: say that the connection ends with this answer.
        """
        pieces = [b"HTTP/1.1 ", code, b" ", reason, b"\r\n"]
        for name, value in fields:
            pieces += (name, b": ", value, b"\r\n")
        if close:
            pieces.append(b"Connection: close\r\n")
        pieces.append(b"\r\n")
        self.write_sequence(pieces)

    def write_lean(
        self,
        status: int,
        reason: bytes,
        fields: Iterable[tuple[bytes, bytes]],
        length: int | None,
        *,
        chunked: bool,
        close: bool,
        body: bytes,
    ) -> None:
        """
        Write a head made of field lines, and a body with it, in one piece.

        :param status: status code.
        :param reason: reason phrase.
        :param fields: the field lines, framing and Date not among them.
        :param length: of the body in bytes; None where it is not known.
        :param chunked: the body follows in chunks.
        :param close: say that the connection ends with this answer.
        :param body: as much of it as there is.
        """
        date = _http_date(int(self._clock.seconds()))
        start = b"HTTP/1.1 %d %b\r\ndate: %b\r\n" % (status, reason, date)
        named = [b"%b: %b\r\n" % field for field in fields]
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        else:
            framing = b"transfer-encoding: chunked\r\n" if chunked else b""
        end = b"connection: close\r\n\r\n" if close else b"\r\n"
        if not self.closed:
            self._transport.write(b"".join((start, *named, framing, end, body)))

    def write(self, data: bytes) -> None:
        """
        :param data: the answer's next bytes, framed already.
        """
        if not self.closed:
            self._transport.write(data)

    def write_sequence(self, pieces: Iterable[bytes]) -> None:
        """
        :param pieces: the answer's next bytes, framed already.
        """
        if not self.closed:
            self._transport.writeSequence(pieces)

    def write_refusal(
        self, status: int, fields: Iterable[tuple[bytes, bytes]], body: bytes, *, head_only: bool
    ) -> None:
        """
        Write an answer that no resource gave; the connection is to be closed behind it.

        :param status: status code.
        :param fields: the page's field lines.
        :param body: the page.
        :param head_only: the request was HEAD.
        """
        self.write_lean(
            status,
            HTTPStatus(status).phrase.encode(),
            fields,
            len(body),
            chunked=False,
            close=True,
            body=b"" if head_only else body,
        )

    def close(self) -> None:
        """Send what is written, then end. To be called once, or :meth:`abort` instead."""
        self.closed = True
        self.write_side.end()
        self._closing = Closing(self._transport, self._clock)

    def abort(self) -> None:
        """End at once; what was written may be lost."""
        self.closed = True
        self.write_side.end()
        self._transport.abortConnection()

    def lost(self) -> None:
        """The connection is gone."""
        self.closed = True
        if self._closing is not None:
            self._closing.lost()
