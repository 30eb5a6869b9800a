"""
What is tried again, and how long: the keys of ``[retry]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.checks import seconds, whole
from gptproxy.config.fields import Key, Place, Section, Table
from gptproxy.config.making import plain
from gptproxy.config.upstream_settings import RetrySettings

__all__ = ["RETRY"]


def _backoff_grows(table: Table, place: Place) -> None:
    made = plain(RetrySettings)(dict(table.values), place)
    if made.backoff_seconds > made.backoff_max_seconds:
        place.at("backoff_max_seconds").note("must be at least backoff_seconds")


RETRY = Section(
    keys=(
        Key("attempts", whole(1, 20)),
        Key("backoff_seconds", seconds),
        Key("backoff_max_seconds", seconds),
        Key("budget_seconds", seconds),
    ),
    make=plain(RetrySettings),
    rules=(_backoff_grows,),
)
