"""The parent of several workers, with processes that are none."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from unittest import mock

from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.process import InheritedSocket
from gptproxy.workers import WorkerCommand
from gptproxy.workers import parent as module
from gptproxy.workers.parent import GRACE_SECONDS, HURRY_SECONDS, Parent
from gptproxy.workers.roster import SETTLED_SECONDS, SIGN_SECONDS
from gptproxy.workers.sockets import SharedSocket
from tests.top.rig import folder_of
from tests.workers.rig import Process, Processes

DRAIN_SECONDS = 30.0


class ParentTests(SynchronousTestCase):
    """Two workers."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.reactor = Processes()
        given = [InheritedSocket(9, 2, "127.0.0.1", 443)]
        shared = SharedSocket("ssl:443", mock.Mock(), given)
        command = WorkerCommand(
            lambda number, ports: ["daemon", str(number), *ports], {"A": "b"}, "/somewhere"
        )
        self.parent = Parent(
            2, command, [shared], self.reactor, DRAIN_SECONDS, now=self.reactor.seconds
        )
        patch = mock.patch.object(tempfile, "gettempdir", return_value=str(self.folder))
        patch.start()
        self.addCleanup(patch.stop)
        self.patch(os, "environ", {})

    @property
    def processes(self) -> list[Process]:
        """All that were ever started."""
        return self.reactor.started

    def serve(self) -> None:
        """Start, and be ready."""
        self.parent.startService()
        for process in self.processes:
            process.say("READY=1", "STATUS=ready")

    def end(self) -> None:
        """Stop, and be gone."""
        stopping = self.parent.stopService()
        for process in self.processes:
            if process.pid is not None:
                process.end(by=signal.SIGTERM)
        self.reactor.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(list(self.folder.iterdir()), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_they_are_started_with(self) -> None:
        """Their numbers, the ports, the sockets, and who is told how they are."""
        self.parent.startService()
        first, second = self.processes
        self.assertEqual(first.words[-3:], ["daemon", "1", "ssl:443"])
        self.assertEqual(second.words[-3:], ["daemon", "2", "ssl:443"])
        self.assertEqual(first.descriptors, {0: "w", 1: 1, 2: 2, 3: 9})
        self.assertEqual(first.folder, "/somewhere")
        directory = first.environ["PROMETHEUS_MULTIPROC_DIR"]
        self.assertEqual(Path(directory).parent, self.folder)
        self.assertEqual(first.environ["A"], "b")
        self.assertEqual(first.environ["GPTPROXY_WORKER"], f"1:2:{os.getpid()}")
        self.assertEqual(first.environ["LISTEN_FDS"], "1")
        self.assertNotEqual(first.environ["NOTIFY_SOCKET"], second.environ["NOTIFY_SOCKET"])
        self.end()

    def test_ready(self) -> None:
        """When all are, and for whoever asks later; one who asks no longer is not told."""
        self.parent.startService()
        waiting, leaving = self.parent.all_ready(), self.parent.all_ready()
        self.processes[0].say("WATCHDOG=1")
        self.processes[0].say("READY=1")
        self.assertNoResult(waiting)
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.processes[1].say("READY=1")
        self.successResultOf(waiting)
        self.successResultOf(self.parent.all_ready())
        self.end()

    def test_one_that_is_killed(self) -> None:
        """Another takes its number at once; what the old one still says is not heard."""
        self.serve()
        old = self.processes[0]
        self.reactor.advance(SETTLED_SECONDS)
        for process in self.processes:
            process.say("WATCHDOG=1")
        with capturedLogs() as events:
            old.end(by=signal.SIGKILL)
            self.reactor.advance(0)
        self.assertEqual(
            [events[0][name] for name in ("number", "how", "wait")], [1, "signal SIGKILL", 0.0]
        )
        self.assertEqual(len(self.processes), 3)
        new = self.processes[2]
        self.assertEqual(new.words[-2], "1")
        self.assertNotEqual(new.environ["NOTIFY_SOCKET"], old.environ["NOTIFY_SOCKET"])
        old.say("READY=1")
        self.assertNoResult(waiting := self.parent.all_ready())
        new.say("READY=1")
        self.successResultOf(waiting)
        self.end()

    def test_one_that_dies_again_and_again(self) -> None:
        """Is started later each time."""
        self.serve()
        self.processes[0].end(status=1)
        self.reactor.advance(0)
        self.assertEqual(len(self.processes), 3)
        self.processes[2].end(status=1)
        self.reactor.advance(0)
        self.assertEqual(len(self.processes), 3)
        self.reactor.advance(0.5)
        self.assertEqual(len(self.processes), 4)
        self.end()

    def test_a_loop_that_hangs(self) -> None:
        """Is killed, and another started; those that turn are left alone."""
        self.serve()
        self.reactor.advance(SIGN_SECONDS - 1)
        self.processes[1].say("WATCHDOG=1")
        self.reactor.advance(1)
        self.assertEqual(self.processes[0].signals, ["KILL"])
        self.reactor.advance(0)
        self.assertEqual(len(self.processes), 3)
        self.assertEqual(self.processes[1].signals, [])
        self.end()

    def test_one_that_is_told_to_stop_by_another(self) -> None:
        """Has its time, and is replaced when it is gone."""
        self.serve()
        self.processes[0].say("STOPPING=1")
        self.reactor.advance(SIGN_SECONDS - 1)
        self.processes[1].say("WATCHDOG=1")
        self.reactor.advance(1)
        self.assertEqual(self.processes[0].signals, [])
        self.processes[0].end(status=0)
        self.reactor.advance(0)
        self.assertEqual(len(self.processes), 3)
        self.end()

    def test_a_start_without_hope(self) -> None:
        """What none of them can use ends the parent, with status 1."""
        self.reactor.at_once = True
        with mock.patch.object(module.atexit, "register") as register:
            self.parent.startService()
            self.reactor.advance(0)
        self.assertGreaterEqual(self.reactor.stopped, 1)
        with mock.patch.object(os, "_exit") as leave:
            register.call_args.args[0]()
        leave.assert_called_once_with(1)
        self.end()

    def test_a_machine_that_is_full(self) -> None:
        """No process can be had: later perhaps."""
        self.reactor.refuse = OSError("no memory")
        self.parent.startService()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 2)
        self.reactor.refuse = None
        self.reactor.advance(0.1)
        self.assertEqual(len(self.processes), 2)
        self.end()

    def test_reload(self) -> None:
        """All are told; from now on they have the time to stop that the configuration says now."""
        self.serve()
        self.parent.reload(5.0)
        self.assertEqual([process.signals for process in self.processes], [["HUP"], ["HUP"]])
        stopping = self.parent.stopService()
        self.reactor.advance(5.0 + GRACE_SECONDS)
        self.assertEqual([process.signals[-1] for process in self.processes], ["KILL", "KILL"])
        self.reactor.advance(0)
        self.successResultOf(stopping)

    def test_stopping(self) -> None:
        """All are told, and waited for; those that have ended are not replaced."""
        self.serve()
        stopping = self.parent.stopService()
        self.assertEqual([process.signals for process in self.processes], [["TERM"], ["TERM"]])
        self.processes[0].say("STOPPING=1")
        self.processes[0].end(status=0)
        self.reactor.advance(0)
        self.assertNoResult(stopping)
        self.processes[1].end(by=signal.SIGTERM)
        self.reactor.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(len(self.processes), 2)

    def test_one_that_does_not_stop(self) -> None:
        """Is killed when it has had its calls' time."""
        self.serve()
        stopping = self.parent.stopService()
        self.processes[0].end(status=0)
        self.reactor.advance(DRAIN_SECONDS + GRACE_SECONDS)
        self.assertEqual(self.processes[1].signals, ["TERM", "KILL"])
        self.reactor.advance(0)
        self.successResultOf(stopping)

    def test_told_twice(self) -> None:
        """They are told again, and killed soon."""
        self.serve()
        stopping = self.parent.stopService()
        self.parent.hurry()
        self.assertEqual([process.signals for process in self.processes], [["TERM"] * 2] * 2)
        self.processes[0].end(by=signal.SIGTERM)
        self.reactor.advance(HURRY_SECONDS)
        self.assertEqual(self.processes[1].signals, ["TERM", "TERM", "KILL"])
        self.reactor.advance(0)
        self.successResultOf(stopping)
        self.parent.hurry()

    def test_hurried_before_it_stops(self) -> None:
        """The first signal is not the second one."""
        self.serve()
        self.parent.hurry()
        self.assertEqual([process.signals for process in self.processes], [[], []])
        self.end()

    def test_reload_while_one_is_started(self) -> None:
        """It is told when it serves: before, SIGHUP would end it. Its successor needs no telling."""
        self.parent.startService()
        first, second = self.processes
        first.say("READY=1")
        self.parent.reload(DRAIN_SECONDS)
        self.parent.reload(DRAIN_SECONDS)
        self.assertEqual([first.signals, second.signals], [["HUP", "HUP"], []])
        second.say("READY=1")
        self.assertEqual(second.signals, ["HUP"])
        second.say("READY=1")
        self.assertEqual(second.signals, ["HUP"])
        second.end(by=signal.SIGKILL)
        self.reactor.advance(0)
        self.parent.reload(DRAIN_SECONDS)
        self.processes[2].end(by=signal.SIGKILL)
        self.reactor.advance(0)
        self.reactor.advance(0.5)
        self.processes[3].say("READY=1")
        self.assertEqual(self.processes[3].signals, [])
        self.end()

    def test_none_can_serve(self) -> None:
        """It ends once, however many of them say so in one turn."""
        self.patch(module.atexit, "register", lambda call: None)
        self.parent.startService()
        with capturedLogs():
            for process in self.processes:
                process.end(status=1)
            self.reactor.advance(0)
        self.assertEqual(self.reactor.stopped, 1)
        self.end()

    def test_stopped_before_it_ran(self) -> None:
        """Nothing is started then."""
        self.reactor.callWhenRunning = self.reactor.callFromThread  # type: ignore[method-assign]  # later
        self.parent.startService()
        self.successResultOf(self.parent.stopService())
        self.reactor.advance(0)
        self.assertEqual(self.processes, [])
        self.parent._attend()

    def test_where_the_folder_is(self) -> None:
        """In the unit's, where there is one; and never so deep that a socket's path is too long."""
        unit = self.folder / "unit"
        unit.mkdir()
        with mock.patch.dict(os.environ, {"RUNTIME_DIRECTORY": f"{unit}:/other"}):
            self.parent.startService()
        self.assertEqual(len(list(unit.iterdir())), 1)
        for process in self.processes:
            process.end(by=signal.SIGKILL)
        self.parent.stopService()
        deep = self.folder / ("x" * 100)
        deep.mkdir()
        with mock.patch.dict(os.environ, {"RUNTIME_DIRECTORY": str(deep)}):
            made = module._private_directory()
        self.addCleanup(made.rmdir)
        self.assertEqual(made.parent, Path("/tmp"))  # noqa: S108 - what is asked is just that
        self.reactor.advance(0)
        unit.rmdir()
        deep.rmdir()
