"""Tests of :mod:`gptproxy.limits.overload`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.limits import Overload

LOOK = 0.05


class Watched:
    """An overload, looked at by the clock."""

    def __init__(self, lag_seconds: float = 0.25, memory_bytes: int | None = None) -> None:
        self.overload = Overload(lag_seconds, memory_bytes)
        self.now = 1000.0

    def look(self, lag: float = 0.0, memory: int = 0) -> bool:
        """:return: whether it sheds then."""
        self.now += LOOK + lag
        self.overload.look(lag, memory, self.now, LOOK + lag)
        return self.overload.shedding

    def calls(self, number: int) -> int:
        """:return: how many of so many calls that come at once are let in; they run until :meth:`end`."""
        before = self.overload.running
        for _ in range(number):
            if self.overload.admits(self.now):
                self.overload.began()
        return self.overload.running - before

    def end(self, number: int | None = None) -> None:
        """So many calls end, or all."""
        for _ in range(self.overload.running if number is None else number):
            self.overload.ended()


def test_one_late_look_is_no_overload() -> None:
    """Only a loop that is late look after look sheds."""
    watched = Watched()
    for lag in (9.0, 0.0, 0.3, 0.3, 0.0, 0.3):
        assert not watched.look(lag)
    assert watched.calls(1000) == 1000


def test_it_sheds_while_the_loop_stays_late() -> None:
    """It begins behind the third late look, with half of those that run, and ends when for a second all may come."""
    watched = Watched()
    for shedding in (False, False, True):
        watched.calls(100)
        assert watched.look(0.3) is shedding
    assert watched.overload.lag == 0.3
    assert watched.calls(10) == 0
    watched.end()
    assert watched.calls(500) == 150
    assert watched.overload.shed == 360
    watched.end()
    assert watched.look()
    assert watched.overload.crowded
    for _ in range(20):
        assert watched.overload.shedding
        watched.calls(5)
        watched.end()
        watched.look()
        assert not watched.overload.crowded
    assert not watched.overload.shedding
    assert watched.calls(1000) == 1000


def started(running: int) -> Watched:
    """:return: one that has just begun to shed, with so many calls running."""
    watched = Watched()
    watched.calls(running)
    for _ in range(3):
        watched.look(0.3)
    watched.end()
    return watched


@pytest.mark.parametrize(
    ("lag", "wanted", "share"),
    [
        (0.0, 400, 1.1),
        (0.025, 400, 1.1),
        (0.026, 400, 1.0),  # late enough to be busy, soon enough for whoever waits
        (0.05, 400, 1.0),
        (0.051, 400, 0.8),
        (0.25, 400, 0.8),
        (0.251, 400, 0.5),
        (0.0, 10, 1.1),
        (0.026, 10, 1.0),
        (0.051, 10, 0.8),
    ],
)
def test_what_a_look_changes(lag: float, wanted: int, share: float) -> None:
    """How many may run follows how late the loop is."""
    watched = started(400)
    assert watched.calls(wanted) == min(wanted, 200)
    watched.end()
    watched.look(lag)
    assert watched.calls(400) in (round(200 * share), round(200 * share) + 1)


@given(st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(0, 300), st.floats(0.0, 1.0))))
@settings(deadline=None, max_examples=100)
def test_calls_are_counted_and_never_die_out(turns: list[tuple[float, int, float]]) -> None:
    """Whatever happens: each call is let in or refused, and some are let in where fewer than the least run."""
    watched = Watched()
    for lag, number, share in turns:
        running, shed = watched.overload.running, watched.overload.shed
        let_in = watched.calls(number)
        assert let_in + watched.overload.shed - shed == number
        assert let_in >= min(number, 20 - running)
        watched.end(int(watched.overload.running * share))
        watched.look(lag)
    watched.end()
    for _ in range(20 + 1):
        watched.look()
    assert not watched.overload.shedding


def test_a_crowd_in_one_turn_is_not_waited_for() -> None:
    """A turn that is late, and in which many calls have come, sheds before its look."""
    watched = Watched()
    watched.look()
    watched.now += 0.4
    assert watched.calls(50) == 50
    assert watched.calls(50) == 0
    assert watched.overload.shedding
    assert watched.look(0.35)


def test_a_late_turn_with_few_calls_sheds_nothing() -> None:
    """A collection of garbage, say."""
    watched = Watched()
    watched.look()
    watched.now += 0.4
    assert watched.calls(49) == 49
    assert not watched.look(0.35)


def test_calls_do_not_die_out() -> None:
    """However late the loop is, a share of those may run that did while it was in time, and some in any case."""
    watched = Watched()
    watched.calls(1000)
    watched.look()
    for _ in range(100):
        watched.look(0.3)
    watched.end()
    assert watched.calls(3000) == 500
    idle = Watched()
    for _ in range(9):
        idle.look(0.3)
    assert idle.calls(1000) == 20


def test_memory_sheds_at_once_and_does_not_flutter() -> None:
    """Above the bound nothing is let in, and all is 5 % below it."""
    watched = Watched(memory_bytes=1000)
    for memory, shedding in ((1000, False), (1001, True), (980, True), (950, False), (980, False)):
        assert watched.look(0.0, memory) is shedding
        assert watched.calls(3) == (0 if shedding else 3)
    assert watched.overload.memory == 980


def test_new_bounds() -> None:
    """Hold from the next look on."""
    watched = Watched(memory_bytes=1000)
    watched.overload.bound_by(0.25, None)
    assert not watched.look(0.0, 5000)
