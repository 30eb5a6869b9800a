"""
When the process has more to do than it can.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

__all__ = ["Overload"]

SAMPLES: Final = 3
"""How many looks in a row must find the loop late before calls are shed: one long turn, a collection of garbage, say,
is no overload."""

CALM_SHARE: Final = 0.1
LATE_SHARE: Final = 0.2
"""Of the lag that begins the shedding: below the former more calls may run, above the latter fewer. What waits for the
loop, refusals too, then waits for a fifth of the bound; and no more run than keep the loop busy, as each that does
wants a connection to an upstream."""

GROWTH: Final = 1.1
SHRINKAGE: Final = 0.8
"""From look to look. How many calls run follows what the process can do, from below."""

COLLAPSE: Final = 0.5
"""Instead of the latter where the loop is as late as when the shedding began: looks are far between then."""

LEAST: Final = 20
"""So many calls may run however late the loop is: without any nobody would know when it can do more."""

LEAST_SHARE: Final = 0.5
"""Of those that ran while the loop was in time, so many may however late it is: what makes it late may be another
process on the machine, and calls are not to die out for that."""

FADING: Final = 0.95
"""From look to look, of how many ran while the loop was in time: half is forgotten in a second."""

CROWD: Final = 50
"""So many calls in one turn of a loop that is late already make it later: that is not waited for."""

CALM_LOOKS: Final = 20
"""So many looks in a row must find the loop in time, and nobody refused: clients that were refused come again when they
have waited, and each must not be the next overload."""


class Overload:
    """
    Sheds while the loop is late look after look, or too much memory is in use; stops when it can do more than comes.

    While the loop is late, so many calls may run at a time as keep it in time, which is found out by trying: fewer at
    each look that is late, more at each that is not. While too much memory is in use, none are let in.

    :param lag_seconds: how late the loop may be.
    :param memory_bytes: how much may be resident; None: no bound.

    :ivar crowded: some were between the last two looks, or all would be: there is no room for more than come.
    :ivar lag: the last look's, in seconds.
    :ivar memory: the last look's, in bytes.
    :ivar running: how many calls have begun and not ended.
    :ivar shedding: calls are refused.
    :ivar shed: how many have been.
    """

    __slots__ = (
        "_asked",
        "_calm",
        "_lag_seconds",
        "_lags",
        "_large",
        "_late",
        "_late_at",
        "_least",
        "_memory_bytes",
        "_most",
        "_quiet_looks",
        "_refused",
        "crowded",
        "lag",
        "memory",
        "running",
        "shed",
        "shedding",
    )

    def __init__(self, lag_seconds: float, memory_bytes: int | None) -> None:
        self._lags: deque[float] = deque(maxlen=SAMPLES)
        self._large = self._late = False
        # How many calls may run while it is late, but never less than the least; and how many ran when it was not.
        self._most = self._least = float(LEAST)
        self._calm = 0.0
        self._quiet_looks = 0
        # Since the last look: calls that came, and that were refused.
        self._asked = self._refused = 0
        # When the next look is so late that calls need not wait for it to be refused.
        self._late_at = inf
        self.lag = 0.0
        self.memory = 0
        self.running = 0
        self.shed = 0
        self.shedding = self.crowded = False
        self.bound_by(lag_seconds, memory_bytes)

    def bound_by(self, lag_seconds: float, memory_bytes: int | None) -> None:
        """
        Take new bounds.

        :param lag_seconds: see :class:`Overload`.
        :param memory_bytes: likewise.
        """
        self._lag_seconds = lag_seconds
        self._memory_bytes = memory_bytes

    def admits(self, now: float) -> bool:
        """
        :param now: seconds.
        :return: whether a call that comes now may begin; where it does, :meth:`began` is to be called.
        """
        if not self.shedding and now > self._late_at and self._asked >= CROWD:
            self._begin()
        if self.shedding and self.turns_away(now):
            return False
        self._asked += 1
        return True

    def turns_away(self, now: float) -> bool:
        """
        To be asked while it sheds.

        :param now: seconds.
        :return: whether a call that comes now is refused, which is counted then.
        """
        if not self._large and self.running < self._most:
            return False
        self._refused += 1
        self.shed += 1
        return True

    def began(self) -> None:
        """A call runs."""
        self.running += 1

    def ended(self) -> None:
        """One that ran does not any more."""
        self.running -= 1

    def look(self, lag: float, memory: int, now: float, seconds: float) -> None:
        """
        :param lag: by how many seconds the look came late.
        :param memory: bytes resident.
        :param now: seconds.
        :param seconds: since the last look; without a lag, that is how often it is looked.
        """
        self._late_at = now + (seconds - lag) + self._lag_seconds
        self.lag, self.memory = lag, memory
        self._lags.append(lag)
        bound = self._memory_bytes
        self._large = bound is not None and memory > (bound * 0.95 if self._large else bound)
        if self._late:
            self._adapt(lag)
        elif len(self._lags) == SAMPLES and min(self._lags) > self._lag_seconds:
            self._begin()
        elif lag <= self._lag_seconds * LATE_SHARE:
            self._calm = max(float(self.running), self._calm * FADING)
        self.shedding = self._late or self._large
        self.crowded = self._large or self._refused > 0
        self._asked = self._refused = 0

    def _begin(self) -> None:
        self._late = self.shedding = self.crowded = True
        self._quiet_looks = 0
        self._least = max(LEAST_SHARE * self._calm, LEAST)
        self._most = max(COLLAPSE * self.running, self._least)

    def _adapt(self, lag: float) -> None:
        if lag > self._lag_seconds * LATE_SHARE:
            self._quiet_looks = 0
            share = COLLAPSE if lag > self._lag_seconds else SHRINKAGE
            self._most = max(self._most * share, self._least)
            return
        if lag <= self._lag_seconds * CALM_SHARE:
            # Also where nobody was refused: what came in one turn, behind a pause of the process, is to find room.
            self._most *= GROWTH
        self._quiet_looks = 0 if self._refused else self._quiet_looks + 1
        self._late = self._quiet_looks < CALM_LOOKS
