"""
The PROXY protocol's header, versions 1 and 2, as HAProxy's doc/proxy-protocol.txt has it.

Pure: imports nothing of gptproxy, and nothing of Twisted.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import struct

from attrs import frozen

__all__ = ["LOCAL_HEADER", "LONGEST_HEADER", "BadHeader", "ProxyHeader", "read_header"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins (section 2.2)."""

LOCAL_HEADER = SIGNATURE + struct.pack("!BBH", 0x20, 0, 0)
"""Version 2, LOCAL: the proxy itself connects, for nobody else."""

LONGEST_LINE = 107
"""Of version 1, its end included (section 2.1)."""

LONGEST_HEADER = 16 + 2048
"""
Of version 2. The addresses take 216 bytes at most; what is longer has extensions (TLVs), a certificate's name, say.
Section 2.2 lets a receiver that has a bound close the connection.
"""

_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [ -~]*+)?|(TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39})"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
)
_LENGTHS = {0x11: 12, 0x21: 36}
"""Of the addresses, by family and transport: TCP over IPv4, TCP over IPv6."""


class BadHeader(ValueError):
    """What came is no PROXY header; the text says in what respect."""


@frozen
class ProxyHeader:
    """
    What a proxy told.

    :param length: of the header in bytes; what follows is the client's.
    :param host: the client's address; "" where the proxy speaks for itself, or does not know.
    :param port: the client's port.
    """

    length: int
    host: str = ""
    port: int = 0


def read_header(data: bytes) -> ProxyHeader | None:
    """
    :param data: what has come so far.
    :return: the header, or None where more is needed.
    :raise BadHeader: this is none, whatever may follow.
    """
    if data.startswith(SIGNATURE[: len(data)]):
        return _binary(data)
    if data.startswith(b"PROXY "[: len(data)]):
        return _line(data)
    raise BadHeader("it begins otherwise")


def _line(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\n", 0, LONGEST_LINE) + 1
    if not end:
        if len(data) >= LONGEST_LINE:
            raise BadHeader("the line is longer than 107 bytes")
        return None
    found = _LINE.fullmatch(data, 0, end)
    if found is None:
        raise BadHeader("the line is malformed")
    family, source, destination, source_port, destination_port = found.groups()
    if family is None:
        return ProxyHeader(end)
    if int(source_port) > 65535 or int(destination_port) > 65535:
        raise BadHeader("a port is out of range")
    kind = ipaddress.IPv4Address if family == b"TCP4" else ipaddress.IPv6Address
    try:
        host = kind(source.decode())
        kind(destination.decode())
    except ValueError:
        raise BadHeader("an address is malformed") from None
    return ProxyHeader(end, str(host), int(source_port))


def _binary(data: bytes) -> ProxyHeader | None:
    if len(data) < 16:
        return None
    command, kind, length = struct.unpack_from("!BBH", data, 12)
    if command not in (0x20, 0x21):
        raise BadHeader("the version or the command is unknown")
    end = 16 + length
    if end > LONGEST_HEADER:
        raise BadHeader(f"it is longer than {LONGEST_HEADER} bytes")
    if len(data) < end:
        return None
    # Section 2.2: of LOCAL the addresses are to be passed over; AF_UNIX, UDP and AF_UNSPEC do not say who is there.
    if command == 0x20 or kind not in _LENGTHS:
        return ProxyHeader(end)
    if length < _LENGTHS[kind]:
        raise BadHeader("the addresses are missing")
    if kind == 0x11:
        return ProxyHeader(
            end, socket.inet_ntop(socket.AF_INET, data[16:20]), *struct.unpack_from("!H", data, 24)
        )
    return ProxyHeader(
        end, str(ipaddress.IPv6Address(data[16:32])), *struct.unpack_from("!H", data, 48)
    )
