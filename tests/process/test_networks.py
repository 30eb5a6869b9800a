"""Who is believed, and who is behind them."""

from __future__ import annotations

import ipaddress

import pytest

from gptproxy.process import Networks, forwarded_client

TRUSTED = Networks(
    [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/64")]
)


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("10.1.2.3", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::5", True),
        ("2001:db8:1::5", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_networks(host: object, inside: bool) -> None:
    """An address is in one, however it is written; a name is in none."""
    assert (host in TRUSTED) is inside


def test_none() -> None:
    """Nobody is believed by default."""
    assert not Networks()
    assert "127.0.0.1" not in Networks()
    assert TRUSTED


@pytest.mark.parametrize(
    ("peer", "fields", "client"),
    [
        ("203.0.113.5", [b"198.51.100.1"], "203.0.113.5"),  # not a proxy of ours
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b""], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"8.8.8.8, 198.51.100.1"], "198.51.100.1"),  # what the client itself wrote
        ("10.0.0.1", [b"8.8.8.8, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [b"8.8.8.8", b"198.51.100.1 , 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [b"198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", [b"[2001:db8:1::1]:4711"], "2001:db8:1::1"),
        ("10.0.0.1", [b"[2001:db8:1::1]"], "2001:db8:1::1"),
        ("10.0.0.1", [b"2001:DB8:1::1"], "2001:db8:1::1"),
        ("10.0.0.1", [b"::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", [b"198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", [b"198.51.100.1, \xff, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"198.51.100.1," + b"10.0.0.2," * 40 + b"10.0.0.3"], "10.0.0.2"),
    ],
)
def test_forwarded_client(peer: str, fields: list[bytes], client: str) -> None:
    """From the end, as far as whoever wrote is trusted."""
    assert forwarded_client(peer, fields, TRUSTED) == client
