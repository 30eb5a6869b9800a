"""
How many clients may be connected, in all and from one address, and what becomes of one too many.

May import Twisted; nothing of gptproxy. It counts; who accepts connections asks it for a :class:`Place`, and says when
the place is taken and left. Counting begins when a connection is made, not when its protocol is built: Twisted reports
the end of the former only.
"""

from __future__ import annotations

import ipaddress

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

__all__ = ["ConnectionLimit", "Place", "RefusedConnection", "fitting_connections", "network_of"]

SECONDS_BETWEEN_LINES = 10.0
"""A flood of connections must not become a flood of log lines."""


def fitting_connections(configured: int, open_files: int | None) -> int:
    """
    :param configured: how many clients the operator would have.
    :param open_files: how many the process may have open (RLIMIT_NOFILE); None where that is not bounded.
    :return: how many there is room for: less than half, since a call has a connection to an upstream as well.
    """
    return configured if open_files is None else min(configured, max(1, (open_files - 1) // 2))


def network_of(address: IAddress | None) -> str | None:
    """
    :param address: a client's.
    :return: what is counted as one address: an IPv4 address, or the /64 of an IPv6 one, which is what a single host
        has to choose from (RFC 4291 2.5.4); None where nothing is: loopback, where a reverse proxy speaks for
        everybody, and UNIX sockets.
    """
    if not isinstance(address, IPv4Address | IPv6Address):
        return None
    try:
        host = ipaddress.ip_address(address.host)
    except ValueError:
        return str(address.host)
    if isinstance(host, ipaddress.IPv6Address):
        # How IPv4 clients look to a port that takes both.
        host = host.ipv4_mapped or host
    if host.is_loopback:
        return None
    if isinstance(host, ipaddress.IPv4Address):
        return str(host)
    return f"{ipaddress.IPv6Address(int(host) >> 64 << 64)}/64"


class ConnectionLimit:
    """
    Counts clients' connections, and those refused.

    :param clock: for the log's pace.
    :param connections: how many there may be.
    :param per_address: how many of them from one address, as :func:`network_of` has it.
    :ivar open: how many there are.
    :ivar refused: how many have been closed because there was no place.
    """

    _log = Logger()

    def __init__(
        self, clock: IReactorTime, connections: int = 10_000, per_address: int = 1_000
    ) -> None:
        self.connections = connections
        self.per_address = per_address
        self.open = 0
        self.refused = 0
        self._from: dict[str, int] = {}
        self._clock = clock
        # Runs from one line of the log to the next.
        self._quiet: IDelayedCall | None = None
        self._untold = 0
        self._untold_per_address = 0
        self._last: str | None = None

    def place(self, address: IAddress | None) -> Place | None:
        """
        :param address: of a client that connects.
        :return: for its connection; None where it must be refused, which is counted.
        """
        network = network_of(address)
        if self.open < self.connections:
            if network is None or self._from.get(network, 0) < self.per_address:
                return Place(self, network)
            self._untold_per_address += 1
        self.refused += 1
        self._untold += 1
        self._last = network or "this machine"
        if self._quiet is None:
            self._tell()
        return None

    def opened(self, network: str | None) -> None:
        """:param network: from which there is one connection more."""
        self.open += 1
        if network is not None:
            self._from[network] = self._from.get(network, 0) + 1

    def closed(self, network: str | None) -> None:
        """:param network: from which there is one connection less."""
        self.open -= 1
        if network is not None:
            self._from[network] -= 1
            if not self._from[network]:
                # Else every address that ever connected would stay.
                del self._from[network]

    def stop(self) -> None:
        """Nobody connects any more: tell what has not been told."""
        quiet, self._quiet = self._quiet, None
        if quiet is not None:
            quiet.cancel()
        if self._untold:
            self._write_line()

    def _tell(self) -> None:
        """Tell now what has been refused, then nothing for a while; the next line has what comes meanwhile."""
        self._quiet = None
        if self._untold:
            self._write_line()
            self._quiet = self._clock.callLater(SECONDS_BETWEEN_LINES, self._tell)

    def _write_line(self) -> None:
        self._log.warn(
            "refused {refused} connections: {per_address} over [limits] connections_per_address = "
            "{most_per_address}, the others over connections = {most}; {open} are open; the last came from {last}",
            refused=self._untold,
            per_address=self._untold_per_address,
            most_per_address=self.per_address,
            most=self.connections,
            open=self.open,
            last=self._last,
        )
        self._untold = self._untold_per_address = 0


class Place:
    """
    What one connection takes up.

    :param limit: who counts.
    :param network: where the client is, as :func:`network_of` has it.
    """

    __slots__ = ("_limit", "_network", "_taken")

    def __init__(self, limit: ConnectionLimit, network: str | None) -> None:
        self._limit = limit
        self._network = network
        self._taken = False

    def take(self) -> None:
        """The connection is made."""
        self._taken = True
        self._limit.opened(self._network)

    def leave(self) -> None:
        """The connection has ended; one that was never made has nothing to give back."""
        if self._taken:
            self._taken = False
            self._limit.closed(self._network)


class RefusedConnection(Protocol):
    """A connection that nobody has room for: reset as soon as it is made, without a byte."""

    transport: ITCPTransport

    def connectionMade(self) -> None:
        """Reset: an orderly end would leave the socket with the kernel until the client agrees."""
        self.transport.abortConnection()
