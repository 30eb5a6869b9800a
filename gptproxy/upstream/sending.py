"""
A call carried out: sent, judged, sent again or elsewhere, until there is an answer for the caller.

May import the upstream, HTTP, config and wire rooms and Twisted. What to do next is decided in
:mod:`gptproxy.upstream.decision`; here it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from gptproxy.config import RetrySettings, StreamSettings
from gptproxy.figures import NOBODY, Figures
from gptproxy.http import Agent, Response
from gptproxy.upstream.alarm import Alarm
from gptproxy.upstream.attempt import Attempts, Failed
from gptproxy.upstream.budget import RetryBudget
from gptproxy.upstream.call import Call, HeldAnswer, NoUpstreamAnswer, Target, UpstreamAnswer
from gptproxy.upstream.circuit import Circuits, Entry, UpstreamState
from gptproxy.upstream.decision import AnswerWith, Outcome, Plan, WaitThenSendTo, next_action
from gptproxy.upstream.entra import EntraTokens
from gptproxy.upstream.fields import fields_down
from gptproxy.upstream.judgement import Meaning
from gptproxy.upstream.order import in_order
from gptproxy.wire import Refusal

__all__ = ["Sender"]

THROTTLED_SECONDS = 1.0
"""How long an upstream is left alone that says 429 and not for how long: Azure's windows have 1 and 10 s."""

_STREAM = StreamSettings()


class Sender:
    """
    The process's one: it remembers how the upstreams are doing.

    :param agent: sends.
    :param clock: for the waits and the budgets.
    :param random: a number from 0 to 1, for the waits and the weights.
    :param retry: the bounds.
    :param stream: how answers are held back.
    :param tokens: of the upstreams that take no key.
    :param figures: told of retries, failovers and filter switches.
    """

    _log = Logger()

    def __init__(
        self,
        agent: Agent,
        clock: IReactorTime,
        random: Callable[[], float],
        retry: RetrySettings,
        stream: StreamSettings = _STREAM,
        tokens: EntraTokens | None = None,
        figures: Figures = NOBODY,
    ) -> None:
        self._attempts = Attempts(agent, clock, stream, tokens)
        self._clock = clock
        self._random = random
        self._retry = retry
        self._circuits = Circuits(retry)
        self._budget = RetryBudget(retry)
        self._alarm = Alarm()
        self._figures = figures

    def take_over(self, before: Sender, upstreams: Iterable[str]) -> None:
        """Know what the one before knew (:param before:) of those that stay what they were (:param upstreams:)."""
        if before._retry == self._retry:
            self._circuits.take_over(before._circuits, upstreams)
            self._budget, self._alarm = before._budget, before._alarm

    def states(self) -> tuple[UpstreamState, ...]:
        """:return: how every upstream is doing that was asked at least once."""
        return self._circuits.states(self._clock.seconds())

    async def send(
        self, call: Call, targets: Sequence[Target], *, own_key: bool, request_id: str
    ) -> UpstreamAnswer:
        """
        :param call: what is asked.
        :param targets: of whom, in order of preference.
        :param own_key: the key is the caller's own: what the upstream says about it goes back unchanged, and nobody's
            health is judged by it.
        :param request_id: for the log.
        :return: the answer. Cancelling this at any moment drops what is under way.
        :raise NoUpstreamAnswer: 502, 503 or 504, when no upstream gave one; 404, when the one that has what the call
            names is gone.
        """
        now = self._clock.seconds()
        self._budget.count_call(now)
        if call.affinity is not None and not own_key:
            targets = _keeper(call.affinity, targets)
        if len(targets) > 1:
            targets = in_order(targets, self._random)
        first = targets[0]
        entry = Entry.OPEN if own_key else self._enter(first, now, only=len(targets) == 1)
        came: Failed | None = None
        if entry is Entry.OPEN:
            # Nearly always the first attempt is the last, and there is nothing to decide.
            answer = await self._attempts.make(call, first, own_key=own_key)
            if isinstance(answer, Response):
                fields = tuple(fields_down(answer.fields))
                return UpstreamAnswer(first.upstream.name, 1, answer, fields)
            came = answer
        return await self._go_on(call, targets, own_key, request_id, now, entry, came)

    async def _go_on(
        self,
        call: Call,
        targets: Sequence[Target],
        own_key: bool,
        request_id: str,
        started: float,
        entry: Entry,
        came: Failed | None,
    ) -> UpstreamAnswer:
        """
        :param entry: what was said to the first attempt.
        :param came: what came of it, if it was made.
        """
        plan = Plan(len(targets), self._retry, call.repeatable, started, call.patience_seconds)
        outcomes: list[Outcome] = []
        failures: list[Failed | None] = []
        made = 0
        index = 0
        given: Failed | None = None
        try:
            while True:
                target = targets[index]
                if entry is Entry.OPEN or entry is Entry.PROBE:
                    made += 1
                    if came is None:
                        answer = await self._attempt(call, target, own_key, entry)
                        if isinstance(answer, Response):
                            fields = tuple(fields_down(answer.fields))
                            return UpstreamAnswer(target.upstream.name, made, answer, fields)
                        came = answer
                    self._take_note(came, entry, own_key=own_key, alone=len(targets) == 1)
                    self._tell(came, made, request_id)
                now = self._clock.seconds()
                outcomes.append(self._outcome(index, target, entry, came, now))
                failures.append(came)
                action = next_action(
                    plan, outcomes, now, self._random, may_retry=self._budget.allows(now)
                )
                if isinstance(action, AnswerWith):
                    given = failures[action.outcome]
                    break
                if made:
                    self._count(target, targets[action.target], came)
                index, came = action.target, None
                was_asked = {
                    outcome.target: failure
                    for outcome, failure in zip(outcomes, failures, strict=True)
                }
                if was_asked.get(index) is not None:
                    self._budget.count_retry(now)
                if isinstance(action, WaitThenSendTo):
                    await deferLater(self._clock, action.seconds)
                entry = Entry.OPEN
                if not own_key:
                    # Who was told to wait has waited: however many others were throttled meanwhile.
                    entry = self._enter(
                        targets[index], self._clock.seconds(), only=index in was_asked
                    )
            if given is None:
                raise self._all_shut(outcomes, targets)
            return _answer(given, made, own_key=own_key)
        finally:
            for failure in failures:
                if failure is not None and failure is not given:
                    failure.drop()

    def _count(self, left: Target, following: Target, came: Failed | None) -> None:
        """Tell how the call goes on."""
        name = left.upstream.name
        if following is left:
            family = "retries"
        elif came is not None and came.judgement.meaning is Meaning.FILTERED:
            family = "filter_switches"
        else:
            family = "failovers"
        self._figures.count(family, name)

    def _enter(self, target: Target, now: float, *, only: bool) -> Entry:
        """:param only: there is no other to go to: that it is throttled does not keep a call away."""
        circuit = self._circuits.of(target.upstream.name)
        return circuit.enter("" if only else target.model, now)

    async def _attempt(
        self, call: Call, target: Target, own_key: bool, entry: Entry
    ) -> Response | Failed:
        if entry is not Entry.PROBE:
            return await self._attempts.make(call, target, own_key=own_key)
        circuit = self._circuits.of(target.upstream.name)
        answered = False
        try:
            came = await self._attempts.make(call, target, own_key=own_key)
            answered = True
        finally:
            if not answered:
                circuit.gave_up()
        if isinstance(came, Response) or not came.sick:
            circuit.answered()
            self._log.info("upstream {upstream} is well again", upstream=target.upstream.name)
        return came

    def _take_note(self, came: Failed, entry: Entry, *, own_key: bool, alone: bool) -> None:
        """Remember what the attempt says about its upstream."""
        if own_key:
            return
        now = self._clock.seconds()
        name = came.target.upstream.name
        if came.sick:
            if self._circuits.of(name).failed(now, probe=entry is Entry.PROBE):
                self._log.error(
                    "upstream {upstream} is down: half of its calls failed in the last {seconds} s; "
                    "it is tried again from time to time",
                    upstream=name,
                    seconds=self._retry.circuit_window_seconds,
                )
        elif came.judgement.meaning is Meaning.THROTTLED and not alone:
            asked = came.judgement.retry_after
            self._circuits.of(name).throttled(
                came.target.model, THROTTLED_SECONDS if asked is None else asked, now
            )

    def _outcome(
        self, index: int, target: Target, entry: Entry, came: Failed | None, now: float
    ) -> Outcome:
        if came is not None:
            return Outcome(
                index,
                came.judgement.meaning,
                now,
                untouched=came.untouched,
                retry_after=came.judgement.retry_after,
                spent=came.spent,
            )
        wait = self._circuits.of(target.upstream.name).wait_seconds(target.model, now)
        meaning = Meaning.SHUT if entry is Entry.THROTTLED else Meaning.DOWN
        return Outcome(index, meaning, now, untouched=True, retry_after=wait)

    def _tell(self, failed: Failed, number: int, request_id: str) -> None:
        """Tell the operator; what only they can mend they are told as an error, once a minute."""
        judgement = failed.judgement
        if judgement.meaning is Meaning.FINAL:
            return
        name = failed.target.upstream.name
        level = LogLevel.warn
        if judgement.meaning is Meaning.ELSEWHERE:
            due = self._alarm.is_due(name, judgement.reason, self._clock.seconds())
            level = LogLevel.error if due else LogLevel.debug
        self._log.emit(
            level,
            "{request_id}: upstream {upstream} {trouble} (status {status}, attempt {number})",
            request_id=request_id,
            upstream=name,
            trouble=judgement.reason,
            status=failed.status or "-",
            number=number,
        )

    def _all_shut(self, outcomes: Sequence[Outcome], targets: Sequence[Target]) -> NoUpstreamAnswer:
        """:return: nobody was asked."""
        now = self._clock.seconds()
        waits = [each.at + (each.retry_after or 0.0) - now for each in outcomes]
        names = ", ".join(dict.fromkeys(targets[each.target].upstream.name for each in outcomes))
        refusal = Refusal(
            503,
            "The model's servers are down or busy: try again later.",
            error_type="server_error",
            code="upstreams_unavailable",
            headers=((b"retry-after", b"%d" % max(1, ceil(min(waits)))),),
            cause=f"none of {names} is to be asked now",
        )
        return NoUpstreamAnswer(refusal, "-", 0)


def _keeper(name: str, targets: Sequence[Target]) -> Sequence[Target]:
    """:return: the one upstream that has what the call names."""
    found = [target for target in targets if target.upstream.name == name]
    if not found:
        refusal = Refusal(
            404,
            "The server that keeps what this request names is not one of the gateway's any more.",
            code="upstream_gone",
            cause=f"upstream {name} has an object and is not configured for the call",
        )
        raise NoUpstreamAnswer(refusal, name, 0)
    return found


def _answer(failed: Failed, attempts: int, *, own_key: bool) -> UpstreamAnswer:
    """
    :return: the error that the caller gets.
    :raise NoUpstreamAnswer: there is none that the caller may see.
    """
    answer = failed.answer
    name = failed.target.upstream.name
    if isinstance(answer, Refusal):
        raise NoUpstreamAnswer(answer, name, attempts)
    fields = fields_down(answer.fields)
    if isinstance(answer, HeldAnswer):
        if answer.status in (401, 403) and not own_key:
            # In their words may stand a piece of the key.
            raise NoUpstreamAnswer(_key_refused(), name, attempts)
        if failed.judgement.meaning is not Meaning.FINAL:
            # What could be done was done; clients would multiply it by their own retries.
            fields = [field for field in fields if field[0] != b"x-should-retry"]
            fields.append((b"x-should-retry", b"false"))
    return UpstreamAnswer(name, attempts, answer, tuple(fields))


def _key_refused() -> Refusal:
    return Refusal(
        502,
        "The model's server refuses the gateway's own credentials: tell the gateway's operator.",
        error_type="server_error",
        code="upstream_credentials_refused",
        headers=((b"x-should-retry", b"false"),),
    )
