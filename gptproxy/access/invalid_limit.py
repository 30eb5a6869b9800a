"""
How many invalid tokens an address may send.

May import the HTTP room and Twisted's addresses; does no I/O. Time is passed in. GitLab counts invalid tokens by the
address they come from, and that is the gateway's: it must not be a way to have the gateway locked out.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.address import IPv4Address

from gptproxy.http.connection_limit import network_of

__all__ = ["InvalidTokens"]

BURST = 30
"""Invalid tokens at once: more than the calls to GitLab in flight, so that those of one moment all find a place."""

SECONDS_EACH = 6.0
"""One more after so long: 10 a minute. GitLab's own limits for the unauthenticated begin at 300 a minute."""

SHARED_BURST = 300
"""The same for loopback and where no address is known: a reverse proxy there speaks for everybody."""

IN_FLIGHT = 20
"""Calls to GitLab at a time (:data:`gptproxy.access.slots.MOST`): so many tokens of an address may be on their way
there when its bucket is found empty. They are paid for later, or an address that goes on would have as many each time
that there is one in the bucket."""

ADDRESSES = 10_000
"""Networks remembered; 2 MiB. An attacker with more has the oldest forgotten, and the calls in flight as a bound."""


class InvalidTokens:
    """
    A token bucket for each network, kept as the moment at which it will be full again; loopback's is larger.

    :param addresses: buckets at most; a full one needs none.
    """

    def __init__(self, addresses: int = ADDRESSES) -> None:
        self._addresses = addresses
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """
        :param address: a client's.
        :param now: seconds.
        :return: seconds until one of its unknown tokens is looked at; 0 for at once.
        """
        network = _network(address)
        burst, each = _bucket(network)
        return max(0.0, self._lacking(network, now) - (burst - 1) * each)

    def sent(self, address: str, now: float) -> None:
        """
        Take one out of the bucket.

        :param address: of a client that sent an invalid token.
        :param now: seconds.
        """
        network = _network(address)
        _, each = _bucket(network)
        self._full_at[network] = now + self._lacking(network, now) + each
        self._full_at.move_to_end(network)
        if len(self._full_at) > self._addresses:
            self._full_at.popitem(last=False)

    def _lacking(self, network: str, now: float) -> float:
        """:return: seconds until the bucket is full."""
        burst, each = _bucket(network)
        lacking = max(0.0, self._full_at.get(network, now) - now)
        # A clock that was set back must not lock anybody out for longer than an empty bucket takes.
        return lacking if lacking <= (burst + IN_FLIGHT) * each else burst * each

    def __len__(self) -> int:
        """:return: networks remembered."""
        return len(self._full_at)


def _network(address: str) -> str:
    """:return: what is counted as one: an IPv4 address, the /64 of an IPv6 one; empty for loopback and for none."""
    # The class says nothing of the family there; the text does.
    return network_of(IPv4Address("TCP", address, 0)) or ""


def _bucket(network: str) -> tuple[int, float]:
    """:return: how many it holds, and the seconds until there is one more."""
    if network:
        return BURST, SECONDS_EACH
    return SHARED_BURST, SECONDS_EACH * BURST / SHARED_BURST
