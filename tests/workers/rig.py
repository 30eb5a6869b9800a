"""What tests of the parent give in place of a reactor: processes and sockets that are none."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import DatagramProtocol, ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

_SIGNALS = {"TERM": signal.SIGTERM, "KILL": signal.SIGKILL, "HUP": signal.SIGHUP}


class Process:
    """
    One that was started.

    :ivar signals: what it was sent.
    :ivar heard: what was written to its standard input.
    """

    def __init__(
        self,
        protocol: ProcessProtocol,
        words: Sequence[str],
        environ: Mapping[str, str],
        folder: str | None,
        descriptors: Mapping[int, object],
        told: DatagramProtocol,
    ) -> None:
        self.protocol = protocol
        self.words = list(words)
        self.environ = dict(environ)
        self.folder = folder
        self.descriptors = dict(descriptors)
        self.pid: int | None = 1000
        self.signals: list[str] = []
        self.heard = b""
        self._told = told

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        """It is noted."""
        assert descriptor == 0
        if self.pid is None:
            raise KeyError(descriptor)
        self.heard += data

    def signalProcess(self, name: str) -> None:
        """It is noted; KILL ends it."""
        if self.pid is None:
            raise ProcessExitedAlready
        self.signals.append(name)
        if name == "KILL":
            self.end(by=signal.SIGKILL)

    def say(self, *assignments: str) -> None:
        """Tell the parent."""
        self._told.datagramReceived("\n".join(assignments).encode(), "")

    def end(self, status: int | None = None, by: int | None = None) -> None:
        """Be gone."""
        self.pid = None
        well = status == 0 and by is None
        reason = ProcessDone(0) if well else ProcessTerminated(status, by, 0)
        self.protocol.processExited(Failure(reason))


class Listening:
    """A socket that nobody needs."""

    def stopListening(self) -> None:
        """Nothing to do."""


class Processes(Clock):
    """
    A reactor of these.

    :ivar started: in order.
    :ivar refuse: raised where one is to be started.
    """

    def __init__(self) -> None:
        super().__init__()
        self.started: list[Process] = []
        self.refuse: Exception | None = None
        self.at_once = False
        self.stopped = 0
        self._told: dict[str, DatagramProtocol] = {}

    def callWhenRunning(self, call: Callable[[], None]) -> None:
        """It runs."""
        call()

    def callFromThread(self, call: Callable[[], None]) -> None:
        """In its turn."""
        self.callLater(0, call)

    def stop(self) -> None:
        """It is noted."""
        self.stopped += 1

    def listenUNIXDatagram(
        self, path: str, protocol: DatagramProtocol, maxPacketSize: int, mode: int
    ) -> Listening:
        """:return: a socket in a folder that is there and private."""
        assert Path(path).parent.stat().st_mode & 0o777 == 0o700
        assert mode == 0o600
        self._told[path] = protocol
        return Listening()

    def spawnProcess(
        self,
        protocol: ProcessProtocol,
        executable: str,
        args: Sequence[str],
        env: Mapping[str, str],
        path: str | None,
        childFDs: Mapping[int, object],
    ) -> Process:
        """:return: one that does nothing by itself."""
        assert executable == "/bin/sh"
        if self.refuse is not None:
            raise self.refuse
        made = Process(protocol, args, env, path, childFDs, self._told[env["NOTIFY_SOCKET"]])
        self.started.append(made)
        if self.at_once:
            made.end(status=1)
        return made
