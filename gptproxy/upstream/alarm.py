"""
What is told the operator loudly is told once a minute, not once a call.

Pure: imports nothing of gptproxy and nothing of Twisted; the time is passed in.
"""

from __future__ import annotations

__all__ = ["Alarm"]

EVERY_SECONDS = 60.0
"""Often enough to be seen, seldom enough not to fill the log."""

MAX_REMEMBERED = 1000
"""Upstreams times reasons: a dozen or so of each."""


class Alarm:
    """Remembers when something was told last."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], float] = {}

    def is_due(self, upstream: str, reason: str, now: float) -> bool:
        """
        :param upstream: whom it is about.
        :param reason: what it is.
        :param now: seconds.
        :return: it was not told in the last minute; it is told now.
        """
        key = (upstream, reason)
        told = self._told.get(key)
        if told is not None and now - told < EVERY_SECONDS:
            return False
        if len(self._told) >= MAX_REMEMBERED:
            self._told.clear()
        self._told[key] = now
        return True
