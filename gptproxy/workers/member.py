"""
What a worker knows of the whole that it is one of, and what it does for it.

May import Twisted, prometheus_client and this room's own modules.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["DIRECTORY", "VARIABLE", "Member", "ParentWatch", "member_from", "share_metrics"]

VARIABLE: Final = "GPTPROXY_WORKER"
"""What the parent tells a worker: number, how many there are, the parent's process number."""

DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The private folder of all of them; prometheus_client has named it (its multiprocess mode)."""


@frozen
class Member:
    """
    One worker of several.

    :param number: its own, from 1.
    :param workers: how many there are.
    :param parent: the parent's process number.
    :param directory: the private folder of all of them.
    """

    number: int
    workers: int
    parent: int
    directory: Path


def member_from(environ: Mapping[str, str]) -> Member | None:
    """
    :param environ: the process's environment.
    :return: which worker this is; None: it is no worker.
    """
    told = re.fullmatch(r"([0-9]{1,3}):([0-9]{1,3}):([0-9]{1,10})", environ.get(VARIABLE, ""))
    directory = environ.get(DIRECTORY)
    if told is None or directory is None:
        return None
    return Member(int(told[1]), int(told[2]), int(told[3]), Path(directory))


def share_metrics(member: Member) -> None:
    """
    Before any figure is made: let it stand in the file of the worker's number, so that a worker's successor goes on
    where it ended, and the files are as many as there are workers.

    :param member: which worker this is.
    """
    from prometheus_client import values

    number = member.number
    # Read whenever a figure is made.
    values.ValueClass = values.MultiProcessValue(lambda: number)


@implementer(IReadDescriptor)
class ParentWatch(Service):
    """
    Stops the worker when its parent is gone: the pipe that is the worker's standard input has its other end there.

    :param reactor: reads the pipe.
    :param stop: called once when it has ended.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        stop: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM),
        descriptor: int = 0,
    ) -> None:
        self._reactor = reactor
        self._stop = stop
        self._descriptor = descriptor

    def startService(self) -> None:
        """Begin to watch."""
        super().startService()
        self._reactor.addReader(self)

    def stopService(self) -> None:
        """Watch no longer."""
        super().stopService()
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        """:return: what is watched."""
        return self._descriptor

    def doRead(self) -> None:
        """Nobody writes there: that it can be read means that it has ended."""
        self._end()

    def connectionLost(self, reason: Failure) -> None:
        """
        :param reason: what the reactor found.
        """
        self._end()

    def logPrefix(self) -> str:
        """:return: how the reactor's messages call it."""
        return "parent"

    def _end(self) -> None:
        if self.running:
            self._reactor.removeReader(self)
            self._log.warn("the parent process is gone: this worker stops too")
            self._stop()
