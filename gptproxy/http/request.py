"""
A request on our channel: Twisted's own, fed by our grammar and found its resource when its headers are complete.

May import the HTTP room and Twisted.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, cast

from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.http import datetimeToString, parse_qs
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource

from gptproxy.http.grammar import Fields, RequestHead
from gptproxy.http.interfaces import IConnection, IRenderedAtHeaders, IRequestBody
from gptproxy.http.request_body import StreamedBody
from gptproxy.http.target import Target

if TYPE_CHECKING:
    from gptproxy.http.channel import ServerChannel

__all__ = ["Request", "abort_answer", "fields_of"]


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
        self.args = parse_qs(target.query, True) if target.query else {}
        for name, value in head.fields:
            self.requestHeaders.addRawHeader(name, value)
        self.parseCookies()
        self.site = self.channel.site
        self.setHeader(b"date", datetimeToString())
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
        self.setResponseCode(500)
        # What the resource had said of its own body (its length, its coding) is not true of this one.
        self.responseHeaders = Headers()
        for name, value in (*fields, (b"content-length", b"%d" % len(page))):
            self.responseHeaders.addRawHeader(name, value)
        self.setHeader(b"date", datetimeToString())
        self.write(page)
        self.finish()
        return reason

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


def fields_of(request: server.Request) -> Fields:
    """
    :param request: on our channel or on Twisted's.
    :return: its field lines, names in lower case.
    """
    if isinstance(request, Request):
        return request.head.fields
    return tuple(
        (name.lower(), value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
    )


def abort_answer(request: server.Request) -> None:
    """
    End an answer that cannot be completed, so that no client takes it for complete.

    :param request: whose answer; its head has been written.
    """
    if isinstance(request, Request):
        if not request._disconnected:
            request.channel.abort_answer()
    else:
        connection = cast(IConnection, request.channel.transport)
        connection.abortConnection()
