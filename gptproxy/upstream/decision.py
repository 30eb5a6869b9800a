"""
The next step of a call that did not get its answer yet: one pure function of what has happened so far.

Pure: imports this room's values and the configuration's; time and chance are passed in. It ends: every target has a
bound on its attempts, no target is come back to, and behind the budget nothing is started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen

from gptproxy.config import RetrySettings
from gptproxy.http import backoff_seconds
from gptproxy.upstream.judgement import Meaning

__all__ = ["Action", "AnswerWith", "Outcome", "Plan", "SendTo", "WaitThenSendTo", "next_action"]


@frozen
class Plan:
    """
    What may be done.

    :param targets: how many upstreams have the model, 1 or more.
    :param retry: bounds.
    :param repeatable: the call may be sent again after an upstream may have worked on it.
    :param started: when the call began, in seconds.
    """

    targets: int
    retry: RetrySettings
    repeatable: bool
    started: float


@frozen
class Outcome:
    """
    What came of one attempt.

    :param target: index of the upstream.
    :param meaning: what it means.
    :param untouched: the upstream surely did not work on the call: it was not connected, or refused with 429 or 503.
    :param retry_after: the wait in seconds that the upstream asks for, or None.
    """

    target: int
    meaning: Meaning
    untouched: bool = False
    retry_after: float | None = None


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
    plan: Plan, outcomes: Sequence[Outcome], now: float, random: Callable[[], float]
) -> Action:
    """
    :param plan: what may be done.
    :param outcomes: what has happened, the oldest first.
    :param now: seconds, on the clock of ``plan.started``.
    :param random: a number from 0 to 1.
    :return: what to do next.
    """
    if not outcomes:
        return SendTo(0)
    last = outcomes[-1]
    if last.meaning is Meaning.FINAL or not (plan.repeatable or last.untouched):
        return AnswerWith(len(outcomes) - 1)
    left = plan.started + plan.retry.budget_seconds - now
    has_next = last.target + 1 < plan.targets
    wait = _wait_for_same(plan, outcomes, has_next=has_next, random=random)
    if wait is not None and wait <= left:
        return WaitThenSendTo(wait, last.target) if wait else SendTo(last.target)
    if has_next and left >= 0 and last.meaning is not Meaning.ONCE:
        return SendTo(last.target + 1)
    return AnswerWith(_most_telling(outcomes))


def _wait_for_same(
    plan: Plan, outcomes: Sequence[Outcome], *, has_next: bool, random: Callable[[], float]
) -> float | None:
    """:return: seconds to wait before the same upstream is asked again; None where it is not to be asked."""
    last = outcomes[-1]
    made = sum(outcome.target == last.target for outcome in outcomes)
    if made >= plan.retry.attempts:
        return None
    if last.meaning in (Meaning.AT_ONCE, Meaning.ONCE):
        return 0.0 if made == 1 else None
    if last.meaning is Meaning.AGAIN or (last.meaning is Meaning.THROTTLED and not has_next):
        backoff = backoff_seconds(
            made,
            first_seconds=plan.retry.backoff_seconds,
            longest_seconds=plan.retry.backoff_max_seconds,
            random=random,
        )
        return max(backoff, last.retry_after or 0.0)
    return None


def _most_telling(outcomes: Sequence[Outcome]) -> int:
    """
    :return: the first interception, if there was one: that the next upstream had trouble too tells the caller nothing;
        else the last outcome.
    """
    for index, outcome in enumerate(outcomes):
        if outcome.meaning is Meaning.FILTERED:
            return index
    return len(outcomes) - 1
