"""
TCP transports that send at once what they can.

May import Twisted, and of gptproxy the connections that are refused. Twisted's own ``write`` only queues, and the data
leaves in the reactor's next turn: two ``epoll_ctl`` and an ``epoll_wait`` more for every message, and on a busy core a
wait behind all others. These transports call ``send`` right away when nothing is queued; what the kernel does not take
is queued as ever. Errors are left to the queue, too, so that a connection is never lost from within a ``write``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IConnector, IListeningPort, IProtocolFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from gptproxy.http.connection_limit import RefusedConnection

__all__ = ["ImmediateReactor", "ImmediateTLSFactory"]


class _ImmediateWrites(tcp.Connection):
    """A connection's writing."""

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


class _Server(_ImmediateWrites, tcp.Server):
    """A client's connection. Nagle's algorithm is off: every write is a whole message or event."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.setTcpNoDelay(True)


class _Port(tcp.Port):
    transport = _Server  # type: ignore[assignment]  # typed as the class it derives from, not as a factory


class _Client(_ImmediateWrites, tcp.Client):
    """A connection to an upstream, likewise."""

    def createInternetSocket(self) -> socket.socket:
        made: socket.socket = super().createInternetSocket()
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class _Connector(tcp.Connector):
    def _makeTransport(self) -> _Client:
        return _Client(self.host, self.port, self.bindAddress, self, self.reactor)


class ImmediateReactor:
    """
    A reactor whose TCP connections write at once; everything else is the reactor's own.

    :param reactor: the installed one.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # Asked for several times in every call; by way of __getattr__ they would cost as much as a regular expression.
        self.seconds = reactor.seconds
        self.callLater = reactor.callLater

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """As :meth:`twisted.internet.interfaces.IReactorTCP.listenTCP`."""
        listening = _Port(port, factory, backlog, interface, self._reactor)
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
        connector.connect()
        return connector


class ImmediateTLSFactory(TLSMemoryBIOFactory):
    """TLS whose writes are encrypted at once: Twisted's own waits a turn to put small ones together."""

    protocol = TLSMemoryBIOProtocol

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        :param addr: the client's.
        :return: TLS around what is served; what refuses the connection as it is, so that no TLS is begun for it.
        """
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return wrapped if isinstance(wrapped, RefusedConnection) else self.protocol(self, wrapped)
