"""
Where a request goes: an absolute URL taken apart, strictly.

Pure: imports nothing of gptproxy and nothing of Twisted. Parsers that disagree about a URL's host have sent many a key
to a stranger; so what is not plainly ``scheme://host[:port]/path[?query]`` is refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import NamedTuple

__all__ = ["InvalidURL", "Origin", "split_url"]

_URL = re.compile(
    rb"(https?)://([A-Za-z0-9](?:[A-Za-z0-9.\-_]{0,252}+)|\[[0-9A-Fa-f:.]{2,45}+\])(?::([0-9]{1,5}+))?"
    rb"((?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/\[\]]++|%[0-9A-Fa-f]{2})*+)?)"
    rb"((?:\?(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]++|%[0-9A-Fa-f]{2})*+)?)"
)
_DEFAULT_PORTS = {b"http": 80, b"https": 443}


class InvalidURL(ValueError):
    """Not an absolute http or https URL that can be read in one way only."""


class Origin(NamedTuple):
    """
    A server (RFC 9110 4.3.1): connections to one origin are interchangeable.

    :param secure: https.
    :param host: name, IPv4 address, or IPv6 address without brackets.
    :param port: 1 to 65535.
    """

    secure: bool
    host: str
    port: int

    @property
    def authority(self) -> bytes:
        """The Host header's value; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.secure else 80
        return (host if self.port == default else f"{host}:{self.port}").encode()


def split_url(url: bytes) -> tuple[Origin, bytes]:
    """
    :param url: an absolute URL.
    :return: the server, and the target in origin-form.
    :raise InvalidURL: it is none, or names userinfo or a fragment.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise InvalidURL("not a plain absolute http or https URL")
    scheme, host, port, path, query = match.groups()
    number = int(port) if port else _DEFAULT_PORTS[scheme]
    if not 0 < number < 65_536:
        raise InvalidURL("the port is out of range")
    name = host.strip(b"[]").decode().lower()
    if host.startswith(b"["):
        try:
            IPv6Address(name)
        except ValueError:
            raise InvalidURL("what stands in brackets is no IPv6 address") from None
    origin = Origin(scheme == b"https", name, number)
    return origin, (path or b"/") + query
