"""New bounds while calls are under way."""

from __future__ import annotations

import pytest

from gptproxy.config import QuotaSettings
from gptproxy.limits import Limits
from gptproxy.wire import Refusal

ONE = QuotaSettings(concurrent_calls=1)


def refused(limits: Limits, caller: str = "a", groups: tuple[str, ...] = ()) -> bool:
    """:return: whether a call is; one that is not is given back."""
    try:
        limits.admit(caller, groups, 0.0).end(0, 0.0)
    except Refusal:
        return True
    return False


def test_what_is_under_way_stays_counted() -> None:
    """A call of before counts against a new bound, and is given back to it."""
    limits = Limits(ONE, ONE, [("g", ONE)], 0.0)
    call = limits.admit("a", ["g"], 0.0)
    for bound in (ONE, QuotaSettings(concurrent_calls=1, calls_per_minute=100)):
        limits.bound_by(None, None, [("g", bound)], 0.0)
        assert refused(limits, "b", ("g",))
        limits.bound_by(bound, None, [("g", QuotaSettings(concurrent_calls=2))], 0.0)
    limits.bound_by(None, QuotaSettings(concurrent_calls=2), [], 0.0)
    call.end(0, 0.0)
    assert not refused(limits)


def test_a_caller_s_account_takes_the_new_bound() -> None:
    """With what is under way."""
    limits = Limits(None, ONE, [], 0.0)
    limits.admit("a", (), 0.0)
    assert refused(limits)
    limits.bound_by(None, QuotaSettings(concurrent_calls=2), [], 0.0)
    assert not refused(limits)
    limits.bound_by(None, QuotaSettings(concurrent_calls=1, calls_per_minute=9), [], 0.0)
    assert refused(limits)


@pytest.mark.parametrize("changed", [False, True])
def test_buckets(changed: bool) -> None:
    """One whose bound is as it was keeps what is in it; another begins full."""
    limits = Limits(QuotaSettings(calls_per_minute=1), None, [], 0.0)
    limits.admit("a", (), 0.0)
    limits.bound_by(QuotaSettings(2, calls_per_minute=2 if changed else 1), None, [], 0.0)
    assert refused(limits) is not changed


def test_no_bounds_any_more() -> None:
    """Nobody is counted."""
    limits = Limits(ONE, ONE, [("g", ONE)], 0.0)
    call = limits.admit("a", ["g"], 0.0)
    limits.bound_by(None, None, [], 0.0)
    assert limits.unlimited
    assert not refused(limits, "a", ("g",))
    call.end(5, 0.0)
