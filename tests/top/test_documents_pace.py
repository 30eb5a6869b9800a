"""What one call of a command is told to wait, all of them wait."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent

from gptproxy.documents_pace import THROTTLED_SECONDS, PacedCalls
from gptproxy.http import NoAnswer, OwnAnswer, OwnCalls


class PacedCallsTests(SynchronousTestCase):
    """Over calls that are answered when the test says so."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.made: list[tuple[float, str, Deferred[OwnAnswer]]] = []
        test = self

        async def attempt(calls: OwnCalls, method: str, url: str, *_: object) -> OwnAnswer:
            answer: Deferred[OwnAnswer] = Deferred()
            test.made.append((test.clock.seconds(), url, answer))
            return await answer

        self.patch(OwnCalls, "attempt", attempt)
        self.calls = PacedCalls(Agent(None), self.clock, lambda: 1.0, attempts=4)  # type: ignore[arg-type]  # not used

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(self, server: str = "a", seconds: float = 60.0) -> Deferred[OwnAnswer]:
        asking = self.calls.ask(
            "POST", f"http://{server}/x", {}, b"{}", limit_bytes=100, total_seconds=seconds
        )
        return Deferred.fromCoroutine(asking)

    def answer(self, number: int, status: int, retry_after: str | None = None) -> None:
        self.made[number][2].callback(OwnAnswer(status, b"", retry_after))

    def times(self) -> list[float]:
        return [at for at, _, _ in self.made]

    def test_a_pause_is_for_all_calls_to_a_server(self) -> None:
        """Those under way that fail otherwise, and those that begin; other servers are asked meanwhile."""
        first, second = self.ask(), self.ask()
        self.answer(0, 429, "20")
        self.answer(1, 503)  # its own wait would be half a second
        third, other = self.ask(), self.ask("b")
        self.answer(2, 200)
        self.assertEqual(self.successResultOf(other).status, 200)
        self.clock.advance(19.9)
        self.assertEqual(len(self.made), 3)
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.assertEqual(self.times(), [0, 0, 0, 20, 20, 20])
        for number in (3, 4, 5):
            self.answer(number, 200)
        for asked in (first, second, third):
            self.assertEqual(self.successResultOf(asked).status, 200)
        # It is over.
        last = self.ask()
        self.answer(-1, 200)
        self.successResultOf(last)

    def test_a_longer_pause_counts(self) -> None:
        """And a shorter one that is told later does not make it shorter."""
        first, second = self.ask(), self.ask()
        self.answer(0, 429, "20")
        self.answer(1, 429, "5")
        third = self.ask()
        self.clock.advance(5)
        self.assertEqual(len(self.made), 2)
        self.clock.advance(15)
        self.clock.advance(0)
        self.assertEqual(len(self.made), 5)
        for one in (first, second, third):
            one.addErrback(lambda failure: failure.trap(CancelledError))
            one.cancel()

    def test_there_is_no_time_for_a_pause(self) -> None:
        """The answer is given as it is, and who begins is told at once."""
        asked = self.ask()
        self.answer(0, 429, "61")
        self.assertEqual(self.successResultOf(asked).status, 429)
        self.failureResultOf(self.ask(), NoAnswer)
        self.assertEqual(len(self.made), 1)

    def test_a_429_that_says_nothing_is_a_short_pause(self) -> None:
        """Another trouble is its own call's alone."""
        first, second = self.ask(), self.ask()
        self.answer(0, 503)
        third = self.ask()
        self.assertEqual(len(self.made), 3)
        self.answer(1, 429)
        fourth = self.ask()
        self.assertEqual(len(self.made), 3)
        self.clock.advance(THROTTLED_SECONDS)
        self.clock.advance(0)
        self.assertEqual(len(self.made), 6)
        for number in range(2, 6):
            self.answer(number, 200)
        for asked in (first, second, third, fourth):
            self.assertEqual(self.successResultOf(asked).status, 200)

    def test_trouble_on_the_way_is_tried_again(self) -> None:
        """As with other calls of our own."""
        asked = self.ask()
        for _ in range(4):
            self.assertNoResult(asked)
            self.made[-1][2].errback(TimedOut())
            self.clock.advance(8)
        self.assertEqual(self.failureResultOf(asked, NoAnswer).value.cause, "TimeoutError")
        self.assertEqual(len(self.made), 4)
