"""
A streamed form whose small fields are looked at before they go on: some of them name stored objects.

May import the HTTP, ownership and wire rooms, this room, and Twisted. What is not checked yet is not sent, so an
upstream that got the form's end got a form that was checked whole.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from gptproxy.api.form_call import broken_form
from gptproxy.api.objects import refused_reference
from gptproxy.http import IBodyReceiver, IRequestBody
from gptproxy.ownership import TooManyReferences, form_references
from gptproxy.wire import BrokenForm, FormScan

__all__ = ["CheckedForm"]


@implementer(IRequestBody, IBodyReceiver, IPushProducer)
class CheckedForm:
    """
    Stands between a request's body and who takes it.

    :param body: the request's.
    :param boundary: the form's.
    :param check: raises a Refusal where one of these ids is not the caller's, or is kept elsewhere.
    """

    def __init__(
        self,
        body: IRequestBody,
        boundary: bytes,
        check: Callable[[Collection[str]], Awaitable[None]],
    ) -> None:
        self._body = body
        self._scan = FormScan(boundary)
        self._check = check
        self._source: IPushProducer | None = None
        self._receiver: IBodyReceiver | None = None
        # What came while ids were looked up: at most a read or two, because the client is paused meanwhile.
        self._waiting: list[bytes] = []
        self._checking: Deferred[None] | None = None
        self._paused = False
        self._finished = False
        self.length: int | None = body.length

    @property
    def started(self) -> bool:
        """Somebody has asked for it."""
        return bool(self._body.started)

    def collect(self, limit_bytes: int) -> Deferred[bytes]:
        """Nobody collects a body that is streamed."""
        raise NotImplementedError

    def deliver(self, receiver: IBodyReceiver) -> CheckedForm:
        """As :meth:`IRequestBody.deliver`."""
        self._receiver = receiver
        self._source = self._body.deliver(self)
        if self._paused or self._checking is not None:
            self._source.pauseProducing()
        return self

    # IBodyReceiver

    def body_piece(self, piece: bytes) -> None:
        """:param piece: the form's next bytes."""
        if self._receiver is None:
            return
        try:
            self._scan.feed(piece)
            ids = self._new_ids()
        except BrokenForm as error:
            self._fail(Failure(broken_form(error)))
            return
        except TooManyReferences as error:
            self._fail(Failure(refused_reference(str(error))))
            return
        if ids:
            self._waiting.append(piece)
            self._begin_check(ids)
        elif self._checking is not None:
            self._waiting.append(piece)
        else:
            self._receiver.body_piece(piece)

    def body_finished(self) -> None:
        """The form has come to its end."""
        try:
            self._scan.finish()
        except BrokenForm as error:
            self._fail(Failure(broken_form(error)))
            return
        self._finished = True
        if self._checking is None:
            self._pass_on()

    def body_failed(self, reason: Failure) -> None:
        """:param reason: why the form will not come to its end."""
        self._fail(reason)

    # IPushProducer

    def pauseProducing(self) -> None:
        """Stop reading from the client."""
        self._paused = True
        if self._source is not None:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        """Go on reading from the client, unless ids are being looked up."""
        self._paused = False
        if self._source is not None and self._checking is None:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        """Drop what is still to come."""
        self._receiver = None
        checking, self._checking = self._checking, None
        if checking is not None:
            checking.cancel()
        if self._source is not None:
            self._source.stopProducing()

    def _new_ids(self) -> list[str]:
        parts, self._scan.parts = self._scan.parts, []
        return [
            each
            for part in parts
            for each in form_references(
                part.name, (part.value or b"").decode("utf-8", "replace"), is_file=part.is_file
            )
        ]

    def _begin_check(self, ids: Collection[str]) -> None:
        before = self._checking

        async def check() -> None:
            if before is not None:
                await before
            await self._check(ids)

        if self._source is not None:
            self._source.pauseProducing()
        checking: Deferred[None] = Deferred.fromCoroutine(check())
        self._checking = checking
        checking.addCallbacks(lambda _: self._checked(checking), self._fail)

    def _checked(self, checking: Deferred[None]) -> None:
        if self._checking is not checking:
            return
        self._checking = None
        self._pass_on()
        if not self._paused and self._source is not None and not self._finished:
            self._source.resumeProducing()

    def _pass_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for piece in waiting:
            if self._receiver is not None:
                self._receiver.body_piece(piece)
        if self._finished and self._receiver is not None:
            receiver, self._receiver = self._receiver, None
            receiver.body_finished()

    def _fail(self, reason: Failure) -> None:
        receiver, self._receiver = self._receiver, None
        self._waiting.clear()
        self._checking = None
        if receiver is not None:
            receiver.body_failed(reason)
            if self._source is not None:
                self._source.stopProducing()
