"""
``[reverse_proxy]``: who stands in front of gptproxy, and how it tells for whom it asks.

Pure: imports nothing of gptproxy but this room's own modules, and nothing of Twisted.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from attrs import frozen

from gptproxy.config.checks import choice, free_text
from gptproxy.config.fields import Key, Place, Refused, Section, kind_of
from gptproxy.config.making import plain

__all__ = ["REVERSE_PROXY", "Network", "ReverseProxySettings"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_NETWORKS = 64
"""Each new connection's address is looked for among them."""


@frozen
class ReverseProxySettings:
    """
    ``[reverse_proxy]``.

    :param addresses: of the proxies: nobody else is believed.
    :param protocol: ``PROXY``: their connections begin with that protocol's header, version 1 or 2, before TLS;
        ``X-Forwarded-For``: their requests have that header field.
    """

    addresses: tuple[Network, ...]
    protocol: Literal["PROXY", "X-Forwarded-For"] = "PROXY"


def _networks(value: object, place: Place) -> tuple[Network, ...]:
    """A check: a list of addresses and networks."""
    if not isinstance(value, list):
        raise Refused(f"must be a list of addresses and networks, not {kind_of(value)}")
    if len(value) > MOST_NETWORKS:
        raise Refused(f"must be {MOST_NETWORKS} at most")
    found = [place.item(number).attempt(_network, raw) for number, raw in enumerate(value, 1)]
    networks = tuple(network for network in found if network is not None)
    if len(networks) < len(found):
        raise Refused
    return networks


def _network(value: object, place: Place) -> Network:
    text = free_text(value, place)
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise Refused(
            'must be an address or a network, for example "192.0.2.7" or "10.1.0.0/16" '
            "(no bits behind its prefix)"
        ) from error
    if network.prefixlen == 0:
        raise Refused("must not be everybody: who is believed may pass for anybody else")
    return network


REVERSE_PROXY = Section(
    keys=(
        Key("addresses", _networks, required=True),
        Key("protocol", choice("PROXY", "X-Forwarded-For")),
    ),
    make=plain(ReverseProxySettings),
)
