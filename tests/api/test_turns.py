"""Long work in short steps."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.api import Turns
from tests.api.turning import TurningClock


class TurnsTests(SynchronousTestCase):
    """One step a turn."""

    def setUp(self) -> None:
        self.clock = TurningClock()
        self.turns = Turns(self.clock)
        self.steps: list[str] = []

    def work(self, name: str, count: int) -> Deferred[None]:
        """:return: fires after so many steps."""

        def step() -> bool:
            self.steps.append(name)
            return self.steps.count(name) == count

        return Deferred.fromCoroutine(self.turns.run(step))

    def test_one_step_a_turn(self) -> None:
        """Also of two who work at the same time, and each comes to its turn."""
        first, second = self.work("a", 3), self.work("b", 2)
        self.assertEqual(self.steps, [])
        for number in range(1, 6):
            self.clock.turn()
            self.assertEqual(len(self.steps), number)
        self.clock.turn(3)
        self.assertEqual(sorted(self.steps[:4]), ["a", "a", "b", "b"])
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_whoever_leaves(self) -> None:
        """Is not worked for any longer."""
        leaving, staying = self.work("a", 9), self.work("b", 2)
        self.clock.turn(2)
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        before = self.steps.count("a")
        self.clock.turn(5)
        self.assertEqual(self.steps.count("a"), before)
        self.successResultOf(staying)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_step_that_fails(self) -> None:
        """Ends the work with what it raised."""

        def step() -> bool:
            raise ValueError

        work = Deferred.fromCoroutine(self.turns.run(step))
        self.clock.turn(3)
        self.failureResultOf(work, ValueError)
