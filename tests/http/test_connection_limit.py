"""How many clients may be connected: what is counted, what is refused, and that nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, IProtocolFactory
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.resource import Resource

from gptproxy.http import ConnectionLimit, ImmediateTLSFactory, Request, Site, fitting_connections
from gptproxy.http.channel import ServerChannel
from gptproxy.http.connection_limit import RefusedConnection, network_of
from tests.http.certificates import server_options
from tests.http.memory import MemoryTransport, reset
from tests.http.serving import EarlyRendered, Rendered

SERVER_OPTIONS = server_options("localhost")
GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
NEAR = IPv4Address("TCP", "192.0.2.1", 50_000)
FAR = IPv4Address("TCP", "198.51.100.1", 50_000)
LOOPBACK = IPv4Address("TCP", "127.0.0.1", 50_000)


def site_of(
    connections: int, per_address: int = 1_000, resource: Resource | None = None
) -> tuple[Site, Clock]:
    clock = Clock()
    limit = ConnectionLimit(clock, connections, per_address)
    return Site(resource or Rendered(lambda _: b"hello"), clock, connection_limit=limit), clock


def connect(factory: IProtocolFactory, address: IAddress | None = NEAR) -> MemoryTransport:
    transport = MemoryTransport()
    transport.connect(factory.buildProtocol(address))
    return transport


def lines(events: list[dict[str, object]]) -> list[str]:
    return [formatEvent(event) for event in events]


def nothing_is_left(limit: ConnectionLimit) -> bool:
    return limit.open == 0 and limit._from == {}


# What is counted


@pytest.mark.parametrize(
    ("configured", "open_files", "fits"),
    [
        (10_000, 20_001, 10_000),
        (10_000, 20_000, 9_999),
        (10_000, 1024, 511),
        (10, 1024, 10),
        (10, 1, 1),
        (10, 0, 1),
        (10_000, None, 10_000),
    ],
)
def test_connections_stay_below_half_of_the_open_files(
    configured: int, open_files: int | None, fits: int
) -> None:
    assert fitting_connections(configured, open_files) == fits


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (NEAR, "192.0.2.1"),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 1), "192.0.2.1"),
        (IPv6Address("TCP", "2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (IPv6Address("TCP", "fe80::1%eth0", 1), "fe80::/64"),
        (IPv4Address("TCP", "odd", 1), "odd"),
        (LOOPBACK, None),
        (IPv4Address("TCP", "127.9.9.9", 1), None),
        (IPv6Address("TCP", "::1", 1), None),
        (IPv6Address("TCP", "::ffff:127.0.0.1", 1), None),
        (UNIXAddress(b"/run/gptproxy"), None),
        (None, None),
    ],
)
def test_what_counts_as_one_address(address: IAddress | None, network: str | None) -> None:
    assert network_of(address) == network


def test_one_address_may_not_take_everything() -> None:
    site, _ = site_of(10, 2)
    held = [connect(site) for _ in range(2)]
    assert connect(site).aborted
    assert not connect(site, FAR).aborted
    held.pop().leave()
    assert not connect(site).aborted
    assert site.connection_limit.refused == 1


@pytest.mark.parametrize("address", [LOOPBACK, UNIXAddress(b"/run/gptproxy"), None])
def test_whom_the_bound_per_address_does_not_touch_the_other_does(address: IAddress) -> None:
    site, _ = site_of(5, 1)
    held = [connect(site, address) for _ in range(5)]
    assert not any(transport.aborted for transport in held)
    assert connect(site, address).aborted
    assert connect(site, FAR).aborted
    for transport in held:
        transport.leave()
    assert nothing_is_left(site.connection_limit)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("come"), st.integers(0, 3)),
            st.tuples(st.just("go"), st.integers(0, 9)),
        )
    )
)
def test_whatever_comes_and_goes_the_bounds_hold_and_the_count_is_exact(
    steps: list[tuple[str, int]],
) -> None:
    limit = ConnectionLimit(Clock(), 5, 2)
    addresses = [NEAR, FAR, LOOPBACK, None]
    held = []
    for step, number in steps:
        if step == "come":
            address = addresses[number]
            place = limit.place(address)
            same = [a for _, a in held if a == address]
            full = len(held) == 5 or (address in (NEAR, FAR) and len(same) == 2)
            assert (place is None) == full
            if place is not None:
                place.take()
                held.append((place, address))
        elif held:
            held.pop(number % len(held))[0].leave()
        assert limit.open == len(held)
    for place, _ in held:
        place.leave()
        place.leave()
    assert nothing_is_left(limit)


# Every way in which a connection ends


def reset_by_server(request: Request) -> None:
    request.channel.transport.abortConnection()


@pytest.mark.parametrize(
    "end",
    [
        lambda transport, clock: transport.leave(),
        lambda transport, clock: transport.leave(reset()),
        lambda transport, clock: (transport.deliver(GET), transport.leave()),
        lambda transport, clock: (transport.deliver(GET[:9]), transport.leave(reset())),
        lambda transport, clock: transport.deliver(b"bad\r\n\r\n"),
        lambda transport, clock: transport.deliver(GET[:-2] + b"connection: close\r\n\r\n"),
        lambda transport, clock: transport.deliver(GET.replace(b"1.1", b"1.0")),
        lambda transport, clock: None,
        lambda transport, clock: transport.deliver(GET[:9]),
        lambda transport, clock: transport.deliver(GET),
    ],
    ids=[
        "closed by the client",
        "reset by the client",
        "closed after an answer",
        "reset within a head",
        "malformed",
        "closed as asked",
        "HTTP/1.0",
        "silence from the start",
        "a head too slow",
        "silence after an answer",
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_a_place_comes_back_however_the_connection_ends(
    end: Callable[[MemoryTransport, Clock], object], secure: bool
) -> None:
    site, clock = site_of(1)
    factory = ImmediateTLSFactory(SERVER_OPTIONS, False, site, clock) if secure else site
    transport = connect(factory)
    assert site.connection_limit.open == 1
    end(transport, clock)
    for _ in range(10):
        # The longest of the site's timeouts, and that of closing behind it.
        clock.advance(30)
        transport.settle()
    assert transport.lost is not None
    assert nothing_is_left(site.connection_limit)
    assert not connect(factory).aborted


@pytest.mark.parametrize("leaf", [Rendered, EarlyRendered])
def test_a_place_comes_back_when_the_end_comes_within_a_call(leaf: type[Rendered]) -> None:
    for act in (reset_by_server, lambda request: request.channel.loseConnection()):
        site, clock = site_of(1, resource=leaf(act))
        transport = connect(site)
        transport.deliver(GET)
        clock.advance(30)
        transport.settle()
        assert transport.lost is not None
        assert nothing_is_left(site.connection_limit)


def test_a_connection_that_is_never_made_has_no_place() -> None:
    """Twisted may fail between the two, and tells nobody: the client may be gone already."""
    site, _ = site_of(1)
    assert isinstance(site.buildProtocol(NEAR), ServerChannel)
    assert nothing_is_left(site.connection_limit)
    assert not connect(site).aborted


# Refusals


def twisteds_tls(site: Site, clock: Clock) -> IProtocolFactory:
    return TLSMemoryBIOFactory(SERVER_OPTIONS, False, site, clock)


def our_tls(site: Site, clock: Clock) -> IProtocolFactory:
    return ImmediateTLSFactory(SERVER_OPTIONS, False, site, clock)


def behind_haproxy(site: Site, clock: Clock) -> IProtocolFactory:
    return HAProxyWrappingFactory(site)


@pytest.mark.parametrize(
    "wrapped", [lambda site, clock: site, our_tls, twisteds_tls, behind_haproxy]
)
def test_one_too_many_is_reset_without_a_byte_whatever_is_wrapped_around_the_site(
    wrapped: Callable[[Site, Clock], IProtocolFactory],
) -> None:
    site, clock = site_of(1)
    factory = wrapped(site, clock)
    held = connect(factory)
    waiting = len(clock.getDelayedCalls())
    for _ in range(3):
        transport = connect(factory)
        assert transport.aborted
        assert transport.lost is not None
        assert transport.sent == b""
    assert (site.connection_limit.open, site.connection_limit.refused) == (1, 3)
    # Only the log's own.
    assert len(clock.getDelayedCalls()) == waiting + 1
    held.leave()
    assert nothing_is_left(site.connection_limit)
    assert not connect(factory).aborted


def test_tls_is_not_begun_for_one_too_many() -> None:
    site, clock = site_of(1)
    factory = our_tls(site, clock)
    held = factory.buildProtocol(NEAR)
    assert isinstance(held, TLSMemoryBIOProtocol)
    MemoryTransport().connect(held)
    assert isinstance(factory.buildProtocol(NEAR), RefusedConnection)


def test_refusals_are_told_at_once_and_then_at_most_every_ten_seconds() -> None:
    site, clock = site_of(2, 1)
    limit = site.connection_limit
    connect(site)
    with capturedLogs() as events:
        assert limit.place(NEAR) is None
        assert len(events) == 1
        connect(site, FAR)
        for _ in range(5):
            assert limit.place(LOOPBACK) is None
        assert limit.place(NEAR) is None
        clock.advance(9)
        assert len(events) == 1
        clock.advance(1)
        assert len(events) == 2
        # Nothing more to tell; and then the next one is told at once again.
        clock.advance(10)
        assert limit._quiet is None
        assert len(events) == 2
        assert limit.place(LOOPBACK) is None
        assert len(events) == 3
        limit.stop()
        assert len(events) == 3
    first, second, third = lines(events)
    assert "refused 1 connections: 1 over" in first
    assert first.endswith("1 are open; the last came from 192.0.2.1")
    assert "refused 6 connections: 0 over" in second
    assert "connections = 2; 2 are open" in second
    assert "refused 1 connections: 0 over" in third
    assert third.endswith("from this machine")
    assert limit.refused == 8


def test_what_has_not_been_told_is_told_at_the_end() -> None:
    site, clock = site_of(1)
    site.doStart()
    held = connect(site)
    with capturedLogs() as events:
        for _ in range(4):
            connect(site)
        held.leave()
        site.doStop()
    assert [line.split(":")[0] for line in lines(events)] == [
        "refused 1 connections",
        "refused 3 connections",
    ]
    assert clock.getDelayedCalls() == []
