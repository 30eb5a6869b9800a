"""
What the HTTP room promises to the rooms above, as interfaces.

May import Twisted and zope.interface; nothing of gptproxy.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IPushProducer,
    IReactorCore,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
    ITCPTransport,
)
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from zope.interface import Attribute, Interface

__all__ = ["IBodyReceiver", "IConnection", "IReactor", "IRenderedAtHeaders", "IRequestBody"]


class IReactor(
    IReactorCore,
    IReactorPluggableNameResolver,
    IReactorSocket,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
):
    """The reactor as this house uses it: what connecting, waiting and working in threads take together."""


class IConnection(ITCPTransport, IConsumer, IPushProducer):
    """A protocol's transport as it is: TCP, or TLS over it, which offers the same."""


class IRenderedAtHeaders(IResource):
    """
    A resource whose ``render`` is called as soon as a request's headers are complete, before its body is read.

    It reads the body, if it wants to, through ``IRequestBody(request)``. Under :class:`twisted.web.server.Site`, which
    knows nothing of this interface, ``render`` is called when the body is complete; the same code works there too.
    """


class IBodyReceiver(Interface):
    """Who takes a body piece by piece."""

    def body_piece(piece: bytes) -> None:
        """:param piece: the body's next bytes, not empty."""

    def body_finished() -> None:
        """The body is complete; nothing follows."""

    def body_failed(reason: Failure) -> None:
        """
        The body will not be complete; nothing follows.

        :param reason: a :class:`~gptproxy.http.request_body.BodyIncomplete` or
            :class:`~gptproxy.http.grammar.MalformedMessage`.
        """


class IRequestBody(Interface):
    """
    A request's body, read once, when whoever answers the request asks for it.

    A client that waits for ``100 Continue`` (RFC 9110 10.1.1) gets it at that moment, so never before it is authorised.
    """

    length = Attribute("The length in bytes that the request tells; None where it comes in chunks.")
    started = Attribute("bool: somebody has asked for it.")

    def collect(limit_bytes: int) -> Deferred[bytes]:
        """
        Read the whole body into memory.

        :param limit_bytes: how long it may be.
        :return: a Deferred that fires with the body. It fails with
            :class:`~gptproxy.http.request_body.BodyTooLarge` (at once, if the request tells its length),
            :class:`~gptproxy.http.request_body.BodyIncomplete` or
            :class:`~gptproxy.http.grammar.MalformedMessage`. Cancelling it stops the reading.
        """

    def deliver(receiver: IBodyReceiver) -> IPushProducer:
        """
        Hand the body on as it comes.

        :param receiver: who takes it.
        :return: pauses and resumes the client; stopping it drops what is still to come.
        """
