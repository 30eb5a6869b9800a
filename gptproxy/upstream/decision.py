"""
The next step of a call that did not get its answer yet: one pure function of what has happened so far.

Pure: imports this room's values and the configuration's; time and chance are passed in. It ends: every target has a
bound on what may come of it, and behind the budget nothing is started. The rules, the first that fits:

1. An answer is the answer. What must not be done twice is not, unless the upstream surely did nothing.
2. The same upstream again: once at once for a connection's fault, after a wait for trouble that may pass.
3. The next upstream, in order.
4. When all were asked: of those that throttle or broke off the one that may be asked first, within the budget.
5. The caller gets the first interception, or else what the last upstream that was asked has said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from gptproxy.config import RetrySettings
from gptproxy.http import backoff_seconds
from gptproxy.upstream.judgement import Meaning

__all__ = ["Action", "AnswerWith", "Outcome", "Plan", "SendTo", "WaitThenSendTo", "next_action"]

_NOT_ASKED = (Meaning.SHUT, Meaning.DOWN)
_WAITS = (Meaning.SHUT, Meaning.THROTTLED, Meaning.BROKEN)


@frozen
class Plan:
    """
    What may be done.

    :param targets: how many upstreams have the model, 1 or more.
    :param retry: bounds.
    :param repeatable: the call may be sent again after an upstream may have worked on it.
    :param started: when the call began, in seconds.
    :param patience_seconds: how long the caller's client waits, if it says so.
    """

    targets: int
    retry: RetrySettings
    repeatable: bool
    started: float
    patience_seconds: float | None = None

    @property
    def deadline(self) -> float:
        """Behind it nothing is started."""
        budget = self.retry.budget_seconds
        if self.patience_seconds is not None:
            budget = min(budget, self.patience_seconds)
        return self.started + budget


@frozen
class Outcome:
    """
    What came of one attempt, or of the wish to make one.

    :param target: index of the upstream.
    :param meaning: what it means.
    :param at: when that was known, in seconds.
    :param untouched: the upstream surely did not work on the call: it was not connected, or it refused it.
    :param retry_after: how long it asks to be left alone, in seconds, or None.
    :param spent: the body was streamed and cannot be sent again.
    """

    target: int
    meaning: Meaning
    at: float = 0.0
    untouched: bool = False
    retry_after: float | None = None
    spent: bool = False


@frozen
class SendTo:
    """
    :param target: index of the upstream to send to now.
    """

    target: int


@frozen
class WaitThenSendTo:
    """
    :param seconds: to wait first.
    :param target: index of the upstream to send to then.
    """

    seconds: float
    target: int


@frozen
class AnswerWith:
    """
    :param outcome: index of the outcome that the caller gets.
    """

    outcome: int


Action = SendTo | WaitThenSendTo | AnswerWith


def next_action(
    plan: Plan,
    outcomes: Sequence[Outcome],
    now: float,
    random: Callable[[], float],
    *,
    may_retry: bool = True,
) -> Action:
    """
    :param plan: what may be done.
    :param outcomes: what has happened, the oldest first.
    :param now: seconds, on the clock of ``plan.started``.
    :param random: a number from 0 to 1.
    :param may_retry: the process as a whole may send to an upstream that was asked already.
    :return: what to do next.
    """
    if not outcomes:
        return SendTo(0)
    last = outcomes[-1]
    if last.meaning is Meaning.FINAL or _is_done_once(plan, last):
        return AnswerWith(len(outcomes) - 1)
    left = plan.deadline - now
    if last.spent or left < 0:
        return AnswerWith(_most_telling(outcomes))
    following = max(outcome.target for outcome in outcomes) + 1
    has_next = following < plan.targets
    wait = _wait_for_same(plan, outcomes, has_next=has_next, random=random) if may_retry else None
    if wait is not None and wait <= left:
        return WaitThenSendTo(wait, last.target) if wait else SendTo(last.target)
    if last.meaning is not Meaning.ONCE:
        if has_next:
            return SendTo(following)
        back = _first_to_let_in(plan, outcomes, now, random, may_retry=may_retry)
        if back is not None and back.seconds <= left:
            return back if back.seconds else SendTo(back.target)
    return AnswerWith(_most_telling(outcomes))


def _is_done_once(plan: Plan, last: Outcome) -> bool:
    """:return: the upstream may have worked on it, and that must not be done twice. An intercepted work is none."""
    return not (
        plan.repeatable or last.untouched or last.meaning in (*_NOT_ASKED, Meaning.FILTERED)
    )


def _attempts(outcomes: Sequence[Outcome], target: int) -> int:
    return sum(each.target == target and each.meaning not in _NOT_ASKED for each in outcomes)


def _wait_for_same(
    plan: Plan, outcomes: Sequence[Outcome], *, has_next: bool, random: Callable[[], float]
) -> float | None:
    """:return: seconds to wait before the same upstream is asked again; None where it is not to be asked."""
    last = outcomes[-1]
    made = _attempts(outcomes, last.target)
    if made >= plan.retry.attempts:
        return None
    if last.meaning in (Meaning.AT_ONCE, Meaning.ONCE):
        return 0.0 if made == 1 else None
    if last.meaning is not Meaning.AGAIN:
        return None
    asked = last.retry_after or 0.0
    if has_next and asked > plan.retry.backoff_max_seconds:
        # It says itself that it will be long; another may be well.
        return None
    return max(_backoff(plan, made, random), asked)


def _first_to_let_in(
    plan: Plan,
    outcomes: Sequence[Outcome],
    now: float,
    random: Callable[[], float],
    *,
    may_retry: bool,
) -> WaitThenSendTo | None:
    """:return: back to the upstream that is to be asked the soonest; None where there is none to go back to."""
    found: WaitThenSendTo | None = None
    for target in range(plan.targets):
        of_it = [outcome for outcome in outcomes if outcome.target == target]
        made = _attempts(of_it, target)
        # Not asked is bounded as asked is: a throttled upstream may be throttled anew whenever its time has come.
        if not of_it or made >= plan.retry.attempts or len(of_it) - made > plan.retry.attempts:
            continue
        last = of_it[-1]
        if last.meaning not in _WAITS or (made and not may_retry):
            continue
        wait = _backoff(plan, max(1, made), random)
        if last.retry_after is not None:
            until = last.at + last.retry_after - now
            # All who wait for it come at the same time: those who were not asked yet give way to those who were.
            wait = max(until, 0.0) + wait if last.meaning is Meaning.SHUT else max(until, wait)
        if found is None or wait < found.seconds:
            found = WaitThenSendTo(wait, target)
    return found


def _backoff(plan: Plan, made: int, random: Callable[[], float]) -> float:
    return backoff_seconds(
        made,
        first_seconds=plan.retry.backoff_seconds,
        longest_seconds=plan.retry.backoff_max_seconds,
        random=random,
    )


def _most_telling(outcomes: Sequence[Outcome]) -> int:
    """
    :return: the first interception, if there was one: that the next upstream had trouble too tells the caller nothing;
        else the last that was asked; where none was, the last.
    """
    for index, outcome in enumerate(outcomes):
        if outcome.meaning is Meaning.FILTERED:
            return index
    for index in range(len(outcomes) - 1, -1, -1):
        if outcomes[index].meaning not in _NOT_ASKED:
            return index
    return len(outcomes) - 1
