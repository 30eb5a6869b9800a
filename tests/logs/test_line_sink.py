"""Lines are written together, none is lost at the end, and no reader can make them pile up."""

from __future__ import annotations

import os
import sys

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.logs import LineSink, line_sink, logs_to_standard_output, standard_output
from gptproxy.logs.line_sink import FULL_BYTES, GATHER_SECONDS, KEPT_BYTES


class Taker:
    """What stands for a descriptor."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.most = 1 << 30
        self.trouble: OSError | None = None

    def write(self, data: bytes) -> int:
        if self.trouble is not None:
            raise self.trouble
        self.writes.append(data[: self.most])
        return len(self.writes[-1])


class LineSinkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.taker = Clock(), Taker()
        self.sink = LineSink(self.taker.write, self.clock)

    def test_lines_that_come_together_are_one_write(self) -> None:
        for number in range(3):
            self.sink.put(b"%d\n" % number)
        self.assertEqual(self.taker.writes, [])
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(self.taker.writes, [b"0\n1\n2\n"])
        self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.sink.put(b"3\n")
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(self.taker.writes[1:], [b"3\n"])

    def test_many_do_not_wait(self) -> None:
        line = b"x" * 999 + b"\n"
        for _ in range(FULL_BYTES // 1000 + 1):
            self.sink.put(line)
        self.assertEqual(len(self.taker.writes), 1)
        self.assertGreaterEqual(len(self.taker.writes[0]), FULL_BYTES)
        self.clock.advance(GATHER_SECONDS)

    def test_what_is_left_is_written_at_the_end(self) -> None:
        self.sink.put(b"last\n")
        self.sink.flush()
        self.sink.flush()
        self.assertEqual(self.taker.writes, [b"last\n"])

    def test_a_descriptor_that_takes_a_part_gets_the_rest(self) -> None:
        self.taker.most = 3
        self.sink.put(b"a line\n")
        self.sink.flush()
        self.assertEqual(b"".join(self.taker.writes), b"a line\n")

    def test_a_reader_who_does_not_read_is_waited_for_and_what_is_kept_for_it_bounded(self) -> None:
        self.taker.trouble = BlockingIOError()
        line = b"x" * 9_999 + b"\n"
        for _ in range(KEPT_BYTES // len(line) + 10):
            self.sink.put(line)
        self.assertLess(self.sink._bytes, KEPT_BYTES + len(line))
        self.assertGreater(self.sink.dropped, 0)
        self.clock.advance(GATHER_SECONDS)
        dropped, self.taker.trouble = self.sink.dropped, None
        self.clock.advance(1)
        self.assertEqual(
            b"".join(self.taker.writes).count(b"\n") + dropped, KEPT_BYTES // len(line) + 10
        )
        self.assertEqual(self.sink.dropped, 0)

    def test_a_descriptor_that_is_broken_loses_lines_and_nothing_else(self) -> None:
        self.taker.trouble = BrokenPipeError()
        self.sink.put(b"one\n")
        self.sink.put(b"two\n")
        self.sink.flush()
        self.assertEqual(self.sink.dropped, 2)
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(self.sink.dropped, 0)


class Stopping:
    """A reactor that only remembers what is to be done in the end."""

    def __init__(self) -> None:
        self.triggers: list[tuple[object, ...]] = []

    def addSystemEventTrigger(self, *trigger: object) -> None:
        self.triggers.append(trigger)


class StandardOutputTests(SynchronousTestCase):
    def test_it_is_the_process_own_and_written_to_its_end(self) -> None:
        reader, writer = os.pipe()
        reactor = Stopping()
        with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as read:
            self.patch(sys, "__stdout__", stream)
            sink = standard_output(reactor, Clock())  # type: ignore[arg-type]  # as much of one as is asked for
            assert sink is not None
            sink.put(b"a line\n")
            ((*when, flush),) = reactor.triggers
            self.assertEqual(when, ["after", "shutdown"])
            flush()  # type: ignore[operator]  # it is the sink's
            self.assertEqual(read.readline(), b"a line\n")

    def test_a_reader_who_does_not_read_stops_nobody(self) -> None:
        """Not even where the descriptor blocks; when it reads again, it gets whole lines, each once."""
        reader, writer = os.pipe()
        line = b"x" * 99 + b"\n"
        clock, reactor = Clock(), Stopping()
        with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb", buffering=0) as read:
            self.patch(sys, "__stdout__", stream)
            sink = standard_output(reactor, clock)  # type: ignore[arg-type]  # see above
            assert sink is not None
            number = 3 * FULL_BYTES // len(line)
            for _ in range(number):
                sink.put(line)
            clock.advance(GATHER_SECONDS)
            self.assertTrue(os.get_blocking(writer))
            got = b""
            while got.count(b"\n") < number:
                got += read.read(FULL_BYTES)
                clock.advance(1)
            self.assertEqual(got, line * number)
            sink.put(b"y" * 10_000 + b"\n")
            sink.flush()
            self.assertEqual(read.read(FULL_BYTES), b"y" * 10_000 + b"\n")

    def test_at_the_end_it_waits_a_moment(self) -> None:
        """For a reader who is slow, not for one who never reads."""
        self.patch(line_sink, "FINAL_SECONDS", 0.001)
        reader, writer = os.pipe()
        reactor = Stopping()
        with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb"):
            self.patch(sys, "__stdout__", stream)
            sink = standard_output(reactor, Clock())  # type: ignore[arg-type]  # see above
            assert sink is not None
            sink.put(b"x" * 2 * FULL_BYTES)
            ((*_, finish),) = reactor.triggers
            finish()  # type: ignore[operator]  # it is the sink's
            self.assertGreater(sink._bytes, 0)

    def test_a_process_without_one_has_none(self) -> None:
        for stream in (None, _Closed()):
            self.patch(sys, "__stdout__", stream)
            self.assertIsNone(standard_output(Stopping(), Clock()))  # type: ignore[arg-type]  # see above

    def test_twistd_logs_there_in_the_foreground_alone_where_nothing_else_is_named(self) -> None:
        foreground: dict[str, object] = {
            "nodaemon": True,
            "logfile": None,
            "syslog": 0,
            "logger": None,
        }
        self.assertTrue(logs_to_standard_output(foreground))
        self.assertTrue(logs_to_standard_output({**foreground, "logfile": "-"}))
        for other in ({"nodaemon": 0}, {"logfile": "a"}, {"syslog": 1}, {"logger": "a.b"}):
            self.assertFalse(logs_to_standard_output({**foreground, **other}))


class _Closed:
    def fileno(self) -> int:
        raise ValueError("I/O operation on closed file")
