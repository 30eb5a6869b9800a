"""The next step of a call: by table, and what holds for whatever happens."""

from __future__ import annotations

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
BROKEN = Meaning.BROKEN
SHUT, DOWN = Meaning.SHUT, Meaning.DOWN

RETRY = RetrySettings(attempts=3, backoff_seconds=0.5, backoff_max_seconds=8.0, budget_seconds=60.0)


def after(
    *outcomes: Meaning | Outcome,
    targets: int = 2,
    now: float = 100.0,
    retry: RetrySettings = RETRY,
    repeatable: bool = True,
    patience: float | None = None,
    may_retry: bool = True,
) -> Action:
    """:return: what follows; a bare meaning is the first target's. The call began at 100."""
    history = [each if isinstance(each, Outcome) else at(0, each) for each in outcomes]
    plan = Plan(targets, retry, repeatable, 100.0, patience)
    return next_action(plan, history, now, lambda: 1.0, may_retry=may_retry)


def at(target: int, meaning: Meaning, retry_after: float | None = None, **more: bool) -> Outcome:
    """:return: an outcome of the moment the call began."""
    return Outcome(target, meaning, 100.0, retry_after=retry_after, **more)


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
        ([at(0, THROTTLED, 22.0)], WaitThenSendTo(22.0, 0), SendTo(1)),
        ([at(0, THROTTLED, 0.0)], WaitThenSendTo(0.5, 0), SendTo(1)),
        ([at(0, THROTTLED, 60.0)], WaitThenSendTo(60.0, 0), SendTo(1)),
        ([at(0, THROTTLED, 60.1)], AnswerWith(0), SendTo(1)),
        ([THROTTLED, THROTTLED, THROTTLED], AnswerWith(2), SendTo(1)),
        # an in-band error, or the end, before any content: the next without sleep; alone, the backoff
        ([BROKEN], WaitThenSendTo(0.5, 0), SendTo(1)),
        ([BROKEN, BROKEN], WaitThenSendTo(1.0, 0), SendTo(1)),
        ([BROKEN, BROKEN, BROKEN], AnswerWith(2), SendTo(1)),
        # quota, key refused, deployment gone, content filter: the next
        ([ELSEWHERE], AnswerWith(0), SendTo(1)),
        ([FILTERED], AnswerWith(0), SendTo(1)),
        # a mixture counts together
        ([AGAIN, AT_ONCE], AnswerWith(1), SendTo(1)),
        ([AT_ONCE, AGAIN], WaitThenSendTo(1.0, 0), WaitThenSendTo(1.0, 0)),
        ([AT_ONCE, FINAL], AnswerWith(1), AnswerWith(1)),
        ([at(0, AGAIN, 5.0)], WaitThenSendTo(5.0, 0), WaitThenSendTo(5.0, 0)),
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
        ([at(0, AGAIN)] * 3 + [at(1, THROTTLED)], WaitThenSendTo(0.5, 1)),
        # When all were asked: the throttled one that lets calls in first.
        ([at(0, THROTTLED), at(1, THROTTLED)], WaitThenSendTo(0.5, 0)),
        ([at(0, THROTTLED, 22.0), at(1, THROTTLED, 7.0)], WaitThenSendTo(7.0, 1)),
        ([at(0, BROKEN), at(1, BROKEN)], WaitThenSendTo(0.5, 0)),
        ([at(0, BROKEN), at(1, ELSEWHERE)], WaitThenSendTo(0.5, 0)),
        ([at(0, THROTTLED, 5.0), at(1, ELSEWHERE)], WaitThenSendTo(5.0, 0)),
        ([at(0, THROTTLED, 61.0), at(1, ELSEWHERE)], AnswerWith(1)),
        ([at(0, THROTTLED, 5.0), at(1, DOWN, 9.0)], WaitThenSendTo(5.0, 0)),
        ([at(0, THROTTLED, 61.0), at(1, DOWN, 9.0)], AnswerWith(0)),
        # One that was not asked gives way to those who were: all wait for the same moment.
        ([at(0, SHUT, 5.0), at(1, DOWN, 9.0)], WaitThenSendTo(5.5, 0)),
        ([at(0, SHUT, 5.0), at(1, FINAL)], AnswerWith(1)),
        ([at(0, SHUT, 70.0), at(1, SHUT, 80.0)], AnswerWith(1)),
        ([at(0, DOWN, 5.0), at(1, DOWN, 9.0)], AnswerWith(1)),
        ([at(0, DOWN, 5.0), at(1, AT_ONCE), at(1, DOWN, 9.0)], AnswerWith(1)),
        ([at(0, THROTTLED)] * 3 + [at(1, THROTTLED)] * 3, AnswerWith(5)),
        ([at(0, SHUT)] * 4 + [at(1, DOWN)], AnswerWith(4)),
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


def test_patience() -> None:
    """The caller's own, where it is less than the budget."""
    assert after(AGAIN, targets=1, now=104.4, patience=5.0) == WaitThenSendTo(0.5, 0)
    assert after(AGAIN, targets=1, now=104.6, patience=5.0) == AnswerWith(0)
    assert after(ELSEWHERE, now=105.1, patience=5.0) == AnswerWith(0)
    assert after(AGAIN, targets=1, now=159.6, patience=600.0) == AnswerWith(0)


def test_the_retry_budget() -> None:
    """Used up, nobody is asked twice; another upstream is asked all the same."""
    for meaning in (AGAIN, AT_ONCE, ONCE, THROTTLED):
        assert after(meaning, targets=1, may_retry=False) == AnswerWith(0)
    assert after(AGAIN, may_retry=False) == SendTo(1)
    assert after(ONCE, may_retry=False) == AnswerWith(0)
    # Who was not asked yet is not asked twice.
    assert after(at(0, SHUT, 1.0), targets=1, may_retry=False) == WaitThenSendTo(1.5, 0)


def test_a_long_wait_that_the_upstream_asks_for() -> None:
    """It is obeyed where there is no other upstream; else the other is asked."""
    assert after(at(0, AGAIN, 8.1), targets=1) == WaitThenSendTo(8.1, 0)
    assert after(at(0, AGAIN, 8.1)) == SendTo(1)


def test_a_body_that_is_gone() -> None:
    """It cannot be sent again, whatever came of it."""
    for meaning in Meaning:
        assert after(at(0, meaning, spent=True)) == AnswerWith(0)
    assert after(at(0, FILTERED), at(1, AGAIN, spent=True)) == AnswerWith(0)


def test_one_attempt_only() -> None:
    """Retries can be switched off; another upstream is none."""
    retry = evolve(RETRY, attempts=1)
    for meaning in (AGAIN, AT_ONCE, ONCE, THROTTLED):
        assert after(meaning, targets=1, retry=retry) == AnswerWith(0)
    assert after(AGAIN, retry=retry) == SendTo(1)
    assert after(ONCE, retry=retry) == AnswerWith(0)


@pytest.mark.parametrize("meaning", [meaning for meaning in Meaning if meaning is not FINAL])
def test_what_must_not_be_done_twice(meaning: Meaning) -> None:
    """It is sent again only where the upstream surely did not work on it, or its work was intercepted."""
    may_go_on = meaning in (FILTERED, SHUT, DOWN)
    assert after(meaning, repeatable=False) == (SendTo(1) if may_go_on else AnswerWith(0))
    untouched = at(0, meaning, untouched=True)
    assert after(untouched, repeatable=False) == after(untouched)


_outcomes = st.builds(
    Outcome,
    st.just(0),
    st.sampled_from(Meaning),
    st.just(0.0),
    st.booleans(),
    st.none() | st.floats(0, 100),
    st.sampled_from([False, False, False, True]),
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
        st.none() | st.floats(0.1, 100),
    ),
    data=st.data(),
)
def test_whatever_happens(plan: Plan, data: st.DataObject) -> None:
    """
    It ends, within the bounds on attempts and time; upstreams are first asked in order; nothing follows a FINAL, a body
    that is gone, nor what may not be sent twice; no throttled one is asked before its time; retries that the process
    may not make are not made; the answer is the first interception or what the last that was asked said.
    """
    now, deadline = plan.started, plan.deadline
    history: list[Outcome] = []
    while True:
        chance = data.draw(st.floats(0, 1))
        may_retry = data.draw(st.booleans())
        action = next_action(plan, history, now, lambda: chance, may_retry=may_retry)  # noqa: B023  # called at once
        if isinstance(action, AnswerWith):
            break
        assert 0 <= action.target < plan.targets
        before = [each for each in history if each.target == action.target]
        asked = [each for each in before if each.meaning not in (SHUT, DOWN)]
        assert len(asked) < plan.retry.attempts
        assert may_retry or not asked
        if isinstance(action, WaitThenSendTo):
            assert action.seconds > 0
            now += action.seconds
        if before and before[-1].meaning is not DOWN:
            assert now >= before[-1].at + (before[-1].retry_after or 0) - 1e-6 or before[
                -1
            ].meaning in (AT_ONCE, ONCE)
        if history:
            last = history[-1]
            assert now <= deadline + 1e-6
            assert last.meaning is not FINAL
            assert not last.spent
            assert plan.repeatable or last.untouched or last.meaning in (FILTERED, SHUT, DOWN)
        new = [
            target for target in range(plan.targets) if target not in {h.target for h in history}
        ]
        assert before or action.target == new[0]
        now += data.draw(st.floats(0, 30))
        history.append(evolve(data.draw(_outcomes), target=action.target, at=now))
        assert len(history) <= plan.targets * (2 * plan.retry.attempts + 1)
    last = history[-1]
    filtered = [index for index, each in enumerate(history) if each.meaning is FILTERED]
    answered = [index for index, each in enumerate(history) if each.meaning not in (SHUT, DOWN)]
    untold = (FILTERED, SHUT, DOWN)
    own = last.meaning is FINAL or not (plan.repeatable or last.untouched or last.meaning in untold)
    expected = len(history) - 1
    if not own:
        expected = next(iter(filtered), next(reversed(answered), expected))
    assert action == AnswerWith(expected)
