"""
What rooms tell of what happens in them, to whoever counts.

Pure: imports nothing of gptproxy and nothing of Twisted. Names of families are those of ``gptproxy.metrics``, which
implements this and is imported by none of the rooms.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["NOBODY", "Figures"]


class Figures(Protocol):
    """Somebody who counts."""

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """
        Something happened.

        :param family: a counter's name.
        :param labels: their values, in the order of its table.
        :param amount: how many.
        """
        ...  # pragma: no cover - a protocol's method has no body to run

    def observe(self, family: str, value: float, *labels: str) -> None:
        """
        Something took so long.

        :param family: a histogram's name.
        :param value: in its unit.
        :param labels: their values, in the order of its table.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


class _Nobody:
    """Nobody counts."""

    def count(self, family: str, *labels: str, amount: float = 1.0) -> None:
        """As :meth:`Figures.count`."""

    def observe(self, family: str, value: float, *labels: str) -> None:
        """As :meth:`Figures.observe`."""


NOBODY: Figures = _Nobody()
"""What every constructor takes for granted."""
