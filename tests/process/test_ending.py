"""SIGTERM and SIGINT."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys

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
        self.patch(atexit, "register", lambda call: None)
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

    def test_ignored_from_the_start(self) -> None:
        """A worker's Ctrl-C is its parent's: it stays ignored."""
        self.service.stopService()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.service = EndOnSignal(self.reactor, self.hurry)
        self.service.startService()
        self.run_reactor()
        self.assertEqual(signal.getsignal(signal.SIGINT), signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGINT)
        self.reactor.advance(0)
        self.assertEqual((self.reactor.stopped, self.hurried), (0, 0))


PROGRAM = """
import signal
from twisted.internet import reactor
import gptproxy.daemon
from gptproxy.process import EndOnSignal

# Whoever runs the tests may ignore these, as shells do for what is in the background.
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_DFL)
EndOnSignal(reactor, lambda: None).startService()
reactor.callWhenRunning(lambda: reactor.callLater(0, print, "it runs", flush=True))
reactor.run()
"""


def test_signal_upon_signal() -> None:
    """None makes the end an unclean one, to the interpreter's very last moments: it has modules to take apart."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"it runs\n"
        while process.returncode is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.0001)
    assert process.returncode == 0
