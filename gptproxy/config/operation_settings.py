"""
How the daemon runs: the settings of ``[tls]``, ``[timeouts]`` and ``[limits]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

__all__ = [
    "GroupQuotaSettings",
    "LimitSettings",
    "QuotaSettings",
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
class QuotaSettings:
    """
    ``[limits.all]`` and ``[limits.caller]``: how much may be asked. None: not bounded.

    :param concurrent_calls: calls under way.
    :param calls_per_minute: a minute's worth may come at once.
    :param tokens_per_minute: as the answers tell them, else estimated; counted when a call has ended.
    """

    concurrent_calls: int | None = None
    calls_per_minute: int | None = None
    tokens_per_minute: int | None = None


@frozen
class GroupQuotaSettings:
    """
    One ``[[limits.group]]``: what the members of a GitLab group may ask together.

    :param group: the group's full path or id.
    :param quota: how much.
    """

    group: str
    quota: QuotaSettings


@frozen
class LimitSettings:
    """
    ``[limits]``: how large, in bytes, and how many.

    :param header_bytes: a request's line and headers together; more is answered 431.
    :param body_bytes: a JSON body; more is answered 413.
    :param connections: of clients at a time; fewer where the process may not have twice as many files open.
    :param connections_per_address: of them from one IPv4 address or IPv6 /64; loopback is exempt. Room for hundreds
        behind one NAT, a tenth of the whole.
    :param streams: answers that are being streamed at a time; more calls are answered 503.
    :param memory_bytes: resident; above it new calls are answered 503. None: not bounded.
    :param lag_seconds: how late the event loop may be, time after time, before new calls are answered 503.
    :param everybody: ``[limits.all]``: all calls together; None: not bounded.
    :param caller: ``[limits.caller]``: each caller; None: not bounded.
    :param groups: ``[[limits.group]]``: groups of GitLab.
    """

    header_bytes: int = 65_536
    body_bytes: int = 67_108_864
    connections: int = 10_000
    connections_per_address: int = 1_000
    streams: int = 5_000
    memory_bytes: int | None = None
    lag_seconds: float = 0.25
    everybody: QuotaSettings | None = None
    caller: QuotaSettings | None = None
    groups: tuple[GroupQuotaSettings, ...] = ()
