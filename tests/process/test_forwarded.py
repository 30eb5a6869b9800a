"""Whose a request is, from its fields to the daemon's own settings."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import settings_from
from gptproxy.daemon import daemon
from gptproxy.http import Site
from gptproxy.process import Networks, ProxiedFactory, forwarded_by
from tests.top.test_daemon import Reactor

PEER = IPv4Address("TCP", "10.0.0.1", 5000)
FIELDS = ((b"host", b"h"), (b"x-forwarded-for", b"8.8.8.8"), (b"x-forwarded-for", b"2001:db8::1"))


class ForwardedTests(SynchronousTestCase):
    """By a request's fields."""

    def test_forwarded_by(self) -> None:
        """A trusted proxy's word counts, and nobody else's."""
        tell = forwarded_by(Networks([ipaddress.ip_network("10.0.0.0/8")]))
        self.assertEqual(tell(PEER, FIELDS), IPv6Address("TCP", "2001:db8::1", 5000))
        self.assertEqual(tell(PEER, FIELDS[:2]), IPv4Address("TCP", "8.8.8.8", 5000))
        self.assertEqual(tell(PEER, ()), PEER)
        for stranger in (IPv4Address("TCP", "203.0.113.5", 5000), UNIXAddress(None)):
            self.assertIs(tell(stranger, FIELDS), stranger)

    def factory(self, protocol: str | None) -> object:
        table = {"addresses": ["10.0.0.0/8"], "protocol": protocol}
        document = {} if protocol is None else {"reverse_proxy": table}
        settings = settings_from(document, source="g", directory=Path("/"), environ={})
        reactor = Reactor()
        service = daemon(settings, ["tcp:1"], reactor, None)
        service.privilegedStartService()
        (_, factory, _, _) = reactor.tcpServers[0]
        self.addCleanup(service.stopService)
        return factory

    def test_the_settings(self) -> None:
        """Reach what listens: one way or the other or none."""
        plain = self.factory(None)
        assert isinstance(plain, Site)
        self.assertIsNone(plain.behind_proxy)
        by_field = self.factory("X-Forwarded-For")
        assert isinstance(by_field, Site)
        assert by_field.behind_proxy is not None
        self.assertEqual(by_field.behind_proxy(PEER, FIELDS[:2]).host, "8.8.8.8")
        self.assertIsInstance(self.factory("PROXY"), ProxiedFactory)
