"""
Connections that a proxy in front announces by a PROXY header: TCP, then PROXY, then TLS.

May import Twisted and this room. Twisted's ``haproxy:ssl:`` looks for the header inside TLS, where no proxy that passes
TLS through can put it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from gptproxy.process.networks import Networks
from gptproxy.process.proxy_header import BadHeader, ProxyHeader, read_header

__all__ = ["ProxiedFactory"]

HEADER_SECONDS = 5.0
"""A proxy sends the header first of all; the specification asks to wait for 3 seconds at least (section 2)."""

SECONDS_BETWEEN_LINES = 10.0
"""A misconfigured proxy must not fill the log."""


class _Announced(ProtocolWrapper):
    """
    A connection whose other end is whom the proxy named.

    :param factory: the factory.
    :param wrapped: what serves the client.
    :param client: its address.
    """

    def __init__(self, factory: WrappingFactory, wrapped: IProtocol, client: IAddress) -> None:
        super().__init__(factory, wrapped)  # type: ignore[arg-type]  # typed as Twisted's own class
        self._client = client

    def getPeer(self) -> IAddress:
        """:return: the client's address."""
        return self._client


class _Announcement(Protocol):
    """
    Reads the header, then steps aside.

    :param factory: what serves.
    :param proxy: the proxy's address.
    :param clock: for the wait.
    """

    def __init__(self, factory: ProxiedFactory, proxy: IAddress, clock: IReactorTime) -> None:
        self.factory = factory
        self._owner = factory
        self._proxy = proxy
        self._clock = clock
        self._read = b""
        self._patience: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """Wait for it."""
        self._patience = self._clock.callLater(
            HEADER_SECONDS, self._refuse, "none came within 5 seconds"
        )

    def dataReceived(self, data: bytes) -> None:
        """
        :param data: the header's, and perhaps the client's first.
        """
        if self._patience is None:
            return  # refused; what is still on its way is of no use
        self._read += data
        try:
            header = read_header(self._read)
        except BadHeader as error:
            self._refuse(str(error))
            return
        if header is not None:
            self._step_aside(header)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        :param reason: of no interest.
        """
        self._stop_waiting()

    def _step_aside(self, header: ProxyHeader) -> None:
        self._stop_waiting()
        transport: Any = self.transport
        kind = IPv6Address if ":" in header.host else IPv4Address
        client = kind("TCP", header.host, header.port) if header.host else self._proxy
        served = self._owner.wrappedFactory.buildProtocol(client)
        if served is None:
            transport.abortConnection()
            return
        announced = _Announced(self._owner, served, client)
        # As a TCP transport has it: what comes next goes to the protocol that stands there.
        transport.protocol = announced
        announced.makeConnection(transport)
        rest = self._read[header.length :]
        if rest and transport.connected:
            announced.dataReceived(rest)

    def _refuse(self, reason: str) -> None:
        self._stop_waiting()
        self._owner.tell(self._proxy, reason)
        transport: Any = self.transport
        transport.abortConnection()

    def _stop_waiting(self) -> None:
        patience, self._patience = self._patience, None
        if patience is not None and patience.active():
            patience.cancel()


class ProxiedFactory(WrappingFactory):
    """
    Connections from a trusted proxy begin with a PROXY header, and count as the client's that it names; without one
    they are closed, since a receiver must not guess (section 2). All others are served as they come, and a header from
    them is what it looks like: no TLS, and no HTTP.

    :param factory: what serves; TLS included, where there is TLS.
    :param trusted: the proxies.
    :param clock: for the wait, and the log's pace.
    """

    noisy = False
    _log = Logger()

    def __init__(self, factory: IProtocolFactory, trusted: Networks, clock: IReactorTime) -> None:
        super().__init__(factory)
        self._trusted = trusted
        self._clock = clock
        self._quiet_until = 0.0

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        :param addr: of who connects.
        :return: what serves it.
        """
        if isinstance(addr, IPv4Address | IPv6Address) and addr.host in self._trusted:
            return _Announcement(self, addr, self._clock)
        return self.wrappedFactory.buildProtocol(addr)

    def tell(self, proxy: IAddress, reason: str) -> None:
        """
        Log that a trusted proxy sent something else, not too often.

        :param proxy: its address.
        :param reason: what is wrong.
        """
        if self._clock.seconds() < self._quiet_until:
            return
        self._quiet_until = self._clock.seconds() + SECONDS_BETWEEN_LINES
        self._log.warn(
            "closed a connection from {proxy}, which is in [reverse_proxy] addresses, for want of a PROXY header: "
            "{reason}",
            proxy=getattr(proxy, "host", proxy),
            reason=reason,
        )
