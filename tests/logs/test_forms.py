"""Events as JSON and as entries of the journal; the journal's socket; where the log goes."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import orjson
from twisted.application.service import Application, IServiceCollection, MultiService
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import settings_from
from gptproxy.logs import (
    EventSink,
    JournalSink,
    LineSink,
    LoggedService,
    Logs,
    access_log,
    begin,
    goes_to_journal,
    journal_event,
    json_event,
    redaction,
)
from gptproxy.logs.journal import datagram
from tests.logs.journal_entry import fields_of
from tests.logs.test_access import BARE, Lines

EVENT: LogEvent = {
    "log_time": 1_700_000_000.5,
    "log_level": LogLevel.warn,
    "log_namespace": "gptproxy.upstream",
    "log_format": "upstream {upstream} took {seconds}",
    "log_source": object(),
    "upstream": "primary\ud800",
    "seconds": 1.5,
    "large": 1 << 70,
    "what": object(),
    "message": "not ours",
    "with space": "x",
}


def failing() -> LogEvent:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        return {**EVENT, "log_failure": Failure()}


class FormTests(SynchronousTestCase):
    def test_json(self) -> None:
        line = json_event(EVENT)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(
            orjson.loads(line),
            {
                "time": "2023-11-14T22:13:20.500+00:00",
                "level": "warn",
                "namespace": "gptproxy.upstream",
                "message": "upstream primary? took 1.5",
                "upstream": "primary?",
                "seconds": 1.5,
                "large": str(1 << 70),
            },
        )

    def test_a_failure_has_its_traceback(self) -> None:
        self.assertIn("RuntimeError: broken", orjson.loads(json_event(failing()))["traceback"])
        entry = fields_of(journal_event(failing()))
        self.assertTrue(entry["MESSAGE"].startswith("upstream primary"))
        self.assertIn("RuntimeError: broken", entry["MESSAGE"])

    def test_an_entry_of_the_journal(self) -> None:
        entry = fields_of(journal_event({**EVENT, "seconds": "1\nPRIORITY=0"}))
        self.assertEqual((entry["PRIORITY"], entry["SYSLOG_IDENTIFIER"]), ("4", "gptproxy"))
        self.assertEqual(entry["GPTPROXY_NAMESPACE"], "gptproxy.upstream")
        self.assertEqual(entry["GPTPROXY_SECONDS"], "1\nPRIORITY=0")
        self.assertNotIn("GPTPROXY_WHAT", entry)

    def test_what_has_no_words_is_no_line(self) -> None:
        """As with Twisted's own observers."""
        for form in (json_event, journal_event):
            self.assertEqual(form({"log_format": "", "log_level": LogLevel.info}), b"")

    def test_what_has_no_level_is_information(self) -> None:
        """Old events have none."""
        self.assertEqual(orjson.loads(json_event({"log_format": "x"}))["level"], "info")
        self.assertEqual(fields_of(journal_event({"log_format": "x"}))["PRIORITY"], "6")


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="gptproxy-test-")
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "socket")
        self.sink = JournalSink(self.path)
        self.addCleanup(self.sink.close)

    def journald(self) -> socket.socket:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(server.close)
        server.bind(self.path)
        server.setblocking(False)
        return server

    def test_entries_come_one_by_one(self) -> None:
        server = self.journald()
        self.sink.put(datagram([("MESSAGE", "one")]))
        self.sink.put(datagram([("MESSAGE", "two")]))
        self.assertEqual(fields_of(server.recv(65536))["MESSAGE"], "one")
        self.assertEqual(fields_of(server.recv(65536))["MESSAGE"], "two")

    def test_a_journal_that_is_away_and_comes_back(self) -> None:
        """Nothing raises; what was lost is told."""
        self.sink.put(b"A=1\n")
        first = self.journald()
        self.sink.put(b"A=2\n")
        self.assertEqual(first.recv(65536), b"A=2\n")
        self.assertIn("1 log entries were not taken", fields_of(first.recv(65536))["MESSAGE"])
        first.close()
        Path(self.path).unlink()
        second = self.journald()
        self.sink.put(b"A=3\n")
        self.assertEqual(second.recv(65536), b"A=3\n")
        self.assertEqual(self.sink.dropped, 0)

    def test_a_journal_that_does_not_read(self) -> None:
        """Nobody waits for it."""
        self.journald()
        for _ in range(2_000):
            self.sink.put(b"A=" + b"x" * 1_000 + b"\n")
        self.assertGreater(self.sink.dropped, 0)

    def test_a_value_without_end(self) -> None:
        self.assertLess(len(datagram([("MESSAGE", "x" * 1_000_000)])), 60_000)

    def test_whether_standard_error_goes_there(self) -> None:
        """systemd says which it made; one that was redirected is another."""
        read, write = os.pipe()
        self.addCleanup(os.close, read)
        self.addCleanup(os.close, write)
        status = os.fstat(write)
        said = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        self.assertTrue(goes_to_journal(said, write))
        self.assertFalse(goes_to_journal({}, write))
        self.assertFalse(goes_to_journal({"JOURNAL_STREAM": "nonsense"}, write))
        self.assertFalse(goes_to_journal({"JOURNAL_STREAM": "1:2"}, write))
        self.assertFalse(goes_to_journal(said, 9_999))


class Reactor(Clock):
    """One that ends."""

    def addSystemEventTrigger(self, *trigger: object) -> None:
        pass


class BeginTests(SynchronousTestCase):
    """What twistd is given, by its options and [log] format."""

    def setUp(self) -> None:
        read, write = os.pipe()
        self.stream = os.fdopen(write, "w")
        self.addCleanup(self.stream.close)
        self.read = os.fdopen(read, "rb")
        self.addCleanup(self.read.close)
        self.patch(sys, "__stdout__", self.stream)
        self.patch(begin, "goes_to_journal", bool)
        self.addCleanup(access_log.use, None)
        self.addCleanup(redaction.know, ())

    def begun(self, form: str, environ: dict[str, str] | None = None, **options: object) -> object:
        """:return: the observer that takes the place of twistd's own."""
        document = {
            "log": {"format": form},
            "user_token": [{"user_id": "u", "token": "users-own-token-12345"}],
        }
        settings = settings_from(document, source="g.toml", directory=Path.cwd(), environ={})
        given: dict[str, object] = {"nodaemon": True, "logfile": None, **options}
        reactor = Reactor()
        logs = Logs(given, settings, environ or {}, reactor, reactor)
        self.addCleanup(lambda: globalLogPublisher.removeObserver(logs.guard))
        application = Application("x")
        self.service = service = LoggedService(logs)
        service.setServiceParent(application)
        self.assertIn(service, list(IServiceCollection(application)))
        self.assertNotIn("users-own", redaction.redacted("users-own-token-12345"))
        return application.getComponent(ILogObserver, None)

    def test_json(self) -> None:
        """Events and access lines alike; errors without waiting."""
        observer = self.begun("json")
        assert isinstance(observer, EventSink)
        self.assertIsInstance(access_log._sink, LineSink)
        access_log.write(BARE)
        observer({**EVENT, "log_format": ""})
        observer(EVENT)
        observer({**EVENT, "log_level": LogLevel.error})
        levels = [orjson.loads(self.read.readline())["level"] for _ in range(3)]
        self.assertEqual(levels, ["info", "warn", "error"])

    def test_text(self) -> None:
        """Worded as twistd's own observer does, which would wait for whoever reads."""
        observer = self.begun("text")
        assert isinstance(observer, EventSink)
        self.assertIsInstance(access_log._sink, LineSink)
        observer({**EVENT, "log_format": ""})
        observer({**EVENT, "log_system": "a.b#warn"})
        observer({**failing(), "log_level": LogLevel.error})
        self.assertTrue(
            self.read.readline().endswith(b" [a.b#warn] upstream primary\\ud800 took 1.5\n")
        )
        self.assertTrue(self.read.readline().endswith(b"took 1.5\n"))
        self.assertIn(b"\tTraceback", self.read.readline())

    def test_journal_under_systemd(self) -> None:
        """Else text."""
        self.assertIsInstance(self.begun("journal", {"JOURNAL_STREAM": "1:2"}), EventSink)
        self.assertIsInstance(access_log._sink, JournalSink)
        self.assertIsInstance(self.begun("journal"), EventSink)
        self.assertIsInstance(access_log._sink, LineSink)

    def test_twistds_options_win(self) -> None:
        """But for the guard."""
        for options in ({"logfile": "x.log"}, {"syslog": True}, {"logger": "a.b"}):
            self.assertIsNone(self.begun("json", **options))
            self.assertIsNone(access_log._sink)

    def test_no_standard_output(self) -> None:
        """Nothing is taken over."""
        self.patch(sys, "__stdout__", None)
        self.assertIsNone(self.begun("json"))

    def test_without_twistd(self) -> None:
        """Nothing begins."""
        parent = MultiService()
        LoggedService().setServiceParent(parent)
        LoggedService(None).setServiceParent(parent)
        self.assertIsNone(access_log._sink)

    def test_at_the_end(self) -> None:
        """What the guard held back is told."""
        told: list[LogEvent] = []
        globalLogPublisher.addObserver(told.append)
        self.addCleanup(globalLogPublisher.removeObserver, told.append)
        self.begun("json")
        for _ in range(22):
            Logger().error("no")
        self.successResultOf(self.service.stopService())
        self.assertEqual(told[-1]["more"], 2)

    def test_another_sink(self) -> None:
        """Is not flushed."""
        lines = Lines()
        EventSink(json_event, lines)({**EVENT, "log_level": LogLevel.error})
        self.assertEqual(len(lines.lines), 1)
