"""
TCP transports that send at once what they can.

May import Twisted, and of gptproxy who watches sockets. Twisted's own ``write`` only queues, and the data
leaves in the reactor's next turn: two ``epoll_ctl`` and an ``epoll_wait`` more for every message, and on a busy core a
wait behind all others. These transports call ``send`` right away when nothing is queued; what the kernel does not take
is queued as ever. Errors are left to the queue, too, so that a connection is never lost from within a ``write``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import main, tcp
from twisted.internet.interfaces import IConnector, IListeningPort, IProtocolFactory

from gptproxy.http.watched import sockets_watched_by

__all__ = ["ImmediateReactor", "has_unsent", "read_directly"]

READ_BYTES = 65_536
"""What is read at a time: Twisted's own measure."""


BACKLOG = 1024
"""Connections that may wait to be accepted; the kernel bounds it further (net.core.somaxconn)."""


class _Immediate(tcp.Connection):
    """A connection that writes at once, and is read from with one call less."""

    _watched: Any

    def startReading(self) -> None:
        """Be told when there is something to read."""
        self._watched.addReader(self)

    def stopReading(self) -> None:
        """Be told no more."""
        self._watched.removeReader(self)

    def startWriting(self) -> None:
        """Be told when there is room."""
        self._watched.addWriter(self)

    def stopWriting(self) -> None:
        """Be told no more."""
        self._watched.removeWriter(self)

    def doRead(self) -> Any:
        """
        Hand on what has come.

        :return: None; an exception where nothing more will come.
        """
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def write(self, data: bytes) -> None:
        """
        :param data: sent as far as the kernel takes it, the rest queued.
        """
        if (
            data
            and not self._tempDataLen
            and not self.dataBuffer
            and self.connected
            and not self._writeDisconnected
            and not self.TLS
        ):
            try:
                sent = self.socket.send(data)
            except OSError:
                # The kernel's buffer is full, or the connection is broken: the queue finds out which.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        super().write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """
        :param iovec: pieces, sent as one.
        """
        self.write(b"".join(iovec))


class _Server(_Immediate, tcp.Server):
    """A client's connection. Nagle's algorithm is off: every write is a whole message or event."""

    def __init__(
        self, sock: socket.socket, protocol: Any, client: Any, server: _Port, *more: Any
    ) -> None:
        self._watched = server.watched
        super().__init__(sock, protocol, client, server, *more)
        self.setTcpNoDelay(True)


class _Port(tcp.Port):
    transport = _Server  # type: ignore[assignment]  # typed as the class it derives from, not as a factory

    watched: Any


class _SharedPort(_Port):
    """
    A port on a socket that other processes may accept on, too: one connection a turn, so that whoever wakes up first
    does not take all that wait.
    """

    @property
    def numberAccepts(self) -> int:
        """How many are accepted in a turn; Twisted would write down here how many there were in the last."""
        return 1

    @numberAccepts.setter
    def numberAccepts(self, value: int) -> None:
        pass


class _Client(_Immediate, tcp.Client):
    """
    A connection to an upstream, likewise.

    :param watched: who watches it.
    """

    def __init__(self, watched: Any, *arguments: Any) -> None:
        self._watched = watched
        super().__init__(*arguments)

    def createInternetSocket(self) -> socket.socket:
        made: socket.socket = super().createInternetSocket()
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class _Connector(tcp.Connector):
    watched: Any

    def _makeTransport(self) -> _Client:
        return _Client(self.watched, self.host, self.port, self.bindAddress, self, self.reactor)


def has_unsent(transport: Any) -> bool:
    """
    :param transport: of a connection, plain or TLS.
    :return: bytes that were written to it wait to be taken by the kernel. Twisted has no public way to say so.
    """
    below = getattr(transport, "transport", None)
    socket_side = transport if below is None else below
    return bool(
        getattr(socket_side, "dataBuffer", b"") or getattr(socket_side, "_tempDataBuffer", ())
    )


def read_directly(protocol: Any) -> None:
    """
    Take what Twisted's endpoints put around a protocol out of its way: each read would pass through it.

    :param protocol: what an endpoint has connected.
    """
    transport = protocol.transport
    if isinstance(transport, _Client):
        transport.protocol = protocol


class ImmediateReactor:
    """
    A reactor whose TCP connections write at once; everything else is the reactor's own.

    :param reactor: the installed one.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._watched = sockets_watched_by(reactor)
        # Asked for several times in every call; by way of __getattr__ they would cost as much as a regular expression.
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """As :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        # Twisted's own 50 are gone in an instant when a loop is late, and who finds no place waits for seconds.
        listening = _Port(port, factory, max(backlog, BACKLOG), interface, self._reactor)
        listening.watched = self._watched
        listening.startListening()
        return listening

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> IListeningPort:
        """As :meth:`twisted.internet.interfaces.IReactorSocket.adoptStreamPort`, for TCP."""
        # What the reactor's own does, with our class of port; Twisted has no public way to say which.
        listening: _Port = _SharedPort._fromListeningDescriptor(
            self._reactor, fileDescriptor, addressFamily, factory
        )
        listening.watched = self._watched
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """As :meth:`twisted.internet.interfaces.IReactorTCP.connectTCP`."""
        connector = _Connector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.watched = self._watched
        connector.connect()
        return connector
