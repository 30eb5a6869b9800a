"""
The listening sockets that all workers share: opened by the parent, which accepts nothing on them.

May import the process room, the listening module and Twisted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorCore,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import Factory
from zope.interface import implementer

from gptproxy.listening import ListeningService, UnusableEndpoint
from gptproxy.process import InheritedSocket, fitting_sockets
from gptproxy.workers.command_line import is_shared, with_port

__all__ = ["SharedSocket", "shared_sockets"]


class _Nobody(Factory):
    """Serves a port on which nothing is accepted."""

    noisy = False


@implementer(IStreamServerEndpoint)
class SharedSocket:
    """
    A port that is opened, and not accepted on. As long as it is open no connection is refused, whoever of the workers
    is away: clients wait in its queue.

    :param description: the endpoint string that the operator wrote.
    :param endpoint: opens it.
    :param given: descriptors that the service manager has opened for it already: then nothing is.
    """

    def __init__(
        self, description: str, endpoint: IStreamServerEndpoint, given: Sequence[InheritedSocket]
    ) -> None:
        self._description = description
        self._endpoint = endpoint
        self.given = tuple(given)
        # One of Twisted's own: their interface knows neither descriptors nor that reading can be left.
        self._port: Any = None

    @property
    def description(self) -> str:
        """The endpoint string by which a worker finds the socket."""
        port = self._port
        return (
            self._description if port is None else with_port(self._description, port.getHost().port)
        )

    def descriptors(self) -> list[int]:
        """:return: of the open sockets."""
        port = self._port
        return [one.descriptor for one in self.given] if port is None else [port.fileno()]

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        :param protocolFactory: never asked for anything.
        :return: fires with the port.
        """
        return self._endpoint.listen(protocolFactory).addCallback(self._opened)

    def _opened(self, port: Any) -> IListeningPort:
        port.stopReading()
        self._port = port
        return _OwnCopy(port)


@implementer(IListeningPort)
class _OwnCopy:
    """
    The parent's copy of a port, which is closed and no more. Twisted would shut the socket down, with which it accepts
    nothing in any process (shutdown(2)) and whoever waits in its queue is reset; and before that the service would
    accept them here, where nobody serves them. Both is the workers' to do.

    :param port: one of Twisted's own.
    """

    def __init__(self, port: Any) -> None:
        self._port = port

    def startListening(self) -> None:
        """It does."""

    def stopListening(self) -> Deferred[None] | None:
        """:return: fires when the copy is closed."""
        # As of a socket that it was given; there is no public name for it.
        self._port._shouldShutdown = False
        stopping: Deferred[None] | None = self._port.stopListening()
        return stopping

    def getHost(self) -> IAddress:
        """:return: where it listens."""
        address: IAddress = self._port.getHost()
        return address


def shared_sockets(
    descriptions: Sequence[str],
    reactor: IReactorCore,
    inherited: Sequence[InheritedSocket],
    pid_file: str | None,
    *,
    foreground: bool,
) -> tuple[list[SharedSocket], list[ListeningService]]:
    """
    :param descriptions: endpoint strings.
    :param reactor: opens the sockets.
    :param inherited: those that were handed down to this process.
    :param pid_file: twistd's.
    :param foreground: see :class:`~gptproxy.listening.ListeningService`.
    :return: the sockets, and the services that open those that are not open yet.
    :raise UnusableEndpoint: one is of a kind that cannot be shared, or is no endpoint.
    """
    sockets, services = [], []
    for description in descriptions:
        if not is_shared(description):
            raise UnusableEndpoint(
                f"--port {description}: several workers share tcp: and ssl: ports alone, ssl: with the key of [tls]"
            )
        try:
            endpoint = serverFromString(reactor, f"tcp:{description.partition(':')[2]}")
        except Exception as error:
            # The parsers of endpoint strings raise what they like.
            raise UnusableEndpoint(
                f"--port {description}: {' '.join(str(error).split())}"
            ) from error
        shared = SharedSocket(description, endpoint, fitting_sockets(inherited, description))
        sockets.append(shared)
        if not shared.given:
            services.append(
                ListeningService(description, shared, _Nobody(), pid_file, foreground=foreground)
            )
    return sockets, services
