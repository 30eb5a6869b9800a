"""
Addresses of servers: what may be written as a URL, and in which form the settings have it.

Pure: imports nothing of gptproxy but this room's own modules, and nothing of Twisted.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from attrs import frozen

from gptproxy.config.checks import free_text
from gptproxy.config.fields import Place, Refused

__all__ = ["NOT_LOOPBACK", "Address", "guarded_address", "parse_address", "web_address"]

#: What is said about plain http where a credential would travel in it.
NOT_LOOPBACK = "must be https; http only on a loopback host"

# RFC 3986 section 3, as far as a base address needs it: no userinfo, no query, no fragment.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/(?:[a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)?",
    re.ASCII | re.IGNORECASE,
)
# RFC 1123 section 2.1; underscores are no host names, yet networks have them.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label that resolvers read as a number: then the host must be an IPv4 address in full.
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")

_HIGHEST_PORT = 65_535


@frozen
class Address:
    """
    A server's base address.

    :param scheme: ``http`` or ``https``.
    :param host: in lower case; IPv6 in brackets.
    :param port: None for the scheme's own.
    :param path: without a trailing slash, so empty for the root.
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def loopback(self) -> bool:
        """:return: whether the host is this machine: 127.0.0.0/8, ::1 or localhost."""
        if self.host == "localhost":
            return True
        ip = _ip_address(self.host)
        return ip is not None and ip.is_loopback

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"


def parse_address(text: str) -> Address | None:
    """
    :param text: a URL.
    :return: its parts, or None where it is no base address by the rules above.
    """
    match = _URL.fullmatch(text)
    if match is None:
        return None
    host = match["host"].lower()
    port = None if match["port"] is None else int(match["port"])
    path = (match["path"] or "").rstrip("/")
    if not _host_stands(host) or (port is not None and not 0 < port <= _HIGHEST_PORT):
        return None
    # An empty or dotted segment would be read differently by different servers.
    if any(segment in {"", ".", ".."} for segment in path.split("/")[1:]):
        return None
    return Address(match["scheme"].lower(), host, port, path)


def web_address(value: object, place: Place) -> Address:
    """A check: the base address of a server, http or https."""
    address = parse_address(free_text(value, place))
    if address is not None:
        return address
    raise Refused(
        "must be http:// or https:// and a host, then perhaps a port and a path; "
        "no user, query or fragment"
    )


def guarded_address(value: object, place: Place) -> Address:
    """A check: as :func:`web_address`; plain http, where secrets would travel, only on loopback."""
    address = web_address(value, place)
    if address.scheme == "https" or address.loopback:
        return address
    raise Refused(NOT_LOOPBACK)


def _ip_address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(host[1:-1]) if host.startswith("[") else IPv4Address(host)
    except AddressValueError:
        return None


def _host_stands(host: str) -> bool:
    labels = host.split(".")
    if host.startswith("[") or _NUMERIC_LABEL.fullmatch(labels[-1]):
        return _ip_address(host) is not None
    return all(map(_LABEL.fullmatch, labels))
