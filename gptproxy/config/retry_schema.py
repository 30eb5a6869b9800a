"""
What is tried again, and how long: the keys of ``[retry]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.checks import seconds, whole
from gptproxy.config.fields import Key, Place, Refused, Section, Table, kind_of
from gptproxy.config.making import plain
from gptproxy.config.upstream_settings import RetrySettings

__all__ = ["RETRY"]


def _share(value: object, place: Place) -> float:
    """A check: a share, from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Refused(f"must be a number from 0 to 1, not {kind_of(value)}")
    if not 0 <= value <= 1:
        raise Refused("must be from 0 to 1")
    return float(value)


def _doubling_grows(table: Table, place: Place) -> None:
    made = plain(RetrySettings)(dict(table.values), place)
    if made.backoff_seconds > made.backoff_max_seconds:
        place.at("backoff_max_seconds").note("must be at least backoff_seconds")
    if made.circuit_probe_seconds > made.circuit_probe_max_seconds:
        place.at("circuit_probe_max_seconds").note("must be at least circuit_probe_seconds")


RETRY = Section(
    keys=(
        Key("attempts", whole(1, 20)),
        Key("backoff_seconds", seconds),
        Key("backoff_max_seconds", seconds),
        Key("budget_seconds", seconds),
        Key("retry_share", _share),
        Key("retry_least_per_second", whole(0, 100_000)),
        Key("circuit_calls", whole(1, 100_000)),
        Key("circuit_share", _share),
        Key("circuit_window_seconds", seconds),
        Key("circuit_probe_seconds", seconds),
        Key("circuit_probe_max_seconds", seconds),
    ),
    make=plain(RetrySettings),
    rules=(_doubling_grows,),
)
