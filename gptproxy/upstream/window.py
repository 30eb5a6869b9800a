"""
How often something happened in the last seconds.

Pure: imports nothing of gptproxy and nothing of Twisted; the time is passed in.
"""

from __future__ import annotations

__all__ = ["Window"]

_SLOTS = 10


class Window:
    """
    Counts in ten slots of time, so it forgets in ten steps; it takes no more memory for a million than for one.

    :param seconds: how far back it counts.
    """

    __slots__ = ("_at", "_slot_seconds", "_slots", "_total")

    def __init__(self, seconds: float) -> None:
        self._slot_seconds = seconds / _SLOTS
        self._slots = [0] * _SLOTS
        self._at = 0
        self._total = 0

    def count(self, now: float) -> None:
        """
        It has happened.

        :param now: seconds.
        """
        at = int(now / self._slot_seconds)
        if at != self._at:
            self._turn(at)
        self._slots[at % _SLOTS] += 1
        self._total += 1

    def sum(self, now: float) -> int:
        """
        :param now: seconds.
        :return: how often in the window that ends now.
        """
        self._turn(int(now / self._slot_seconds))
        return self._total

    def clear(self) -> None:
        """Forget it all."""
        self._slots = [0] * _SLOTS
        self._total = 0

    def _turn(self, at: int) -> None:
        """Empty the slots of the time that has passed. A clock that was set back empties them all."""
        passed = at - self._at
        if not 0 <= passed < _SLOTS:
            self.clear()
        else:
            for slot in range(self._at + 1, at + 1):
                self._total -= self._slots[slot % _SLOTS]
                self._slots[slot % _SLOTS] = 0
        self._at = at
