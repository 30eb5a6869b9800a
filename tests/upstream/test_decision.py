"""The next step of a call: by table, and what holds for whatever happens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config import RetrySettings
from gptproxy.upstream.decision import (
    Action,
    AnswerWith,
    Outcome,
    Plan,
    SendTo,
    WaitThenSendTo,
    next_action,
)
from gptproxy.upstream.judgement import Meaning

FINAL, AGAIN, AT_ONCE, ONCE = Meaning.FINAL, Meaning.AGAIN, Meaning.AT_ONCE, Meaning.ONCE
THROTTLED, ELSEWHERE, FILTERED = Meaning.THROTTLED, Meaning.ELSEWHERE, Meaning.FILTERED

RETRY = RetrySettings(attempts=3, backoff_seconds=0.5, backoff_max_seconds=8.0, budget_seconds=60.0)


def after(
    *outcomes: Meaning | Outcome,
    targets: int = 2,
    now: float = 100.0,
    retry: RetrySettings = RETRY,
    repeatable: bool = True,
) -> Action:
    """:return: what follows; a bare meaning is the first target's. The call began at 100."""
    history = [each if isinstance(each, Outcome) else Outcome(0, each) for each in outcomes]
    return next_action(Plan(targets, retry, repeatable, 100.0), history, now, lambda: 1.0)


def at(target: int, meaning: Meaning) -> Outcome:
    return Outcome(target, meaning)


@pytest.mark.parametrize(
    ("outcomes", "alone", "with_another"),
    [
        ([], SendTo(0), SendTo(0)),
        ([FINAL], AnswerWith(0), AnswerWith(0)),
        # connect error, TLS error, reset before any byte: once more at once, then the next
        ([AT_ONCE], SendTo(0), SendTo(0)),
        ([AT_ONCE, AT_ONCE], AnswerWith(1), SendTo(1)),
        # 408, 5xx: twice more with backoff, then the next
        ([AGAIN], WaitThenSendTo(0.5, 0), WaitThenSendTo(0.5, 0)),
        ([AGAIN, AGAIN], WaitThenSendTo(1.0, 0), WaitThenSendTo(1.0, 0)),
        ([AGAIN, AGAIN, AGAIN], AnswerWith(2), SendTo(1)),
        # 409: once more, no other
        ([ONCE], SendTo(0), SendTo(0)),
        ([ONCE, ONCE], AnswerWith(1), AnswerWith(1)),
        # 429: the next without sleep; alone, the wait it asks for
        ([THROTTLED], WaitThenSendTo(0.5, 0), SendTo(1)),
        ([Outcome(0, THROTTLED, True, 22.0)], WaitThenSendTo(22.0, 0), SendTo(1)),
        ([Outcome(0, THROTTLED, True, 0.0)], WaitThenSendTo(0.5, 0), SendTo(1)),
        ([Outcome(0, THROTTLED, True, 60.0)], WaitThenSendTo(60.0, 0), SendTo(1)),
        ([Outcome(0, THROTTLED, True, 60.1)], AnswerWith(0), SendTo(1)),
        ([THROTTLED, THROTTLED, THROTTLED], AnswerWith(2), SendTo(1)),
        # quota, key refused, deployment gone, content filter: the next
        ([ELSEWHERE], AnswerWith(0), SendTo(1)),
        ([FILTERED], AnswerWith(0), SendTo(1)),
        # a mixture counts together
        ([AGAIN, AT_ONCE], AnswerWith(1), SendTo(1)),
        ([AT_ONCE, AGAIN], WaitThenSendTo(1.0, 0), WaitThenSendTo(1.0, 0)),
        ([AT_ONCE, FINAL], AnswerWith(1), AnswerWith(1)),
        ([Outcome(0, AGAIN, True, 5.0)], WaitThenSendTo(5.0, 0), WaitThenSendTo(5.0, 0)),
    ],
)
def test_the_table(outcomes: list[Meaning | Outcome], alone: Action, with_another: Action) -> None:
    """Each condition, for the only upstream and where there is another."""
    assert after(*outcomes, targets=1) == alone
    assert after(*outcomes, targets=2) == with_another


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([at(0, FILTERED), at(1, FILTERED)], AnswerWith(0)),
        ([at(0, FILTERED), at(1, ELSEWHERE)], AnswerWith(0)),
        ([at(0, AGAIN), at(0, FILTERED), at(1, AT_ONCE), at(1, AT_ONCE)], AnswerWith(1)),
        ([at(0, FILTERED), at(1, FINAL)], AnswerWith(1)),
        ([at(0, FILTERED), at(1, AGAIN)], WaitThenSendTo(0.5, 1)),
        ([at(0, ELSEWHERE), at(1, FILTERED)], AnswerWith(1)),
        ([at(0, ELSEWHERE), at(1, ELSEWHERE)], AnswerWith(1)),
        # The second upstream has attempts of its own, and it is the last: it is waited for.
        ([at(0, THROTTLED), at(1, THROTTLED)], WaitThenSendTo(0.5, 1)),
        ([at(0, AGAIN)] * 3 + [at(1, AGAIN)], WaitThenSendTo(0.5, 1)),
    ],
)
def test_at_the_second_upstream(outcomes: list[Outcome], expected: Action) -> None:
    """The caller gets the first interception: that the next had trouble too tells nothing."""
    assert after(*outcomes) == expected


def test_the_budget() -> None:
    """Behind it nothing is started, neither at the same upstream nor at the next."""
    for meaning in Meaning:
        assert after(meaning, now=160.01) == AnswerWith(0)
    assert after(AGAIN, now=159.5, targets=1) == WaitThenSendTo(0.5, 0)
    assert after(AGAIN, now=159.6, targets=1) == AnswerWith(0)
    # No time for the wait, but for the next at once.
    assert after(AGAIN, now=159.6) == SendTo(1)
    assert after(AT_ONCE, now=160.0) == SendTo(0)
    assert after(ELSEWHERE, now=160.0) == SendTo(1)


def test_one_attempt_only() -> None:
    """Retries can be switched off; another upstream is none."""
    retry = evolve(RETRY, attempts=1)
    for meaning in (AGAIN, AT_ONCE, ONCE, THROTTLED):
        assert after(meaning, targets=1, retry=retry) == AnswerWith(0)
    assert after(AGAIN, retry=retry) == SendTo(1)
    assert after(ONCE, retry=retry) == AnswerWith(0)


@pytest.mark.parametrize("meaning", [meaning for meaning in Meaning if meaning is not FINAL])
def test_what_must_not_be_done_twice(meaning: Meaning) -> None:
    """It is sent again only where the upstream surely did not work on it."""
    assert after(meaning, repeatable=False) == AnswerWith(0)
    untouched = Outcome(0, meaning, untouched=True)
    assert after(untouched, repeatable=False) == after(untouched)


_outcomes = st.builds(
    Outcome,
    st.just(0),
    st.sampled_from(Meaning),
    st.booleans(),
    st.none() | st.floats(0, 100),
)


@settings(max_examples=100, deadline=None)
@given(
    plan=st.builds(
        Plan,
        st.integers(1, 4),
        st.builds(
            RetrySettings,
            st.integers(1, 5),
            st.floats(0.01, 4),
            st.floats(4, 20),
            st.floats(0.1, 100),
        ),
        st.booleans(),
        st.floats(0, 1e6),
    ),
    happenings=st.lists(
        st.tuples(_outcomes, st.floats(0, 30), st.floats(0, 1)), min_size=20, max_size=20
    ),
)
def test_whatever_happens(plan: Plan, happenings: list[tuple[Outcome, float, float]]) -> None:
    """
    It ends, within the bounds on attempts and time; targets come in order; nothing follows a FINAL, nor what may not
    be sent twice; the answer is the first interception or the last outcome.
    """
    now, deadline = plan.started, plan.started + plan.retry.budget_seconds
    history: list[Outcome] = []
    while True:
        chance = happenings[len(history)][2]
        action = next_action(plan, history, now, lambda: chance)  # noqa: B023  # called at once
        if isinstance(action, AnswerWith):
            break
        if isinstance(action, WaitThenSendTo):
            assert action.seconds > 0
            assert action.seconds >= (history[-1].retry_after or 0)
            now += action.seconds
        if history:
            assert now <= deadline + 1e-6
            assert history[-1].meaning is not Meaning.FINAL
            assert plan.repeatable or history[-1].untouched
        assert 0 <= action.target < plan.targets
        outcome, took, _ = happenings[len(history)]
        now += took
        history.append(evolve(outcome, target=action.target))
        assert sum(each.target == action.target for each in history) <= plan.retry.attempts
    order = [outcome.target for outcome in history]
    assert order[0] == 0
    assert all(later - earlier in (0, 1) for earlier, later in pairwise(order))
    filtered = [index for index, each in enumerate(history) if each.meaning is Meaning.FILTERED]
    last = history[-1]
    stopped = last.meaning is Meaning.FINAL or not (plan.repeatable or last.untouched)
    expected = len(history) - 1 if stopped or not filtered else filtered[0]
    assert action == AnswerWith(expected)
