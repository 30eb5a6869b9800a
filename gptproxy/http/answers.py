"""
Answering a request with field lines as they are, on our channel or on Twisted's.

May import the HTTP room and Twisted. A resource that uses these works under :class:`twisted.web.server.Site`
too, which is how it is tested; on our channel nothing is converted on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from twisted.web import server

from gptproxy.http.grammar import Fields
from gptproxy.http.interfaces import IConnection, IRequestBody
from gptproxy.http.request import Request

__all__ = ["abort_answer", "answer_whole", "begin_answer", "fields_of", "when_lost", "whole_body"]


def fields_of(request: server.Request) -> Fields:
    """
    :param request: a request.
    :return: its field lines, names in lower case.
    """
    if isinstance(request, Request):
        return request.head.fields
    return tuple(
        (name.lower(), value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
    )


async def whole_body(request: server.Request, limit_bytes: int) -> bytes:
    """
    Read a request's body.

    :param request: a request that is rendered at its headers, or later.
    :param limit_bytes: how long the body may be.
    :return: the body.
    :raise BodyTooLarge: it is longer.
    :raise BodyIncomplete: it did not come to its end.
    :raise MalformedMessage: it is not framed as it says.
    """
    if isinstance(request, Request):
        body = request.body.take_whole(limit_bytes)
        if body is not None:
            return body
    return await IRequestBody(request).collect(limit_bytes)


def when_lost(request: server.Request, call: Callable[[], None]) -> None:
    """
    :param request: a request that is not answered yet.
    :param call: what to call if its client leaves before the answer is complete.
    """
    if isinstance(request, Request):
        request.when_lost(call)
    else:
        request.notifyFinish().addErrback(lambda _: call())


def answer_whole(
    request: server.Request,
    status: int,
    reason: bytes,
    fields: Iterable[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    """
    Write a whole answer and finish.

    :param request: a request that is not answered yet.
    :param status: status code.
    :param reason: reason phrase.
    :param fields: the field lines, framing and Date not among them.
    :param body: the body.
    """
    if isinstance(request, Request):
        request.answer_lean(status, reason, fields, body)
        return
    begin_answer(request, status, reason, fields, len(body))
    request.write(body)
    request.finish()


def begin_answer(
    request: server.Request,
    status: int,
    reason: bytes,
    fields: Iterable[tuple[bytes, bytes]],
    length: int | None,
) -> None:
    """
    Write an answer's head now; ``request.write`` and ``request.finish`` follow.

    :param request: a request that is not answered yet.
    :param status: status code.
    :param reason: reason phrase.
    :param fields: the field lines, framing and Date not among them.
    :param length: of the body in bytes; None where it is not known.
    """
    if isinstance(request, Request):
        request.begin_lean(status, reason, fields, length)
        return
    request.defaultContentType = None
    request.setResponseCode(status, reason)
    for name, value in fields:
        request.responseHeaders.addRawHeader(name, value)
    if length is not None:
        request.setHeader(b"content-length", b"%d" % length)
    request.write(b"")


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
