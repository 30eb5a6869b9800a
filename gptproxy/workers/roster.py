"""
Which worker is to be started, and which one ended, when.

Pure: imports nothing of gptproxy and nothing of Twisted. Times are seconds of a clock that nobody sets.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from attrs import define

__all__ = ["FIRST_WAIT_SECONDS", "LONGEST_WAIT_SECONDS", "SETTLED_SECONDS", "Roster"]

SETTLED_SECONDS: Final = 5.0
"""A worker that has been ready for so long has nothing wrong with its start: when it dies it is replaced at once."""

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0
"""
Of the wait before a worker is started that died soon, and did so before: it doubles. A start costs a second of a core,
which the others would miss.
"""

START_SECONDS: Final = 60.0
"""From a worker's start until it is ready; it takes about one, and on a machine that is busy a few."""

SIGN_SECONDS: Final = 10.0
"""Between two signs of life of an event loop. The longest known turns of one are some milliseconds."""


class _Phase(Enum):
    WAITING = auto()
    STARTING = auto()
    READY = auto()
    LEAVING = auto()


@define
class _Place:
    """
    One worker's place.

    :param since: when its phase began.
    :param due: while it waits: when it is to be started.
    :param last_sign: when its loop was last known to turn.
    :param early_ends: how many in a row died before they had settled.
    """

    since: float
    due: float
    phase: _Phase = _Phase.WAITING
    last_sign: float = 0.0
    early_ends: int = 0


class Roster:
    """
    Workers are numbered from 1. Whoever holds this asks :meth:`due` and :meth:`overdue` after each event and at
    :meth:`next_look`, does what they say, and tells what came of it.

    :param workers: how many there are to be.
    :param now: seconds.
    :ivar leave_seconds: how long a worker that says that it stops may take.
    """

    def __init__(self, workers: int, now: float, leave_seconds: float) -> None:
        self.leave_seconds = leave_seconds
        self._places = {number: _Place(now, now) for number in range(1, workers + 1)}
        self._any_was_ready = False
        self.hopeless = False
        """One has ended itself before any was ever ready: it could not use what the operator gave it."""

    @property
    def all_ready(self) -> bool:
        """Whether each serves."""
        return all(place.phase is _Phase.READY for place in self._places.values())

    def due(self, now: float) -> list[int]:
        """
        :param now: seconds.
        :return: which ones are to be started.
        """
        return [
            number
            for number, place in self._places.items()
            if place.phase is _Phase.WAITING and place.due <= now
        ]

    def overdue(self, now: float) -> list[int]:
        """
        :param now: seconds.
        :return: which ones are to be killed: their start takes too long, or their loop does not turn, or they do not
            leave. One is named until it has ended.
        """
        return [number for number, place in self._places.items() if self._limit(place) <= now]

    def next_look(self) -> float | None:
        """:return: when there may be something to do next if nothing happens before; None: not at all."""
        times = [
            place.due if place.phase is _Phase.WAITING else self._limit(place)
            for place in self._places.values()
        ]
        return min(times, default=None)

    def started(self, number: int, now: float) -> None:
        """
        :param number: it has been started.
        :param now: seconds.
        """
        self._enter(number, _Phase.STARTING, now)

    def is_starting(self, number: int) -> bool:
        """
        :param number: one of them.
        :return: whether it has been started, and does not serve yet.
        """
        return self._places[number].phase is _Phase.STARTING

    def sign(self, number: int, now: float) -> None:
        """
        :param number: its loop turns.
        :param now: seconds.
        """
        self._places[number].last_sign = now

    def ready(self, number: int, now: float) -> None:
        """
        :param number: it serves. A worker says so again after each reload.
        :param now: seconds.
        """
        self._any_was_ready = True
        if self._places[number].phase is _Phase.STARTING:
            self._enter(number, _Phase.READY, now)
        self.sign(number, now)

    def leaving(self, number: int, now: float) -> None:
        """
        :param number: it stops, and finishes what it has begun.
        :param now: seconds.
        """
        self._enter(number, _Phase.LEAVING, now)

    def ended(self, number: int, now: float, *, itself: bool) -> float:
        """
        :param number: its process is gone.
        :param now: seconds.
        :param itself: it gave an exit status other than 0, no signal ended it.
        :return: how long it stays away, in seconds.
        """
        place = self._places[number]
        settled = place.phase in (_Phase.READY, _Phase.LEAVING) and (
            now - place.since >= SETTLED_SECONDS
        )
        place.early_ends = 0 if settled else place.early_ends + 1
        if itself and not self._any_was_ready:
            self.hopeless = True
        wait = 0.0
        if place.early_ends > 1:
            # Bounded, so that no number of ends makes a float overflow.
            doublings = min(place.early_ends - 2, 30)
            wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0**doublings)
        self._enter(number, _Phase.WAITING, now)
        place.due = now + wait
        return wait

    def _enter(self, number: int, phase: _Phase, now: float) -> None:
        place = self._places[number]
        place.phase, place.since, place.last_sign = phase, now, now

    def _limit(self, place: _Place) -> float:
        """:return: when a worker is to be killed."""
        if place.phase is _Phase.STARTING:
            return place.since + START_SECONDS
        if place.phase is _Phase.READY:
            return place.last_sign + SIGN_SECONDS
        if place.phase is _Phase.LEAVING:
            return place.since + self.leave_seconds
        return float("inf")
