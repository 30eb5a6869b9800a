"""
The parent of several workers: starts them, watches them, passes on what it is told, and serves nothing itself.

May import the process room, Twisted and this room's own modules.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gptproxy.workers.ahead import Ahead
from gptproxy.workers.child import Child, Launch
from gptproxy.workers.command_line import worker_environment
from gptproxy.workers.member import DIRECTORY, VARIABLE
from gptproxy.workers.roster import SIGN_SECONDS, Roster
from gptproxy.workers.sockets import SharedSocket
from gptproxy.workers.spare import WAITS, spare_words, word
from gptproxy.workers.telling import forget

__all__ = ["Parent", "WorkerCommand"]

GRACE_SECONDS: Final = 10.0
"""How much longer than its calls may take a worker may take to stop, before it is killed."""

HURRY_SECONDS: Final = 2.0
"""The same when it was told twice."""

LONGEST_PATH: Final = 80
"""Of a folder that sockets are in: a socket's path has 107 bytes at most (unix(7))."""


@frozen
class WorkerCommand:
    """
    How a worker is started.

    :param words: by its number and its endpoint strings: the program and its arguments. Of a program that is python's
        ``-c`` one is started ahead (:mod:`gptproxy.workers.spare`).
    :param environ: the parent's environment.
    :param folder: where it starts; None: where the parent is then.
    """

    words: Callable[[int, Sequence[str]], Sequence[str]]
    environ: Mapping[str, str]
    folder: str | None


class Parent(Service):
    """
    :param workers: how many.
    :param command: how one is started.
    :param sockets: what they share.
    :param reactor: starts processes.
    :param drain_seconds: how long a worker may take to finish its calls.
    :param now: seconds of a clock that nobody sets.
    """

    _log = Logger()

    def __init__(
        self,
        workers: int,
        command: WorkerCommand,
        sockets: Sequence[SharedSocket],
        reactor: Any,
        drain_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._command = command
        self._sockets = sockets
        self._reactor = reactor
        self._leave_seconds = drain_seconds + GRACE_SECONDS
        self._now = now
        self._roster = Roster(workers, now(), self._leave_seconds)
        self._children: dict[int, Child] = {}
        self._ahead = Ahead(reactor, self._start_ahead)
        # Those that were being started when there was something new to read.
        self._to_reload: set[int] = set()
        self._starts = 0
        self._directory: Path | None = None
        self._next: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []
        self._stopped: Deferred[None] | None = None
        self._given_up = False

    def startService(self) -> None:
        """Privileges are shed: start the workers, which have none either."""
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """
        Tell the workers to stop.

        :return: fires when they have.
        """
        super().stopService()
        self._ahead.stop()
        if not self._children:
            self._clean()
            return succeed(None)
        self._stopped = Deferred()
        self._tell_all(signal.SIGTERM)
        self._reschedule(self._leave_seconds, self._kill)
        return self._stopped

    def hurry(self) -> None:
        """Have them end at once: stopping was asked for a second time."""
        if self._stopped is not None and self._children:
            self._tell_all(signal.SIGTERM)
            self._reschedule(HURRY_SECONDS, self._kill)

    def all_ready(self) -> Deferred[None]:
        """:return: fires when each of them serves."""
        if self._roster.all_ready:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiting)
        return waiting

    def reload(self, drain_seconds: float) -> None:
        """
        All of them, at the same time: whichever of them answers, it answers by the same configuration.

        :param drain_seconds: what it says of that.
        """
        self._leave_seconds = self._roster.leave_seconds = drain_seconds + GRACE_SECONDS
        for number, child in self._children.items():
            if self._roster.is_starting(number):
                # Nobody catches the signal there yet: it would end the process. And what has been read may be old.
                self._to_reload.add(number)
            else:
                child.signal(signal.SIGHUP)

    def _begin(self) -> None:
        if not self.running:
            return
        self._directory = _private_directory()
        self._attend()

    def _attend(self) -> None:
        """Do what there is to do now, and come back when there is more."""
        if not self.running:
            return
        now = self._now()
        for number in self._roster.overdue(now):
            self._log.error("worker {number} does not answer: it is killed", number=number)
            self._children[number].signal(signal.SIGKILL)
        for number in self._roster.due(now):
            self._start(number, now)
        look = self._roster.next_look()
        if look is not None:
            # One that was killed is named until its end is known; not more often than this.
            self._reschedule(max(look - self._now(), 0.1), self._attend)

    def _start(self, number: int, now: float) -> None:
        words = self._words(number)
        told = {VARIABLE: f"{number}:{self._workers}:{os.getpid()}"}
        self._roster.started(number, now)
        self._to_reload.discard(number)

        def heard(assignment: str) -> None:
            self._heard(number, assignment)

        def ended(status: int | None, by: int | None) -> None:
            self._ended(number, status, by)

        child = self._ahead.take()
        if child is not None:
            child.hear, child.ended = heard, ended
            child.tell(word(words, told))
            self._children[number] = child
            return
        try:
            self._children[number] = Child(self._reactor, self._launch(words, told), heard, ended)
        except Exception:  # noqa: BLE001 - no process, no descriptor: there may be some in a while
            self._log.failure("worker {number} cannot be started", number=number)
            self._roster.ended(number, now, itself=False)

    def _start_ahead(self, ended: Callable[[int | None, int | None], None]) -> Child | None:
        # What it is to be called, and by what name its log goes, it is told when there is a place for it.
        words = spare_words(self._words(1))
        if words is None:
            return None

        def heard(assignment: str) -> None:
            if assignment == WAITS:
                self._log.info(
                    "one more has been started ahead: it waits until a worker is missing"
                )

        return Child(self._reactor, self._launch(words, {}), heard, ended)

    def _words(self, number: int) -> Sequence[str]:
        return self._command.words(number, [shared.description for shared in self._sockets])

    def _launch(self, words: Sequence[str], told: Mapping[str, str]) -> Launch:
        assert self._directory is not None  # noqa: S101 - made before the first is started
        self._starts += 1
        notify = str(self._directory / str(self._starts))
        descriptors = [each for shared in self._sockets for each in shared.descriptors()]
        told = {**told, DIRECTORY: str(self._directory)}
        return Launch(
            words,
            worker_environment(self._command.environ, len(descriptors), notify, SIGN_SECONDS, told),
            descriptors,
            self._command.folder,
            notify,
        )

    def _heard(self, number: int, assignment: str) -> None:
        now = self._now()
        if assignment == "WATCHDOG=1":
            self._roster.sign(number, now)
        elif assignment == "READY=1":
            was_ready = self._roster.all_ready
            self._roster.ready(number, now)
            if number in self._to_reload:
                self._to_reload.remove(number)
                self._children[number].signal(signal.SIGHUP)
            if self._roster.all_ready and not was_ready:
                self._log.info("{workers} workers are ready", workers=self._workers)
                waiting, self._waiting = self._waiting, []
                for each in waiting:
                    each.callback(None)
                # Not before: its start takes from theirs.
                self._ahead.provide()
        elif assignment == "STOPPING=1":
            self._roster.leaving(number, now)
        if self.running:
            self._attend()

    def _ended(self, number: int, status: int | None, by: int | None) -> None:
        del self._children[number]
        if self._directory is not None:
            forget(self._directory, number)
        itself = by is None and status != 0
        wait = self._roster.ended(number, self._now(), itself=itself)
        if not self.running:
            if not self._children:
                self._all_ended()
            return
        how = f"signal {signal.Signals(by).name}" if by is not None else f"status {status}"
        if self._roster.hopeless:
            self._log.error("worker {number} cannot serve ({how})", number=number, how=how)
            self._give_up()
            return
        self._log.warn(
            "worker {number} has ended ({how}); another is started in {wait:.1f} s",
            number=number,
            how=how,
            wait=wait,
        )
        self._attend()

    def _give_up(self) -> None:
        """End with status 1, as a single process does that cannot use what it is given."""
        if self._given_up:
            return
        self._given_up = True
        # twistd has a status for signals alone. This runs when it has done all that it does at its end.
        atexit.register(_exit_failed)
        self._reactor.stop()

    def _tell_all(self, number: signal.Signals) -> None:
        for child in list(self._children.values()):
            child.signal(number)

    def _kill(self) -> None:
        self._next = None
        self._log.error("killed workers that did not stop: {count}", count=len(self._children))
        self._tell_all(signal.SIGKILL)

    def _all_ended(self) -> None:
        self._clean()
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.callback(None)

    def _clean(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def _reschedule(self, seconds: float, what: Callable[[], None]) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = self._reactor.callLater(seconds, what)


def _private_directory() -> Path:
    """:return: a new one that nobody else may enter."""
    above = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0] or tempfile.gettempdir()
    if len(os.fsencode(above)) > LONGEST_PATH:
        above = "/tmp"  # noqa: S108 - what is made below is private
    return Path(tempfile.mkdtemp(prefix="gptproxy-", dir=above))


def _exit_failed() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(1)
