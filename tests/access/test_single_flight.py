"""One call for all who wait for the same answer."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http.single_flight import SingleFlight


class Away(Exception):
    """The call failed."""


class SingleFlightTests(SynchronousTestCase):
    """Joining, leaving and landing."""

    def setUp(self) -> None:
        self.flights: SingleFlight[str, str] = SingleFlight()
        self.calls: list[Deferred[str]] = []
        self.cancelled: list[int] = []

    async def call(self) -> str:
        number = len(self.calls)
        waiting: Deferred[str] = Deferred(lambda _: self.cancelled.append(number))
        self.calls.append(waiting)
        return await waiting

    def join(self, count: int, key: str = "k") -> list[Deferred[str]]:
        return [self.flights.join(key, self.call) for _ in range(count)]

    def test_many_waiters_one_call(self) -> None:
        """A thousand who ask at once make one call, and all get its value."""
        waiters = self.join(1000)
        self.assertEqual((len(self.calls), len(self.flights)), (1, 1))
        self.calls[0].callback("alice")
        self.assertEqual([self.successResultOf(each) for each in waiters], ["alice"] * 1000)
        self.assertEqual(len(self.flights), 0)

    def test_other_keys_have_their_own(self) -> None:
        """Two tokens are two calls."""
        one, two = self.join(1, "one") + self.join(1, "two")
        self.calls[1].callback("two")
        self.assertEqual(self.successResultOf(two), "two")
        self.assertNoResult(one)
        self.calls[0].callback("one")
        self.assertEqual(self.successResultOf(one), "one")

    def test_one_leaves(self) -> None:
        """The others get their answer, the first to ask no less than the last."""
        for leaving in (0, 1, 2):
            waiters = self.join(3)
            waiters[leaving].cancel()
            self.failureResultOf(waiters.pop(leaving), CancelledError)
            self.calls[-1].callback("alice")
            self.assertEqual([self.successResultOf(each) for each in waiters], ["alice"] * 2)
        self.assertEqual(self.cancelled, [])

    def test_the_last_leaves(self) -> None:
        """Nobody waits any more: the call is cancelled, and the next to ask makes a new one."""
        waiters = self.join(2)
        waiters[0].cancel()
        self.assertEqual(self.cancelled, [])
        waiters[1].cancel()
        self.assertEqual(self.cancelled, [0])
        for waiter in waiters:
            self.failureResultOf(waiter, CancelledError)
        self.assertEqual(len(self.flights), 0)
        (later,) = self.join(1)
        self.calls[1].callback("bob")
        self.assertEqual(self.successResultOf(later), "bob")

    def test_a_call_that_goes_on_though_cancelled(self) -> None:
        """What it brings is nobody's, and does not disturb the flight that follows."""
        stubborn: list[Deferred[str]] = []

        async def call() -> str:
            try:
                return await self.call()
            except CancelledError:
                stubborn.append(Deferred())
                return await stubborn[-1]

        first = self.flights.join("k", call)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        second = self.flights.join("k", self.call)
        stubborn[0].callback("stale")
        self.assertNoResult(second)
        self.assertEqual(len(self.flights), 1)
        self.calls[1].callback("fresh")
        self.assertEqual(self.successResultOf(second), "fresh")

    def test_failure_to_all(self) -> None:
        """Each has a Failure of their own: one that is handled does not clean another's."""
        waiters = self.join(3)
        self.calls[0].errback(Failure(Away()))
        failures = [self.failureResultOf(each, Away) for each in waiters]
        self.assertEqual(len({id(failure) for failure in failures}), 3)
        self.assertEqual(len(self.flights), 0)

    def test_values_are_each_waiters_own(self) -> None:
        """What one makes of the value is not what the next one gets."""
        first, second = self.join(2)
        first.addCallback(lambda _: None)
        self.calls[0].callback("alice")
        self.assertIsNone(self.successResultOf(first))
        self.assertEqual(self.successResultOf(second), "alice")

    def test_a_new_call_after_landing(self) -> None:
        """Answers are not kept here."""
        self.join(1)
        self.calls[0].callback("alice")
        self.join(1)
        self.assertEqual(len(self.calls), 2)

    def test_a_call_that_answers_at_once(self) -> None:
        """Before join has returned; a failure likewise."""

        async def at_once() -> str:
            return "alice"

        async def never() -> str:
            raise Away

        self.assertEqual(self.successResultOf(self.flights.join("k", at_once)), "alice")
        self.failureResultOf(self.flights.join("k", never), Away)
        self.assertEqual(len(self.flights), 0)

    def test_joining_from_an_answer(self) -> None:
        """Whoever asks anew when told starts a new call: the old one has landed."""
        (first,) = self.join(1)
        again: list[Deferred[str]] = []
        first.addCallback(lambda _: again.extend(self.join(1)))
        self.calls[0].callback("alice")
        self.assertEqual(len(self.calls), 2)
        self.assertNoResult(again[0])
        self.calls[1].callback("bob")
        self.assertEqual(self.successResultOf(again[0]), "bob")

    def test_leaving_from_an_answer(self) -> None:
        """One that is told makes others leave: those that stay are told all the same."""
        first, second, third = self.join(3)
        first.addCallback(lambda _: second.cancel())
        self.calls[0].callback("alice")
        self.failureResultOf(second, CancelledError)
        self.assertEqual(self.successResultOf(third), "alice")

    def test_leaving_after_the_answer(self) -> None:
        """It is over: nothing is cancelled."""
        (waiter,) = self.join(1)
        self.calls[0].callback("alice")
        waiter.cancel()
        self.assertEqual(self.successResultOf(waiter), "alice")
        self.assertEqual(self.cancelled, [])
