"""
How the daemon runs: the settings of ``[tls]``, ``[timeouts]`` and ``[limits]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

__all__ = [
    "LimitSettings",
    "TLSSettings",
    "TimeoutSettings",
]


@frozen
class TLSSettings:
    """
    ``[tls]``: what ``--port ssl:N`` serves with when the endpoint string names no key of its own.

    :param certificate: PEM file: the server's certificate first, then its chain.
    :param private_key: PEM file with the certificate's private key.
    """

    certificate: Path
    private_key: Path


@frozen
class TimeoutSettings:
    """
    ``[timeouts]``, all in seconds. None of them bounds a live stream as a whole.

    :param header_seconds: from a request's first byte (or the connection's start) to the end of its headers.
    :param body_idle_seconds: between two reads of a request's body.
    :param keep_alive_idle_seconds: a client's connection without a request.
    :param connect_seconds: to an upstream, TLS included.
    :param first_byte_seconds: from the request sent to the end of the answer's headers.
    :param stream_idle_seconds: between two reads of an answer's body.
    """

    header_seconds: float = 30.0
    body_idle_seconds: float = 60.0
    keep_alive_idle_seconds: float = 90.0
    connect_seconds: float = 5.0
    first_byte_seconds: float = 600.0
    stream_idle_seconds: float = 600.0


@frozen
class LimitSettings:
    """
    ``[limits]``: how large, in bytes, and how many.

    :param header_bytes: a request's line and headers together; more is answered 431.
    :param body_bytes: a JSON body; more is answered 413.
    :param connections: of clients at a time; fewer where the process may not have twice as many files open.
    :param connections_per_address: of them from one IPv4 address or IPv6 /64; loopback is exempt. Room for hundreds
        behind one NAT, a tenth of the whole.
    """

    header_bytes: int = 65_536
    body_bytes: int = 67_108_864
    connections: int = 10_000
    connections_per_address: int = 1_000
