"""Tests of :mod:`gptproxy.limits.admission` and :mod:`gptproxy.limits.account`."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config import QuotaSettings
from gptproxy.limits import Limits, admission
from gptproxy.limits.account import Account
from gptproxy.wire import Refusal


def refused(limits: Limits, caller: str, now: float, *groups: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        limits.admit(caller, groups, now)
    return caught.value


def test_without_bounds_nobody_is_counted() -> None:
    """No quota: everything is admitted, and nothing is kept of anybody."""
    limits = Limits(None, None, (), 0.0)
    assert limits.unlimited
    for _ in range(100):
        limits.admit("alice", ("interns",), 0.0).end(1000, 0.0)


def test_concurrent_calls_of_each_caller() -> None:
    """The bound is each caller's own, and a call that ends makes room."""
    limits = Limits(None, QuotaSettings(concurrent_calls=2), (), 0.0)
    assert not limits.unlimited
    first = limits.admit("alice", (), 0.0)
    limits.admit("alice", (), 0.0)
    refusal = refused(limits, "alice", 0.0)
    assert refusal.status == 429
    assert "concurrent calls (limit 2)" in refusal.message
    assert dict(refusal.headers)[b"retry-after"] == b"1"
    limits.admit("bob", (), 0.0)
    first.end(0, 0.0)
    limits.admit("alice", (), 0.0)


def test_ending_twice_counts_once() -> None:
    """Whoever gives an admission back again gives nothing."""
    limits = Limits(None, QuotaSettings(concurrent_calls=1), (), 0.0)
    first = limits.admit("alice", (), 0.0)
    first.end(0, 0.0)
    limits.admit("alice", (), 0.0)
    first.end(0, 0.0)
    refused(limits, "alice", 0.0)


def test_calls_per_minute_in_openais_form() -> None:
    """The refusal says in every header OpenAI's clients read when to come back."""
    limits = Limits(QuotaSettings(calls_per_minute=30), None, (), 0.0)
    for _ in range(30):
        limits.admit("alice", (), 0.0).end(0, 0.0)
    refusal = refused(limits, "bob", 0.5)
    assert dict(refusal.headers) == {
        b"retry-after": b"2",
        b"retry-after-ms": b"1500",
        b"x-ratelimit-limit-requests": b"30",
        b"x-ratelimit-remaining-requests": b"0",
        b"x-ratelimit-reset-requests": b"1.500s",
    }
    error = orjson.loads(refusal.body())["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    limits.admit("bob", (), 2.0)


def test_tokens_per_minute_are_counted_when_the_call_has_ended() -> None:
    """What a call cost is owed by the next: it waits until that is made good."""
    limits = Limits(None, QuotaSettings(tokens_per_minute=600), (), 0.0)
    limits.admit("alice", (), 0.0).end(900, 0.0)
    refusal = refused(limits, "alice", 0.0)
    assert dict(refusal.headers)[b"x-ratelimit-limit-tokens"] == b"600"
    assert dict(refusal.headers)[b"retry-after"] == b"31"
    limits.admit("alice", (), 31.0)


def test_a_group_shares_its_quota() -> None:
    """Members of a group draw on one quota; who is in none, or in one that is not counted, does not."""
    limits = Limits(None, None, [("interns", QuotaSettings(concurrent_calls=1))], 0.0)
    limits.admit("alice", ("interns",), 0.0)
    refused(limits, "bob", 0.0, "interns", "staff")
    limits.admit("carol", ("staff",), 0.0)


def test_nothing_is_counted_of_a_refused_call() -> None:
    """Where the group refuses, the caller's own quota is untouched."""
    limits = Limits(
        None,
        QuotaSettings(calls_per_minute=1),
        [("interns", QuotaSettings(concurrent_calls=1))],
        0.0,
    )
    running = limits.admit("alice", ("interns",), 0.0)
    refused(limits, "bob", 0.0, "interns")
    running.end(0, 0.0)
    limits.admit("bob", ("interns",), 0.0)


def test_the_longest_wait_is_told() -> None:
    """Of several bounds the one that will hold longest is named."""
    account = Account(QuotaSettings(concurrent_calls=1, calls_per_minute=1), 0.0)
    account.begin(0.0)
    shortage = account.shortage(0.0)
    assert shortage is not None
    assert (shortage.of, shortage.wait_seconds) == ("calls per minute", 60.0)


def test_who_is_idle_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that has everything back makes room; one with a call under way stays, even at the bound."""
    monkeypatch.setattr(admission, "MAX_CALLERS", 3)
    limits = Limits(None, QuotaSettings(concurrent_calls=1, calls_per_minute=60), (), 0.0)
    limits.admit("running", (), 0.0)
    limits.admit("owing", (), 0.0).end(0, 0.0)
    limits.admit("owing too", (), 0.5).end(0, 0.5)
    limits.admit(
        "new", (), 0.6
    )  # at the bound: "owing" and "owing too" go, though something is owed
    refused(limits, "running", 30.0)
    limits.admit("newer", (), 30.0)


def test_an_idle_account_is_one_with_nothing_owed() -> None:
    """A quota of each kind has to be whole again."""
    account = Account(QuotaSettings(tokens_per_minute=60), 0.0)
    assert account.is_idle(0.0)
    account.begin(0.0)
    assert not account.is_idle(0.0)
    account.end(30, 0.0)
    assert not account.is_idle(0.0)
    assert account.is_idle(30.0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from([(), ("g",)]), st.floats(0, 5)),
        max_size=60,
    )
)
def test_never_more_at_a_time_than_allowed(
    calls: list[tuple[str, tuple[str, ...], float]],
) -> None:
    """Whatever comes and ends in whatever order, no bound is ever exceeded and every end makes room."""
    limits = Limits(
        QuotaSettings(concurrent_calls=4),
        QuotaSettings(concurrent_calls=2),
        [("g", QuotaSettings(concurrent_calls=3))],
        0.0,
    )
    running: list[tuple[str, tuple[str, ...], admission.Admission]] = []
    now = 0.0
    for caller, groups, pause in calls:
        now += pause
        full = (
            len(running) >= 4
            or sum(each[0] == caller for each in running) >= 2
            or (bool(groups) and sum(bool(each[1]) for each in running) >= 3)
        )
        try:
            admitted = limits.admit(caller, groups, now)
        except Refusal:
            assert full
            running.pop(0)[2].end(10, now)
        else:
            assert not full
            running.append((caller, groups, admitted))
