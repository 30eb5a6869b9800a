"""
A request on our channel: Twisted's own, fed by our grammar and found its resource when its headers are complete.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from gptproxy.http.grammar import RequestHead
from gptproxy.http.interfaces import IConnection, IRenderedAtHeaders, IRequestBody
from gptproxy.http.request_body import StreamedBody
from gptproxy.http.target import Target

if TYPE_CHECKING:
    from gptproxy.http.channel import ServerChannel

__all__ = ["Request"]

_T = TypeVar("_T")


class _made_once(Generic[_T]):  # noqa: N801 - a decorator
    """What is made when it is first asked for. Python 3.11's own takes a lock, which costs more than most of these."""

    def __init__(self, make: Callable[[Any], _T]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> _T:
        made = instance.__dict__[self._name] = self._make(instance)
        return made


class Request(server.Request):
    """
    One request and the answer to it. Form bodies are not parsed into ``args``: one multipart body can hold the reactor
    for seconds.

    :param channel: the connection it came on.

    :ivar head: the request's line and fields.
    :ivar target: its target, parsed.
    :ivar body: its body, to be read by a resource rendered at the headers.
    """

    channel: ServerChannel  # type: ignore[assignment]  # it stands in for Twisted's HTTPChannel
    head: RequestHead
    target: Target
    body: StreamedBody

    def __init__(self, channel: ServerChannel) -> None:
        # Not Twisted's own: what it makes for every request (two Headers, four lists, two addresses) is made here when
        # it is asked for, which a relayed call never does.
        self.channel = channel
        self.queued = 0
        self.notifications: list[Deferred[None]] = []
        self._adapterCache: dict[str, object] = {}
        self._lost: Callable[[], None] | None = None
        self._lean = False

    @_made_once
    def requestHeaders(self) -> Headers:
        """The field lines as Twisted's resources want them."""
        headers = Headers()
        for name, value in self.head.fields:
            headers.addRawHeader(name, value)
        return headers

    @_made_once
    def responseHeaders(self) -> Headers:
        """What the answer's head will say."""
        return Headers({b"date": [datetimeToString()]})

    @_made_once
    def received_cookies(self) -> dict[bytes, bytes]:
        """The cookies of the request."""
        self.received_cookies = {}
        self.parseCookies()
        return self.received_cookies

    @_made_once
    def cookies(self) -> list[bytes]:
        """The cookies of the answer."""
        return []

    @_made_once
    def args(self) -> dict[bytes, list[bytes]]:
        """The query's parameters."""
        return parse_qs(self.target.query, True) if self.target.query else {}

    @_made_once
    def client(self) -> IAddress:
        """The client's address; behind a trusted proxy the one that it tells."""
        peer, behind = self.channel.getPeer(), self.channel.site.behind_proxy
        return peer if behind is None else behind(peer, self.head.fields)

    @_made_once
    def host(self) -> IAddress:
        """The address the client reached."""
        return self.channel.getHost()

    @property
    def transport(self) -> IConnection:  # type: ignore[override]  # likewise
        """The connection's."""
        return self.channel.transport

    def __conform__(self, interface: object) -> object:
        """zope.interface's question what this request provides: its body, for one."""
        return self.body if interface is IRequestBody else super().__conform__(interface)

    def headers_complete(self, head: RequestHead, target: Target, body: StreamedBody) -> None:
        """
        Find the resource; render it now or when the body is complete, as the resource wants.

        :param head: the request's line and fields.
        :param target: its target.
        :param body: its body, not asked for yet.
        """
        self.head, self.target, self.body = head, target, body
        self.method, self.uri = head.method, head.target
        self.clientproto = b"HTTP/1.%d" % head.minor_version
        self.path = target.path
        self.site = self.channel.site
        self.prepath = []
        self.postpath = [*target.segments, *((b"",) if target.path.endswith(b"/") else ())]
        try:
            resource = self.channel.site.getResourceFor(self)
        except Exception:  # noqa: BLE001 - as Twisted does: whatever a getChild raises is logged and answered 500
            self.processingFailed(Failure())
            return
        if IRenderedAtHeaders.providedBy(resource):
            self._render(resource)
            return
        collected = body.collect(self.channel.site.body_limit_bytes)
        collected.addCallback(self._body_complete, resource)
        collected.addErrback(self._refuse)

    def processingFailed(self, reason: Failure) -> Failure:
        """
        Answer for a resource that failed: in the site's own words, or by breaking off what it had begun.

        :param reason: what it raised.
        :return: that.
        """
        self._log.failure("a resource failed", failure=reason)
        if self._disconnected or self.finished:
            return reason
        if self.producer:
            self.unregisterProducer()
        if self.startedWriting:
            self.channel.abort_answer()
            return reason
        fields, page = self.channel.site.refusal_page(500, "The server failed on this request.")
        if self._inFakeHead:
            self._inFakeHead = False
            self.method = b"HEAD"
        # What the resource had said of its own body (its length, its coding) is not true of this one.
        self.answer_lean(500, b"Internal Server Error", fields, page)
        return reason

    def connectionLost(self, reason: Failure) -> None:
        """
        :param reason: why the client is gone.
        """
        super().connectionLost(reason)
        lost, self._lost = self._lost, None
        if lost is not None:
            lost()

    # Answering with field lines as they are

    def when_lost(self, call: Callable[[], None]) -> None:
        """
        :param call: what to call if the client leaves before the answer is complete; in place of what was given before.
        """
        self._lost = call

    def begin_lean(
        self, status: int, reason: bytes, fields: Iterable[tuple[bytes, bytes]], length: int | None
    ) -> None:
        """
        Write the answer's head from field lines, without Headers in between; :meth:`write` and :meth:`finish` follow.

        :param status: status code.
        :param reason: reason phrase.
        :param fields: the field lines, framing and Date not among them.
        :param length: of the body in bytes; None where it is not known.
        """
        self.code, self.startedWriting, self._lean = status, 1, True
        self.chunked = length is None and self.clientproto == b"HTTP/1.1" and self._has_body(status)
        self.channel.write_lean_head(status, reason, fields, length, chunked=bool(self.chunked))

    def answer_lean(
        self, status: int, reason: bytes, fields: Iterable[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """
        Write a whole answer at once.

        :param status: status code.
        :param reason: reason phrase.
        :param fields: the field lines, framing and Date not among them.
        :param body: the body.
        """
        self.code, self.startedWriting, self._lean = status, 1, True
        sent = body if self._has_body(status) else b""
        self.sentLength = len(sent)
        # RFC 9110 8.6: a 204 has no length, not even 0.
        length = None if status == 204 else len(body)
        self.channel.write_lean_head(status, reason, fields, length, body=sent)
        self.finish()

    def write(self, data: bytes) -> None:
        """
        :param data: the body's next bytes.
        """
        if not self._lean:
            super().write(data)
        elif data and not self._disconnected and self._has_body(self.code):
            self.sentLength += len(data)
            if self.chunked:
                self.channel.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                self.channel.write(data)

    def finish(self) -> None:
        """The answer is complete."""
        if not self._lean or self._disconnected or self.finished:
            # Twisted's own words for a misuse are good enough here too.
            super().finish()
            return
        if self.chunked:
            self.channel.write(b"0\r\n\r\n")
        self.finished = 1
        self._lost = None
        channel = self.channel
        del self.channel
        channel.requestDone(self)
        for notification in self.notifications:
            notification.callback(None)
        self.notifications = []

    def _has_body(self, status: int) -> bool:
        """:return: an answer of this status to this method has a body (RFC 9110 6.4.1)."""
        return self.method != b"HEAD" and status >= 200 and status not in (204, 304)

    def _body_complete(self, content: bytes, resource: IResource) -> None:
        self.content = BytesIO(content)
        self._render(resource)

    def _render(self, resource: IResource) -> None:
        try:
            self.render(resource)
        except Exception:  # noqa: BLE001 - as Twisted does: a resource's fault is logged and answered 500
            self.processingFailed(Failure())

    def _refuse(self, reason: Failure) -> None:
        if not self._disconnected:
            self.channel.refuse_body(reason)
