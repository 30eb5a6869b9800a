"""
Which addresses are believed when they speak for another, and for whom they spoke.

Pure: imports nothing of gptproxy, and nothing of Twisted.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

__all__ = ["Networks", "forwarded_client"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_FORWARDED = 32
"""Addresses of a header that are looked at, from its end: more proxies than anybody has in a row."""

# "192.0.2.1:4711", "[2001:db8::1]", "[2001:db8::1]:4711": some proxies add the port.
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


class Networks:
    """
    Addresses and networks of the proxies in front.

    :param networks: as :func:`ipaddress.ip_network` has them.
    """

    def __init__(self, networks: Sequence[_Network] = ()) -> None:
        self._networks = tuple(networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, host: object) -> bool:
        """:return: whether an address, given as text, is one of theirs."""
        address = _address(host) if isinstance(host, str) else None
        return address is not None and any(
            address in each for each in self._networks if each.version == address.version
        )


def _address(text: str) -> _Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    # How an IPv4 client looks to a port that takes both.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def forwarded_client(peer: str, fields: Sequence[bytes], trusted: Networks) -> str:
    """
    Who is behind the proxies that X-Forwarded-For names. It is read from its end, which the nearest proxy wrote, and
    each entry is believed only as long as whoever wrote it is trusted: what a client wrote itself is passed over.

    :param peer: the connection's other end.
    :param fields: the values of all X-Forwarded-For header fields, in order.
    :param trusted: the proxies.
    :return: the client's address; the peer's where the peer is not trusted, or says nothing that can be used.
    """
    if peer not in trusted:
        return peer
    client = peer
    for entry in reversed(b",".join(fields).decode("latin-1").split(",")[-MOST_FORWARDED:]):
        text = entry.strip()
        with_port = _WITH_PORT.fullmatch(text)
        address = _address((with_port[1] or with_port[2]) if with_port else text)
        if address is None:
            return client
        client = str(address)
        if client not in trusted:
            return client
    return client
