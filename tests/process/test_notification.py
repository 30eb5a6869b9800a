"""What the service manager is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.process import Notifier, Supervised, watchdog_seconds
from tests.process.rig import Manager


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "many"}, None),
        ({"WATCHDOG_USEC": "9" * 19}, None),
    ],
)
def test_watchdog_seconds(environ: dict[str, str], seconds: float | None) -> None:
    """Half of what is allowed, for the process that is meant."""
    assert watchdog_seconds(environ, 7) == seconds


def test_the_process_itself_is_meant() -> None:
    """Its number is the system's: in a container that may be any, 1 too."""
    own = os.getpid()
    assert watchdog_seconds({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(own)}) == 1.0
    assert watchdog_seconds({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(own + 1)}) is None


class NotifierTests(SynchronousTestCase):
    """Datagrams."""

    def test_a_path(self) -> None:
        """One datagram, a line for each assignment."""
        manager = Manager(self)
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.address})
        self.assertTrue(notifier.listened_to)
        notifier.tell("READY=1", "STATUS=fine")
        self.assertEqual(manager.told(), ["READY=1\nSTATUS=fine"])

    def test_an_abstract_name(self) -> None:
        """Begins with @ where the kernel has a zero byte."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind("")  # Linux chooses an abstract name
            name = listener.getsockname()
            Notifier("@" + name[1:].decode()).tell("READY=1")
            listener.setblocking(False)
            self.assertEqual(listener.recv(100), b"READY=1")

    def test_nobody(self) -> None:
        """Nothing happens; a virtual machine's socket is nobody's here."""
        for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
            notifier = Notifier.from_environment(environ)
            self.assertFalse(notifier.listened_to)
            notifier.tell("READY=1")

    def test_a_manager_that_is_gone(self) -> None:
        """Is one line in the log, however often it is told."""
        notifier = Notifier(str(Path("/nonexistent/notify")))
        with capturedLogs() as events:
            notifier.tell("READY=1")
            notifier.tell("WATCHDOG=1")
        (line,) = map(formatEvent, events)
        self.assertIn("No such file", line)


class SupervisedTests(SynchronousTestCase):
    """Ready, alive, stopping."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.manager = Manager(self)
        self.checks: list[Deferred[None]] = []

    def check(self) -> Deferred[None]:
        self.checks.append(Deferred())
        return self.checks[-1]

    def service(self, watchdog: float | None = 5.0) -> Supervised:
        service = Supervised(Notifier(self.manager.address), watchdog, self.clock, self.check)
        service.startService()
        return service

    def test_a_life(self) -> None:
        """Alive from the start, ready when the doors answer, stopping at the end, and then silent."""
        service = self.service()
        self.assertEqual(self.manager.told(), ["WATCHDOG=1"])
        self.checks[0].callback(None)
        self.assertEqual(self.manager.told(), ["READY=1\nSTATUS=ready"])
        self.clock.pump([5.0, 5.0])
        self.assertEqual(self.manager.told(), ["WATCHDOG=1"] * 2)
        service.stopService()
        self.assertEqual(self.manager.told(), ["STOPPING=1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_doors_that_do_not_answer(self) -> None:
        """Are looked at again every second, and told of once; READY=1 does not come before they do."""
        service = self.service(None)
        with capturedLogs() as events:
            self.checks[0].errback(ConnectionError("it hung up"))
            self.clock.advance(1.0)
            self.checks[1].errback(ConnectionError())
            self.clock.advance(1.0)
        (line,) = map(formatEvent, events)
        self.assertIn("it hung up", line)
        self.assertEqual(self.manager.told(), [])
        self.checks[2].callback(None)
        self.assertEqual(self.manager.told(), ["READY=1\nSTATUS=ready"])
        service.stopService()

    def test_a_fault_without_words(self) -> None:
        """Is named."""
        self.service(None)
        with capturedLogs() as events:
            self.checks[0].errback(RuntimeError())
        self.assertIn("RuntimeError()", formatEvent(events[0]))

    def test_stopped_before_ready(self) -> None:
        """Nobody looks any more, whether it was looking or waiting."""
        service = self.service()
        service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        service = self.service()
        self.checks[1].errback(ConnectionError("x"))
        service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNotIn("READY", "".join(self.manager.told()))
