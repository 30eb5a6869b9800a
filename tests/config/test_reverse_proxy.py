"""``[reverse_proxy]``: who is believed."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from gptproxy.config import ConfigurationError, ReverseProxySettings, settings_from


def read(table: object) -> ReverseProxySettings | None:
    """:return: what a configuration with it says."""
    return settings_from(
        {"reverse_proxy": table}, source="g.toml", directory=Path("/"), environ={}
    ).reverse_proxy


def test_addresses() -> None:
    """Addresses are networks of one."""
    found = read({"addresses": ["192.0.2.7", "10.1.0.0/16", "2001:db8::/32"]})
    assert found == ReverseProxySettings(
        tuple(map(ipaddress.ip_network, ("192.0.2.7/32", "10.1.0.0/16", "2001:db8::/32")))
    )
    assert read({"addresses": ["::1"], "protocol": "X-Forwarded-For"}) == ReverseProxySettings(
        (ipaddress.ip_network("::1/128"),), "X-Forwarded-For"
    )


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "reverse_proxy.addresses: missing"),
        ({"addresses": "192.0.2.7"}, "must be a list of addresses"),
        ({"addresses": ["proxy.example.org"]}, "addresses[1]: must be an address or a network"),
        ({"addresses": ["10.0.0.0/8", "10.1.0.1/16"]}, "addresses[2]: must be an address"),
        ({"addresses": [7]}, "addresses[1]: must be text"),
        ({"addresses": ["0.0.0.0/0"]}, "must not be everybody"),
        ({"addresses": ["::/0"]}, "must not be everybody"),
        ({"addresses": ["10.0.0.1"] * 65}, "64 at most"),
        ({"addresses": ["10.0.0.1"], "protocol": "proxy"}, 'must be "PROXY" or "X-Forwarded-For"'),
    ],
)
def test_what_cannot_be(table: object, words: str) -> None:
    """Is told with its place."""
    with pytest.raises(ConfigurationError) as caught:
        read(table)
    assert words in str(caught.value)
