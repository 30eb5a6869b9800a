"""
The client behind a proxy that says so in each request, by X-Forwarded-For.

May import Twisted and this room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from gptproxy.process.networks import Networks, forwarded_client

__all__ = ["forwarded_by"]


def forwarded_by(
    trusted: Networks,
) -> Callable[[IAddress, Iterable[tuple[bytes, bytes]]], IAddress]:
    """
    :param trusted: the proxies.
    :return: what tells, by a connection's other end and a request's field lines (names in lower case), whose the
        request is. The port is the connection's: the header has none that could be relied on.
    """

    def client(peer: IAddress, fields: Iterable[tuple[bytes, bytes]]) -> IAddress:
        if not isinstance(peer, IPv4Address | IPv6Address) or peer.host not in trusted:
            return peer
        said = [value for name, value in fields if name == b"x-forwarded-for"]
        host = forwarded_client(peer.host, said, trusted)
        kind = IPv6Address if ":" in host else IPv4Address
        return kind("TCP", host, peer.port)

    return client
