"""
Lines gathered for a moment and written together.

May import Twisted; nothing of gptproxy. A system call for each line, and the turn of the reactor that a file object's
flush takes, cost more than the line itself.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorCore, IReactorTime
from twisted.logger import Logger

__all__ = [
    "FULL_BYTES",
    "GATHER_SECONDS",
    "KEPT_BYTES",
    "LineSink",
    "logs_to_standard_output",
    "standard_output",
]

GATHER_SECONDS = 0.01
"""How long a line waits for others: too short for whoever watches the log; a delayed call for each turn of the reactor
would cost more than the writing."""

FULL_BYTES = 65_536
"""So much is written without waiting: what a pipe holds on Linux."""

_PIECE_BYTES = 2 * FULL_BYTES
"""Offered at a time, so that not all of what is kept is copied again and again."""

KEPT_BYTES = 1_048_576
"""What is kept for a reader who does not read; lines beyond are counted only."""

FINAL_SECONDS = 1.0
"""At the end so long is waited for a reader who is slow."""


class LineSink:
    """
    :param write: writes what it can of some bytes and says how much that was, as :func:`os.write` does.
    :param clock: for the waits.

    :ivar dropped: lines that there was no room for since the log last told.
    """

    _log = Logger()

    def __init__(self, write: Callable[[bytes], int], clock: IReactorTime) -> None:
        self._write = write
        self._clock = clock
        self._lines: list[bytes] = []
        self._bytes = 0
        self._waiting = False
        self.dropped = 0

    def put(self, line: bytes) -> None:
        """
        :param line: with its line end.
        """
        if self._bytes >= KEPT_BYTES:
            self.dropped += 1
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._waiting:
            if FULL_BYTES <= self._bytes < FULL_BYTES + len(line):
                self.flush()
            return
        self._waiting = True
        self._clock.callLater(GATHER_SECONDS, self._turn)

    def flush(self) -> None:
        """Write everything, as far as it is taken."""
        data = b"".join(self._lines)
        written = 0
        try:
            while written < len(data):
                written += self._write(data[written : written + _PIECE_BYTES])
        except BlockingIOError:
            self._lines = [data[written:]]
            self._bytes = len(data) - written
            return
        except OSError:
            # Nobody reads any more, or the disk is full: what became of a call is told by its answer, too.
            self.dropped += data.count(b"\n", written)
        self._lines = []
        self._bytes = 0

    def _turn(self) -> None:
        self._waiting = False
        self.flush()
        if self._bytes:
            # Not taken for the time being.
            self._waiting = True
            self._clock.callLater(1.0, self._turn)
        elif self.dropped:
            self._log.warn("{lines} access lines could not be written", lines=self.dropped)
            self.dropped = 0


def logs_to_standard_output(options: Mapping[str, object]) -> bool:
    """
    :param options: twistd's own.
    :return: its text observer writes to the standard output: there is no background, and nothing else is named.
    """
    return (
        bool(options.get("nodaemon"))
        and options.get("logfile") in (None, "-")
        and not options.get("syslog")
        and not options.get("logger")
    )


def standard_output(reactor: IReactorCore, clock: IReactorTime) -> LineSink | None:
    """
    :param reactor: when it has stopped, what is left is written.
    :param clock: for the waits.
    :return: what writes to the process's standard output; None where it has none.
    """
    try:
        number = sys.__stdout__.fileno() if sys.__stdout__ is not None else -1
    except (OSError, ValueError):
        number = -1
    if number < 0:
        return None
    descriptor = _Descriptor(number)
    sink = LineSink(descriptor.write, clock)

    def finish() -> None:
        descriptor.wait(FINAL_SECONDS)
        sink.flush()

    reactor.addSystemEventTrigger("after", "shutdown", finish)
    return sink


class _Descriptor:
    """
    Written to only while somebody takes what is written: whoever stops a terminal, or a reader that hangs, would stop
    the event loop. It is not made one that does not block, for others have it too: the standard error, other workers,
    the shell.

    :param number: its own.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._taken = select.poll()
        self._taken.register(number, select.POLLOUT)
        self._until = 0.0

    def wait(self, seconds: float) -> None:
        """
        :param seconds: for so long from now on it is waited for.
        """
        self._until = time.monotonic() + seconds

    def write(self, data: bytes) -> int:
        """
        :param data: is offered.
        :return: how much was taken: whole lines, as far as a pipe takes them in one piece (pipe(7), PIPE_BUF). Lines of
            several processes do not mix then, and a pipe that takes anything takes so much.
        :raise BlockingIOError: nobody takes anything.
        """
        left = self._until - time.monotonic() if self._until else 0.0
        if not self._taken.poll(max(0.0, left) * 1000):
            raise BlockingIOError
        if len(data) > select.PIPE_BUF:
            data = data[: data.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF]
        return os.write(self._number, data)
