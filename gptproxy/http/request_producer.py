"""
A request's body on its way to an upstream: who produces it, and how it is framed.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from gptproxy.http.flow import WriteSide
from gptproxy.http.interfaces import IBodyReceiver, IConnection, IRequestBody

__all__ = ["BytesBody", "RequestBodyWriter", "StreamedUpload", "Upload", "WrongBodyLength"]


class WrongBodyLength(Exception):
    """A producer wrote more or less than it had said."""


@implementer(IBodyProducer)
class BytesBody:
    """
    A body that is in memory, and so can be sent again.

    :param data: the body.
    """

    __slots__ = ("data", "length")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        :param consumer: gets all at once.
        :return: fired already.
        """
        consumer.write(self.data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All was written at once."""

    def resumeProducing(self) -> None:
        """All was written at once."""

    def stopProducing(self) -> None:
        """All was written at once."""


@implementer(IBodyProducer, IBodyReceiver)
class StreamedUpload:
    """
    A client's body sent up as it comes, held nowhere; it can be sent once only.

    :param body: the client's request body, not asked for yet.
    """

    def __init__(self, body: IRequestBody) -> None:
        self._body = body
        self.length = UNKNOWN_LENGTH if body.length is None else body.length
        self._consumer: IConsumer | None = None
        self._source: IPushProducer | None = None
        self._paused = False
        self._done: Deferred[None] = Deferred()
        self._over = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        :param consumer: takes the pieces; it pauses and resumes this producer.
        :return: fires when all was handed on; fails with what ended the client's body.
        """
        self._consumer = consumer
        self._source = self._body.deliver(self)
        if self._paused:
            self._source.pauseProducing()
        return self._done

    def pauseProducing(self) -> None:
        """Pause the client."""
        self._paused = True
        if self._source is not None:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """Let the client go on."""
        self._paused = False
        if self._source is not None:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        """The upstream wants no more."""
        self._over = True
        if self._source is not None:
            self._source.stopProducing()

    def body_piece(self, piece: bytes) -> None:
        """As :meth:`IBodyReceiver.body_piece`."""
        if self._consumer is not None and not self._over:
            self._consumer.write(piece)

    def body_finished(self) -> None:
        """As :meth:`IBodyReceiver.body_finished`."""
        if self._end():
            self._done.callback(None)

    def body_failed(self, reason: Failure) -> None:
        """As :meth:`IBodyReceiver.body_failed`."""
        if self._end():
            self._done.errback(reason)

    def _end(self) -> bool:
        """:return: this is the first end."""
        if self._over:
            return False
        self._over = True
        return True


@implementer(IConsumer)
class RequestBodyWriter:
    """
    Frames a body as its length asks for: as it is, or in chunks.

    :param transport: the upstream's.
    :param write_side: pauses the producer while the upstream does not read.
    :param length: what the producer said: bytes, or :data:`~twisted.web.iweb.UNKNOWN_LENGTH`.
    :param moved: called when something was written.
    """

    __slots__ = ("_left", "_moved", "_transport", "_write_side")

    def __init__(
        self,
        transport: IConnection,
        write_side: WriteSide,
        length: int | str,
        moved: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._write_side = write_side
        self._left = length if isinstance(length, int) else None
        self._moved = moved

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        :param producer: who writes; a push producer.
        :param streaming: True: pull producers are not supported.
        """
        if not (streaming and IPushProducer.providedBy(producer)):
            raise ValueError("only push producers are supported")
        self._write_side.register(producer)

    def unregisterProducer(self) -> None:
        """Whoever wrote is done."""
        self._write_side.unregister()

    def write(self, data: bytes) -> None:
        """
        :param data: the body's next bytes.
        :raise WrongBodyLength: they are more than was said.
        """
        self._moved()
        if self._left is None:
            if data:
                self._transport.writeSequence((b"%x\r\n" % len(data), data, b"\r\n"))
            return
        if len(data) > self._left:
            raise WrongBodyLength
        self._left -= len(data)
        self._transport.write(data)

    def end(self) -> None:
        """
        The body is complete.

        :raise WrongBodyLength: it is less than was said.
        """
        self._moved()
        if self._left is None:
            self._transport.write(b"0\r\n\r\n")
        elif self._left:
            raise WrongBodyLength


class Upload:
    """
    One body on its way out.

    :param body: produces it.
    :param transport: the upstream's.
    :param write_side: pauses the body while the upstream does not read.
    :param moved: called when something was written.
    :param failed: called when the body cannot be completed, with the reason.

    :ivar over: nothing of it is still to be sent.
    """

    def __init__(
        self,
        body: IBodyProducer,
        transport: IConnection,
        write_side: WriteSide,
        *,
        moved: Callable[[], None],
        failed: Callable[[Failure], None],
    ) -> None:
        self._body = body
        self._write_side = write_side
        self._writer = RequestBodyWriter(transport, write_side, body.length, moved)
        self._failed = failed
        self.over = False

    def start(self) -> None:
        """Send it."""
        sent = maybeDeferred(self._body.startProducing, self._writer)
        if not sent.called:
            # An IBodyProducer is paced by whoever takes it. What is paused already is paused at once.
            self._write_side.register(self._body)
        sent.addCallback(self._sent)
        sent.addErrback(self._not_sent)

    def stop(self) -> None:
        """The rest is not wanted."""
        if not self.over:
            self._end()
            self._body.stopProducing()

    def _sent(self, _: object) -> None:
        if not self.over:
            self._writer.end()
            self._end()

    def _not_sent(self, reason: Failure) -> None:
        if not self.over:
            self._end()
            self._failed(reason)

    def _end(self) -> None:
        self.over = True
        self._write_side.unregister()
