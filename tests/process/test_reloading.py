"""SIGHUP."""

from __future__ import annotations

import os
import signal

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.process import Notifier, ReloadOnHangup
from tests.process.rig import Manager


class Reactor(MemoryReactorClock):
    """One that can be called from a signal."""

    def callFromThread(self, call: object, *arguments: object) -> None:
        self.callLater(0, call, *arguments)


class ReloadTests(SynchronousTestCase):
    """In the loop's own turn."""

    def setUp(self) -> None:
        self.manager = Manager(self)
        self.reactor = Reactor()
        self.trouble: Exception | None = None
        self.times = 0
        self.slow: Deferred[None] | None = None
        self.service = ReloadOnHangup(self.take, self.reactor, Notifier(self.manager.address))
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.service.startService()

    async def take(self) -> None:
        self.times += 1
        if self.slow is not None:
            await self.slow
        if self.trouble is not None:
            raise self.trouble

    def hang_up(self) -> list[str]:
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.manager.told(), [])
        with capturedLogs() as events:
            self.reactor.advance(0)
        return list(map(formatEvent, events))

    def test_a_signal(self) -> None:
        """Takes what has changed, between RELOADING=1 with the time, and READY=1."""
        self.assertEqual(self.hang_up(), ["reloaded"])
        before, after = self.manager.told()
        self.assertRegex(before, r"^RELOADING=1\nMONOTONIC_USEC=[0-9]+$")
        self.assertEqual((after, self.times), ("READY=1\nSTATUS=reloaded", 1))

    def test_trouble(self) -> None:
        """Is one line, and the daemon is ready as before."""
        for self.trouble, word in ((ValueError("bad\n file"), "bad file"), (OSError(), "OSError")):
            (line,) = self.hang_up()
            self.assertIn(f"stays as it was: {word}", line)
            self.assertIn("READY=1\nSTATUS=not reloaded", self.manager.told()[-1])

    def test_signals_while_it_reloads(self) -> None:
        """Make one more reload, behind the first."""
        self.slow = Deferred()
        self.assertEqual(self.hang_up(), [])
        self.assertEqual(len(self.manager.told()), 1)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGHUP)
            self.reactor.advance(0)
        self.assertEqual(self.times, 1)
        slow, self.slow = self.slow, None
        slow.callback(None)
        self.assertEqual(self.times, 2)
        self.assertEqual(len(self.manager.told()), 3)

    def test_stopped_while_it_reloads(self) -> None:
        """Nothing is told any more: READY=1 behind STOPPING=1 would be wrong."""
        self.slow = Deferred()
        self.hang_up()
        self.manager.told()
        self.service.stopService()
        self.slow.callback(None)
        self.assertEqual(self.manager.told(), [])

    def test_stopped(self) -> None:
        """A late signal ends nothing."""
        self.service.stopService()
        self.assertEqual(self.hang_up(), [])
        self.assertEqual(self.times, 0)
