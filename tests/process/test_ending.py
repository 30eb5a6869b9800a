"""SIGTERM and SIGINT."""

from __future__ import annotations

import os
import signal

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.process import EndOnSignal


class Reactor(MemoryReactorClock):
    """One that notes when it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.stopped = 0

    def callFromThread(self, call: object, *arguments: object) -> None:
        self.callLater(0, call, *arguments)

    def stop(self) -> None:
        self.stopped += 1


class EndTests(SynchronousTestCase):
    """The first ends, the next hurry."""

    def setUp(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.reactor = Reactor()
        self.reactor.running = False
        self.hurried = 0
        self.service = EndOnSignal(self.reactor, self.hurry)
        self.service.startService()

    def hurry(self) -> None:
        self.hurried += 1

    def run_reactor(self) -> None:
        self.reactor.running = True
        for hook, args, kwargs in self.reactor.whenRunningHooks:
            hook(*args, **kwargs)

    def test_signals(self) -> None:
        """Are caught when the reactor has set its own answers, in the loop's turn."""
        before = signal.getsignal(signal.SIGTERM)
        self.assertEqual(before, signal.getsignal(signal.SIGTERM))
        self.run_reactor()
        for number, stopped, hurried in (
            (signal.SIGTERM, 1, 0),
            (signal.SIGINT, 1, 1),
            (signal.SIGTERM, 1, 2),
        ):
            os.kill(os.getpid(), number)
            self.reactor.advance(0)
            self.assertEqual((self.reactor.stopped, self.hurried), (stopped, hurried))

    def test_stopped_otherwise(self) -> None:
        """Then a signal hurries, and does not stop the reactor again."""
        self.run_reactor()
        self.service.stopService()
        os.kill(os.getpid(), signal.SIGTERM)
        self.reactor.advance(0)
        self.assertEqual((self.reactor.stopped, self.hurried), (0, 1))

    def test_stopped_before_the_reactor_ran(self) -> None:
        """Nothing is caught."""
        before = signal.getsignal(signal.SIGTERM)
        self.service.stopService()
        self.run_reactor()
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)
