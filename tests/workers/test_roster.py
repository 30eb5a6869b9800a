"""Which worker is to be started, and which one ended, when."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.workers.roster import (
    LONGEST_WAIT_SECONDS,
    SETTLED_SECONDS,
    SIGN_SECONDS,
    START_SECONDS,
    Roster,
)

LEAVE_SECONDS = 40.0


def roster(workers: int = 2) -> Roster:
    return Roster(workers, 0.0, LEAVE_SECONDS)


def serving(workers: int = 2, now: float = 0.0) -> Roster:
    """:return: one whose workers are all ready."""
    made = Roster(workers, now, LEAVE_SECONDS)
    for number in made.due(now):
        made.started(number, now)
        made.ready(number, now)
    return made


def test_all_are_started_at_once() -> None:
    """They are due at the beginning, and are no longer when they have been started."""
    made = roster(3)
    assert made.due(0.0) == [1, 2, 3]
    for number in (1, 2, 3):
        made.started(number, 0.0)
    assert made.due(0.0) == []
    assert not made.all_ready


def test_ready_when_all_are() -> None:
    """Each has to say so; once more, after a reload, changes nothing."""
    made = roster()
    for number in (1, 2):
        assert not made.all_ready
        made.started(number, 0.0)
        made.ready(number, 1.0)
    assert made.all_ready
    made.ready(1, 2.0)
    assert made.all_ready


def test_one_that_has_settled_is_replaced_at_once() -> None:
    """However often, as long as it served for a while each time."""
    made = serving()
    now = 0.0
    for _ in range(5):
        now += SETTLED_SECONDS
        assert made.ended(1, now, itself=False) == 0.0
        assert made.due(now) == [1]
        made.started(1, now)
        made.ready(1, now)


def test_one_that_dies_soon_waits_longer_each_time() -> None:
    """At once, then half a second, doubled, half a minute at most."""
    made = serving()
    waits = []
    now = 0.0
    for _ in range(10):
        waits.append(made.ended(1, now, itself=True))
        assert made.due(now + waits[-1]) == [1]
        if waits[-1]:
            assert made.due(now + waits[-1] - 0.01) == []
        now += waits[-1]
        made.started(1, now)
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    for _ in range(2000):
        assert made.ended(1, now, itself=True) == LONGEST_WAIT_SECONDS


def test_waits_begin_anew_when_it_has_settled() -> None:
    """What was wrong has been mended."""
    made = serving()
    for _ in range(4):
        made.ended(1, 0.0, itself=True)
        made.started(1, 0.0)
    made.ready(1, 1.0)
    assert made.ended(1, 1.0 + SETTLED_SECONDS, itself=False) == 0.0


def test_a_start_without_hope() -> None:
    """One that gives up before any was ready says that what all are given is wrong; one that is killed does not."""
    made = roster()
    made.started(1, 0.0)
    made.ended(1, 1.0, itself=False)
    assert not made.hopeless
    made.started(1, 1.0)
    made.ended(1, 2.0, itself=True)
    assert made.hopeless
    made = serving()
    made.ended(1, 1.0, itself=True)
    assert not made.hopeless


def test_a_loop_that_does_not_turn() -> None:
    """Is overdue some seconds after its last sign, and until it has ended."""
    made = serving()
    made.sign(1, 5.0)
    made.sign(2, 6.0)
    assert made.next_look() == 5.0 + SIGN_SECONDS
    assert made.overdue(5.0 + SIGN_SECONDS - 0.1) == []
    assert made.overdue(5.0 + SIGN_SECONDS) == [1]
    assert made.overdue(6.0 + SIGN_SECONDS) == [1, 2]
    made.ended(1, 20.0, itself=False)
    assert made.overdue(20.0) == [2]


def test_a_start_that_takes_too_long() -> None:
    """Is overdue too, whatever its loop does."""
    made = roster(1)
    made.started(1, 0.0)
    made.sign(1, START_SECONDS - 1)
    assert made.next_look() == START_SECONDS
    assert made.overdue(START_SECONDS - 0.1) == []
    assert made.overdue(START_SECONDS) == [1]


def test_one_that_leaves_has_its_time() -> None:
    """It gives no signs any more, and is replaced when it is gone."""
    made = serving(1)
    made.leaving(1, 100.0)
    assert not made.all_ready
    assert made.overdue(100.0 + LEAVE_SECONDS - 0.1) == []
    assert made.overdue(100.0 + LEAVE_SECONDS) == [1]
    assert made.due(130.0) == []
    assert made.ended(1, 130.0, itself=False) == 0.0
    assert made.due(130.0) == [1]


def test_of_nobody_there_is_nothing_to_look_at() -> None:
    """A roster may be empty."""
    assert Roster(0, 0.0, LEAVE_SECONDS).next_look() is None


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from("srdlt"), st.floats(0, 20)), max_size=60)
)
def test_whatever_happens_each_is_started_again(events: list[tuple[int, str, float]]) -> None:
    """At any time each worker runs, or is due within the longest wait; and the next look is never past both."""
    made = roster(3)
    running: set[int] = set()
    now = 0.0
    for number, what, later in events:
        now += later
        for due in made.due(now):
            assert due not in running
            made.started(due, now)
            running.add(due)
        if number in running:
            if what == "s":
                made.sign(number, now)
            elif what == "r":
                made.ready(number, now)
            elif what == "l":
                made.leaving(number, now)
            else:
                assert made.ended(number, now, itself=what == "t") <= LONGEST_WAIT_SECONDS
                running.discard(number)
        assert set(made.overdue(now)) <= running
        assert set(made.due(now + LONGEST_WAIT_SECONDS)) == {1, 2, 3} - running
        look = made.next_look()
        assert look is not None
        assert look <= now + max(START_SECONDS, LEAVE_SECONDS)
