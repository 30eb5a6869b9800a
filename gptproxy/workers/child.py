"""
One worker as its parent has it: a process, and the socket on which it says how it fares.

May import Twisted and this room's own modules.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IListeningPort, IReactorProcess, IReactorUNIXDatagram
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol
from twisted.python.failure import Failure

from gptproxy.workers.command_line import SHELL, shell_words

__all__ = ["Child", "Launch"]

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

LONGEST_BYTES = 4096
"""Of what a worker says at a time: a few short lines."""


class _IProcessesAndDatagrams(IReactorProcess, IReactorUNIXDatagram):
    """What starts a worker."""


@frozen
class Launch:
    """
    What a worker is started with.

    :param command: the program and its arguments.
    :param environment: all of it.
    :param descriptors: of the sockets that are handed down.
    :param folder: where it starts; None: where the parent is.
    :param notify: path of the socket on which it tells.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    descriptors: Sequence[int]
    folder: str | None
    notify: str


class _Told(DatagramProtocol):
    """
    Hears a worker.

    :param hear: told each assignment.
    """

    noisy = False

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """
        :param datagram: assignments, one a line (sd_notify(3)).
        :param addr: nobody's.
        """
        for line in datagram.decode("utf-8", "replace").splitlines():
            self._hear(line)


class Child(ProcessProtocol):
    """
    :param reactor: starts processes and listens.
    :param launch: what is started.
    :param hear: told each assignment of the worker's.
    :param ended: told its exit status (None where a signal ended it) and the signal, once.
    :ivar hear: the same; may be changed.
    :ivar ended: the same.
    """

    def __init__(
        self,
        reactor: _IProcessesAndDatagrams,
        launch: Launch,
        hear: Callable[[str], None],
        ended: Callable[[int | None, int | None], None],
    ) -> None:
        self._reactor: Any = reactor
        self.hear: Callable[[str], None] = hear
        self.ended = ended
        self._gone = False
        # A new socket for each: what a worker said before it was killed is not its successor's word.
        self._listening: IListeningPort = reactor.listenUNIXDatagram(
            launch.notify, _Told(self._heard), LONGEST_BYTES, mode=0o600
        )
        self._notify = Path(launch.notify)
        try:
            self._process: Any = reactor.spawnProcess(
                self,
                SHELL,
                shell_words("gptproxy", launch.command),
                launch.environment,
                launch.folder,
                # The other end of the worker's input is held open: it ends when this process does. Only a
                # spare one is written to, once.
                childFDs={
                    0: "w",
                    1: 1,
                    2: 2,
                    **dict(enumerate(launch.descriptors, FIRST_DESCRIPTOR)),
                },
            )
        except BaseException:
            self._close()
            raise

    @property
    def pid(self) -> int | None:
        """The process's number; None when it is gone."""
        number: int | None = self._process.pid
        return number

    def tell(self, word: bytes) -> None:
        """
        :param word: written to its standard input, if it is there still.
        """
        # What Twisted raises where the pipe is closed: the process is gone, and its end is told.
        with suppress(KeyError):
            self._process.writeToChild(0, word)

    def signal(self, number: signal.Signals) -> None:
        """
        :param number: sent, unless the process is gone.
        """
        with suppress(ProcessExitedAlready):
            self._process.signalProcess(number.name.removeprefix("SIG"))

    def processExited(self, reason: Failure) -> None:
        """
        :param reason: how it ended.
        """
        self._close()
        error = reason.value
        status, by = 0, None
        if isinstance(error, ProcessTerminated):
            status, by = error.exitCode, error.signal
        # Not at once: a process may be gone before starting it has returned.
        self._reactor.callLater(0, self._tell_end, status, by)

    def _tell_end(self, status: int | None, by: int | None) -> None:
        self.ended(status, by)

    def _heard(self, assignment: str) -> None:
        if not self._gone:
            self.hear(assignment)

    def _close(self) -> None:
        self._gone = True
        self._listening.stopListening()
        with suppress(OSError):
            self._notify.unlink(missing_ok=True)
