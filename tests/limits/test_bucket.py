"""Tests of :mod:`gptproxy.limits.bucket`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.limits.bucket import Bucket


def test_a_minutes_worth_may_come_at_once() -> None:
    """Full at the start, empty after it, and one comes back in its share of a minute."""
    bucket = Bucket(60, 100.0)
    assert bucket.wait_for(60.0, 100.0) == 0.0
    bucket.take(60.0, 100.0)
    assert bucket.wait_for(1.0, 100.0) == 1.0
    assert bucket.wait_for(1.0, 101.0) == 0.0


def test_what_is_overdrawn_is_made_good_first() -> None:
    """A call that cost two minutes' worth has whoever made it wait for one."""
    bucket = Bucket(60, 0.0)
    bucket.take(120.0, 0.0)
    assert bucket.balance(0.0) == -60.0
    assert bucket.wait_for(1.0, 0.0) == 61.0


def test_it_holds_no_more_than_a_minutes_worth() -> None:
    """An hour of silence saves nothing up."""
    bucket = Bucket(60, 0.0)
    bucket.take(1.0, 0.0)
    assert not bucket.is_full(0.5)
    assert bucket.is_full(3600.0)
    assert bucket.balance(3600.0) == 60.0


def test_time_that_goes_back_gives_nothing() -> None:
    """A clock that is set back neither fills nor drains it."""
    bucket = Bucket(60, 100.0)
    bucket.take(60.0, 100.0)
    assert bucket.balance(0.0) == 0.0
    assert bucket.balance(100.0) == 0.0


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 2000)), max_size=30),
)
def test_never_more_than_the_rate(per_minute: int, taken: list[tuple[float, float]]) -> None:
    """Whoever takes only what is there gets at most a minute's worth and the rate over any time."""
    bucket = Bucket(per_minute, 0.0)
    now = got = 0.0
    for pause, amount in taken:
        now += pause
        if bucket.wait_for(amount, now) == 0.0:
            bucket.take(amount, now)
            got += amount
    assert got <= per_minute + now * per_minute / 60 + 1e-6 * (1 + got)
    assert bucket.balance(now) == pytest.approx(bucket.balance(now))
