"""
How the daemon runs: the keys of ``[tls]``, ``[timeouts]`` and ``[limits]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from pathlib import Path

from gptproxy.config.checks import file_path, printable, seconds, whole
from gptproxy.config.fields import Key, Place, Section, TableList
from gptproxy.config.making import plain
from gptproxy.config.operation_settings import (
    GroupQuotaSettings,
    LimitSettings,
    QuotaSettings,
    TimeoutSettings,
    TLSSettings,
)

__all__ = ["LIMITS", "TIMEOUTS", "TLS", "tls_beside"]


def tls_beside(directory: Path) -> TLSSettings:
    """:return: what is served with where nothing else is written."""
    return TLSSettings(certificate=directory / "cert.pem", private_key=directory / "key.pem")


def _make_tls(values: dict[str, object], place: Place) -> TLSSettings:
    beside = tls_beside(place.directory)
    default = {"certificate": beside.certificate, "private_key": beside.private_key}
    return plain(TLSSettings)({**default, **values}, place)


TLS = Section(
    keys=(Key("certificate", file_path), Key("private_key", file_path)),
    make=_make_tls,
)

TIMEOUTS = Section(
    keys=(
        Key("header_seconds", seconds),
        Key("body_idle_seconds", seconds),
        Key("keep_alive_idle_seconds", seconds),
        Key("connect_seconds", seconds),
        Key("first_byte_seconds", seconds),
        Key("stream_idle_seconds", seconds),
    ),
    make=plain(TimeoutSettings),
)

_QUOTA_KEYS = (
    Key("concurrent_calls", whole(1, 1_000_000)),
    Key("calls_per_minute", whole(1, 1_000_000_000)),
    Key("tokens_per_minute", whole(1, 1_000_000_000_000)),
)

_QUOTA = Section(keys=_QUOTA_KEYS, make=plain(QuotaSettings))


def _make_group_quota(values: dict[str, object], place: Place) -> GroupQuotaSettings:
    values = dict(values)
    group = str(values.pop("group"))
    return GroupQuotaSettings(group, plain(QuotaSettings)(values, place))


_GROUP_QUOTA = Section(
    keys=(Key("group", printable, required=True), *_QUOTA_KEYS),
    make=_make_group_quota,
)

LIMITS = Section(
    keys=(
        Key("header_bytes", whole(1024, 16_777_216)),
        Key("body_bytes", whole(1024, 2_147_483_647)),
        Key("connections", whole(1, 1_000_000)),
        Key("connections_per_address", whole(1, 1_000_000)),
        Key("streams", whole(1, 1_000_000)),
        Key("memory_bytes", whole(67_108_864, 1_099_511_627_776)),
        Key("lag_seconds", seconds),
        Key("all", _QUOTA, attribute="everybody"),
        Key("caller", _QUOTA),
        Key(
            "group",
            TableList(_GROUP_QUOTA, distinct=("group", lambda quota: quota.group)),
            attribute="groups",
        ),
    ),
    make=plain(LimitSettings),
)
