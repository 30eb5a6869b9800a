"""A call's coroutine runs to its end, whatever it awaits."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.api.running import Running


class RunningTests(SynchronousTestCase):
    def run_with(self, *awaited: Deferred[Any]) -> tuple[Running, list[object]]:
        """:return: what runs, and the list that each outcome is put into."""
        outcomes: list[object] = []

        async def work() -> None:
            for each in awaited:
                try:
                    outcomes.append(await each)
                except Exception as error:  # noqa: BLE001 - whatever comes is an outcome
                    outcomes.append(type(error))

        return Running(work(), "work"), outcomes

    def test_what_has_fired_is_not_waited_for(self) -> None:
        running, outcomes = self.run_with(succeed(1), fail(ValueError()))
        self.assertEqual(outcomes, [1, ValueError])
        running.cancel()

    def test_results_and_failures_come_one_after_the_other(self) -> None:
        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()
        _, outcomes = self.run_with(first, second)
        self.assertEqual(outcomes, [])
        first.callback(1)
        self.assertEqual(outcomes, [1])
        second.errback(ValueError())
        self.assertEqual(outcomes, [1, ValueError])

    def test_a_deferred_that_waits_for_another(self) -> None:
        inner: Deferred[int] = Deferred()
        _, outcomes = self.run_with(succeed(None).addCallback(lambda _: inner))
        self.assertEqual(outcomes, [])
        inner.callback(2)
        self.assertEqual(outcomes, [2])

    def test_cancelling_cancels_what_is_awaited_and_nothing_before(self) -> None:
        first, second = Deferred[int](), Deferred[int]()
        running, outcomes = self.run_with(first, second)
        first.callback(1)
        running.cancel()
        self.assertEqual(outcomes, [1, CancelledError])

    def test_what_nobody_catches_is_logged(self) -> None:
        async def work() -> None:
            raise ValueError

        Running(work(), "work")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
