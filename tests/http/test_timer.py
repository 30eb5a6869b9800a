"""One timer for one thing at a time, exact or patient."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from gptproxy.http.timer import DeadlineTimer, Timer


@pytest.mark.parametrize("kind", [Timer, DeadlineTimer])
def test_it_runs_once_when_its_time_has_come(kind: type[Timer | DeadlineTimer]) -> None:
    clock, ran = Clock(), []
    timer = kind(clock)
    timer.set(3, lambda: ran.append(clock.seconds()))
    clock.pump([1.0] * 9)
    assert ran == [3.0]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("kind", [Timer, DeadlineTimer])
def test_what_is_cancelled_does_not_run(kind: type[Timer | DeadlineTimer]) -> None:
    clock, ran = Clock(), []
    timer = kind(clock)
    timer.set(3, lambda: ran.append(1))
    timer.cancel()
    timer.cancel()
    timer.put_off(1)
    clock.advance(10)
    assert ran == []
    assert clock.getDelayedCalls() == []


def test_a_deadline_timer_that_is_stopped_leaves_nothing_outstanding() -> None:
    clock, ran = Clock(), []
    timer = DeadlineTimer(clock)
    timer.set(3, lambda: ran.append(1))
    timer.stop()
    timer.stop()
    assert clock.getDelayedCalls() == []
    timer.set(1, lambda: ran.append(2))
    clock.advance(1)
    assert ran == [2]


def test_setting_and_cancelling_a_deadline_timer_makes_no_calls() -> None:
    """That is what it is for: one outstanding call, however often it is set."""
    clock = Clock()
    timer = DeadlineTimer(clock)
    for _ in range(1000):
        timer.set(90, lambda: None)
        timer.cancel()
    assert len(clock.getDelayedCalls()) == 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("set"), st.integers(1, 20)),
            st.tuples(st.just("put_off"), st.integers(1, 20)),
            st.tuples(st.just("cancel"), st.just(0)),
            st.tuples(st.just("advance"), st.integers(0, 9)),
        ),
        max_size=30,
    )
)
def test_both_kinds_run_the_same_things_at_the_same_times(steps: list[tuple[str, int]]) -> None:
    """Only an advance as a whole second at a time tells them apart, and there is none."""
    clock, ran = Clock(), ([], [])
    timers = (Timer(clock), DeadlineTimer(clock))
    for number, (step, seconds) in enumerate(steps):
        if step == "advance":
            clock.pump([1.0] * seconds)
            continue
        for timer, told in zip(timers, ran, strict=True):
            if step == "set":
                timer.set(
                    seconds, lambda told=told, number=number: told.append((number, clock.seconds()))
                )
            elif step == "put_off":
                timer.put_off(seconds)
            else:
                timer.cancel()
    clock.pump([1.0] * 50)
    assert ran[0] == ran[1]
