"""Tests of :mod:`gptproxy.limits.overload`."""

from __future__ import annotations

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

    def calls(self, number: int, seconds: float = 0.0) -> int:
        """:return: how many of so many calls are let in that come evenly in a time."""
        let_in = 0
        for each in range(number):
            let_in += self.overload.admits(self.now + seconds * (each + 1) / number)
        return let_in


def test_one_late_look_is_no_overload() -> None:
    """Only a loop that is late look after look sheds."""
    watched = Watched()
    for lag in (9.0, 0.0, 0.3, 0.3, 0.0, 0.3):
        assert not watched.look(lag)
    assert watched.calls(1000) == 1000


def test_it_sheds_while_the_loop_stays_late() -> None:
    """It begins behind the third late look, with a little less than was done, and ends when all that comes may come."""
    watched = Watched()
    for shedding in (False, False, True):
        watched.calls(100)
        assert watched.look(0.3) is shedding
    assert watched.overload.lag == 0.3
    # 100 calls in 0.35 seconds were done; 500 a second come.
    assert 9 <= watched.calls(25, LOOK) <= 14
    assert watched.overload.shed > 0
    assert watched.look(0.0)
    for _ in range(20):
        watched.calls(5, LOOK)
        if not watched.look(0.0):
            break
    else:  # pragma: no cover - only where the test fails
        raise AssertionError("it sheds for ever")
    assert watched.calls(1000) == 1000


def test_a_crowd_in_one_turn_is_not_waited_for() -> None:
    """A turn that is late, and in which many calls have come, sheds before its look."""
    watched = Watched()
    watched.look()
    watched.now += 0.4
    assert watched.calls(50) == 50
    assert watched.calls(50) < 10
    assert watched.overload.shedding


def test_a_late_turn_with_few_calls_sheds_nothing() -> None:
    """A collection of garbage, say."""
    watched = Watched()
    watched.look()
    watched.now += 0.4
    assert watched.calls(49) == 49
    assert not watched.look(0.35)


def test_calls_do_not_die_out() -> None:
    """However late the loop is, a share of what was done is let in, and some calls in any case."""
    watched = Watched()
    for _ in range(3):
        watched.calls(350)
        watched.look(0.3)
    for _ in range(100):
        watched.look(0.3)
    # 350 in 0.35 seconds: 1,000 a second, 300 of which are let in.
    assert 250 <= watched.calls(3000, 1.0) <= 320
    idle = Watched()
    for _ in range(9):
        idle.look(0.3)
    assert 15 <= idle.calls(1000, 1.0) <= 25


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
