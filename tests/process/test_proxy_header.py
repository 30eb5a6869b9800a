"""The PROXY protocol's header, by tables and by properties."""

from __future__ import annotations

import ipaddress
import socket
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.process.proxy_header import (
    LOCAL_HEADER,
    LONGEST_HEADER,
    SIGNATURE,
    BadHeader,
    ProxyHeader,
    read_header,
)


def binary(command: int, kind: int, body: bytes) -> bytes:
    """:return: a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body


V4 = binary(0x21, 0x11, bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack("!HH", 4711, 443))
V6 = binary(
    0x21,
    0x21,
    ipaddress.ip_address("2001:db8::1").packed + bytes(16) + struct.pack("!HH", 4711, 443),
)


@pytest.mark.parametrize(
    ("header", "host", "port"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", "192.0.2.1", 4711),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 65535 443\r\n", "2001:db8::1", 65535),
        (b"PROXY UNKNOWN\r\n", "", 0),
        (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", "", 0),
        (V4, "192.0.2.1", 4711),
        (V6, "2001:db8::1", 4711),
        (LOCAL_HEADER, "", 0),
        (binary(0x20, 0x11, V4[16:]), "", 0),  # LOCAL: what follows does not count
        (binary(0x21, 0x11, V4[16:] + b"\x04\x00\x01x"), "192.0.2.1", 4711),  # with an extension
        (binary(0x21, 0x31, bytes(216)), "", 0),  # a UNIX socket's
        (binary(0x21, 0x00, b""), "", 0),
        (binary(0x21, 0x12, V4[16:]), "", 0),  # UDP
    ],
)
def test_what_is_one(header: bytes, host: str, port: int) -> None:
    """It is read to its end and no further, and no beginning of it is enough."""
    assert read_header(header + b"\x16\x03\x01") == ProxyHeader(len(header), host, port)
    for cut in range(len(header)):
        assert read_header(header[:cut]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 02\r\n",
        b"PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 1\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.999 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY UNKNOWN\n\r\n",
        b"PROXY UNKNOWN " + b"x" * 93,
        b"\r\n\r\n\0\r\nQUIX\n",
        SIGNATURE + struct.pack("!BBH", 0x11, 0x11, 12),
        SIGNATURE + struct.pack("!BBH", 0x22, 0x11, 12),
        SIGNATURE + struct.pack("!BBH", 0x21, 0x11, LONGEST_HEADER - 15),
        binary(0x21, 0x11, bytes(11)),
        binary(0x21, 0x21, bytes(35)),
    ],
)
def test_what_is_none(data: bytes) -> None:
    """It is refused as soon as that is certain."""
    with pytest.raises(BadHeader):
        read_header(data)


@settings(max_examples=100, deadline=None)
@given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=40), st.booleans())
def test_what_is_written_is_read(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, rest: bytes, text: bool
) -> None:
    """Both versions say the same of any client."""
    family, kind = (socket.AF_INET, 0x11) if address.version == 4 else (socket.AF_INET6, 0x21)
    if text:
        header = f"PROXY TCP{address.version} {address} {address} {port} 443\r\n".encode()
    else:
        packed = socket.inet_pton(family, str(address))
        header = binary(0x21, kind, packed * 2 + struct.pack("!HH", port, 443))
    assert read_header(header + rest) == ProxyHeader(len(header), str(address), port)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", SIGNATURE, SIGNATURE + b"!\x11"]))
def test_any_bytes(data: bytes, begin: bytes) -> None:
    """There is a header, or more is needed, or it is none; and the length is within what came."""
    data = begin + data
    try:
        found = read_header(data)
    except BadHeader:
        return
    assert found is None or found.length <= len(data)
