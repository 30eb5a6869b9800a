"""Looks at the event loop."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.limits import Overload
from gptproxy.loop_watch import LoopWatch, resident_bytes


class LoopWatchTests(SynchronousTestCase):
    """It tells how late the loop is."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.overload = Overload(0.25, 1000)
        self.memory = 10
        self.shed: list[int] = []
        self.watch = LoopWatch(self.overload, self.clock, lambda: self.memory, self.shed.append)
        self.watch.startService()

    def test_looks(self) -> None:
        """Twenty a second, each with its lag and the memory."""
        self.clock.advance(0.05)
        self.assertEqual(self.overload.lag, 0.0)
        self.clock.advance(0.35)
        self.assertAlmostEqual(self.overload.lag, 0.3)
        self.assertEqual(self.overload.memory, 10)

    def test_what_is_shed(self) -> None:
        """Is counted at each look, and told in one line in ten seconds."""
        self.memory = 2000
        self.clock.advance(0.05)
        with capturedLogs() as events:
            for _ in range(100):
                self.overload.admits(self.clock.seconds())
                self.clock.advance(0.05)
        self.assertEqual(sum(self.shed), 100)
        (line,) = map(formatEvent, events)
        self.assertIn("1 calls were answered 503", line)
        with capturedLogs() as events:
            self.clock.advance(10)
        self.assertIn("99 calls", formatEvent(events[0]))

    def test_the_end(self) -> None:
        """Nothing is looked at any more."""
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.watch.stopService()

    def test_memory(self) -> None:
        """Is what the kernel says of this process."""
        self.assertGreater(resident_bytes(), 1_000_000)
