"""One worker is started before it is missing, and takes the place of the next one that ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.process import InheritedSocket
from gptproxy.workers import WorkerCommand
from gptproxy.workers import spare as module
from gptproxy.workers.ahead import AGAIN_SECONDS, Ahead
from gptproxy.workers.parent import Parent
from gptproxy.workers.roster import SETTLED_SECONDS
from gptproxy.workers.sockets import SharedSocket
from gptproxy.workers.spare import CODE, WAITS, spare_words, wait, word
from tests.process.rig import Manager
from tests.top.rig import folder_of
from tests.workers.rig import Process, Processes


class ParentTests(SynchronousTestCase):
    """Two workers, and one that waits."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.reactor = Processes()
        patch = mock.patch.object(tempfile, "gettempdir", return_value=str(self.folder))
        patch.start()
        self.addCleanup(patch.stop)
        self.patch(os, "environ", {})
        shared = SharedSocket("tcp:80", mock.Mock(), [InheritedSocket(9, 2, "127.0.0.1", 80)])
        command = WorkerCommand(
            lambda number, ports: ["python", "-P", "-c", "run()", str(number), *ports], {}, None
        )
        self.parent = Parent(2, command, [shared], self.reactor, 30.0, now=self.reactor.seconds)

    @property
    def processes(self) -> list[Process]:
        """All that were ever started."""
        return self.reactor.started

    def serve(self) -> Process:
        """:return: the one that waits, when two are ready."""
        self.parent.startService()
        for process in self.processes[:2]:
            process.say("READY=1")
        self.reactor.advance(SETTLED_SECONDS)
        for process in self.processes[:2]:
            process.say("WATCHDOG=1")
        return self.processes[2]

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

    def test_not_before_all_are_ready(self) -> None:
        """It takes nothing from their start; it has the sockets, and no number."""
        self.parent.startService()
        self.processes[0].say("READY=1")
        self.assertEqual(len(self.processes), 2)
        self.processes[1].say("READY=1")
        waiting = self.processes[2]
        self.assertEqual(waiting.words[-5:], ["python", "-P", "-c", CODE, "run()"])
        self.assertEqual(waiting.descriptors, {0: "w", 1: 1, 2: 2, 3: 9})
        self.assertNotIn("GPTPROXY_WORKER", waiting.environ)
        self.assertEqual(waiting.heard, b"")
        with capturedLogs() as events:
            waiting.say(WAITS)
            waiting.say("WATCHDOG=1")
        self.assertEqual(len(events), 1)
        self.end()

    def test_it_takes_a_place(self) -> None:
        """It is told whose; from then on it is heard, and missed, as that one; then there is another that waits."""
        waiting = self.serve()
        self.processes[1].end(by=signal.SIGKILL)
        self.reactor.advance(0)
        self.assertEqual(len(self.processes), 3)
        told = json.loads(waiting.heard)
        self.assertEqual(told["arguments"], ["2", "tcp:80"])
        self.assertEqual(told["environ"], {"GPTPROXY_WORKER": f"2:2:{os.getpid()}"})
        ready = self.parent.all_ready()
        waiting.say("READY=1")
        self.successResultOf(ready)
        self.assertEqual(len(self.processes), 4)
        self.parent.reload(30.0)
        signals = [process.signals for process in self.processes]
        self.assertEqual(signals, [["HUP"], [], ["HUP"], []])
        with capturedLogs() as events:
            waiting.end(by=signal.SIGKILL)
            self.reactor.advance(0)
        self.assertEqual(events[0]["number"], 2)
        self.assertEqual(json.loads(self.processes[3].heard)["arguments"], ["2", "tcp:80"])
        self.end()

    def test_while_none_waits(self) -> None:
        """A second one that is missing is started as ever."""
        self.serve()
        for process in self.processes[:2]:
            process.end(by=signal.SIGKILL)
        self.reactor.advance(0)
        self.assertEqual(len(self.processes), 4)
        self.assertEqual(self.processes[3].words[-4:], ["-c", "run()", "2", "tcp:80"])
        self.end()

    def test_one_that_is_gone(self) -> None:
        """That it is gone was not known yet when it was told: its place is filled again."""
        waiting = self.serve()
        self.processes[0].end(by=signal.SIGKILL)
        waiting.end(by=signal.SIGKILL)
        self.reactor.advance(0)
        self.assertEqual(waiting.heard, b"")
        self.assertEqual(len(self.processes), 4)
        self.assertEqual(self.processes[3].words[-2:], ["1", "tcp:80"])
        self.end()

    def test_the_end(self) -> None:
        """It is killed, and not waited for."""
        waiting = self.serve()
        self.parent.stopService()
        self.assertEqual(waiting.signals, ["KILL"])
        self.end()


class AheadTests(SynchronousTestCase):
    """At most one."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.children: list[mock.Mock] = []
        self.trouble: Exception | None = None
        self.none = False

    def start(self, ended: object) -> mock.Mock | None:
        if self.trouble is not None:
            raise self.trouble
        if self.none:
            return None
        self.children.append(mock.Mock(ended=ended))
        return self.children[-1]

    def test_one(self) -> None:
        """Until it is taken."""
        ahead = Ahead(self.clock, self.start)
        self.assertIsNone(ahead.take())
        ahead.provide()
        ahead.provide()
        self.assertEqual(len(self.children), 1)
        self.assertIs(ahead.take(), self.children[0])
        self.assertIsNone(ahead.take())
        ahead.provide()
        self.assertEqual(len(self.children), 2)

    def test_one_that_ends(self) -> None:
        """Another is tried in a while, not at once; none when it is over."""
        ahead = Ahead(self.clock, self.start)
        ahead.provide()
        with capturedLogs() as events:
            self.children[0].ended(1, None)
        self.assertEqual(events[0]["status"], 1)
        ahead.provide()
        self.assertEqual(len(self.children), 1)
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(len(self.children), 2)
        ahead.stop()
        self.children[1].signal.assert_called_once_with(signal.SIGKILL)
        self.children[1].ended(None, 9)
        ahead.provide()
        self.assertEqual((len(self.children), self.clock.getDelayedCalls()), (2, []))

    def test_a_machine_that_is_full(self) -> None:
        """Is tried again."""
        ahead = Ahead(self.clock, self.start)
        self.trouble = OSError("no memory")
        ahead.provide()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        ahead.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        ahead.stop()

    def test_where_there_can_be_none(self) -> None:
        """Nothing comes of it."""
        self.none = True
        ahead = Ahead(self.clock, self.start)
        ahead.provide()
        self.assertIsNone(ahead.take())


class WaitTests(SynchronousTestCase):
    """The process itself."""

    def test_words(self) -> None:
        """What is not python's own -c cannot be told."""
        self.assertIsNone(spare_words(["gptproxy", "1"]))
        self.assertEqual(
            spare_words(["python", "-c", "run()", "-c"]), ["python", "-c", CODE, "run()"]
        )

    def waited(self, *pieces: bytes) -> str:
        """:return: what the code that it was given printed."""
        end, start = os.pipe()
        self.addCleanup(os.close, end)
        for piece in pieces:
            os.write(start, piece)
        os.close(start)
        self.patch(sys, "argv", ["-c", "import os, sys; print(sys.argv, os.environ['X'])"])
        self.patch(module, "_IMPORTED", ("gptproxy.wire", "gptproxy.nothing"))
        self.patch(module, "_READ_BYTES", 7)
        printed = io.StringIO()
        with mock.patch.dict(os.environ), mock.patch.object(sys, "stdout", printed):
            wait(end)
        return printed.getvalue()

    def test_the_word(self) -> None:
        """It may come in pieces; then the process is what it was told to be."""
        told = word(["python", "-c", "run()", "--port", "tcp:80"], {"X": "y"})
        self.assertEqual(self.waited(told), "['-c', '--port', 'tcp:80'] y\n")

    def test_nobody_is_there(self) -> None:
        """It ends, and has done nothing; not by half a word either."""
        self.assertEqual(self.waited(), "")
        self.assertEqual(self.waited(b'{"arguments"'), "")

    def test_what_it_imports(self) -> None:
        """Takes no reactor: which one it is to be is told with the rest. It says when it is done."""
        manager = Manager(self)
        code = f"{CODE}; import sys; sys.exit('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code, ""],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "NOTIFY_SOCKET": manager.address},
            check=False,
        )
        self.assertEqual(done.returncode, 0)
        self.assertEqual(manager.wait(1.0), WAITS)
