"""The real daemon with two workers."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.process.rig import Manager
from tests.top.rig import SECONDS, TWISTD, environment, folder_of

CONFIGURATION = """\
[access]
pure_proxy = true
[process]
workers = 2
[admin]
listen = "tcp:{admin}:interface=127.0.0.1"
"""


def free_ports(count: int) -> list[int]:
    """:return: ports that nobody has."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Log:
    """What the daemon writes, as it comes: a pipe, so that who waits for a line is woken by it."""

    def __init__(self) -> None:
        self._end, self.descriptor = os.pipe()
        self.text = ""

    def until(self, pattern: str, count: int = 1) -> None:
        """Read until a pattern was there so often."""
        end = time.monotonic() + SECONDS
        while len(re.findall(pattern, self.text, re.MULTILINE)) < count:
            if not select.select([self._end], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {pattern} in the log:\n{self.text}")
            self.text += os.read(self._end, 65536).decode()

    def rest(self) -> str:
        """:return: all of it; nobody writes any more."""
        while more := os.read(self._end, 65536):
            self.text += more.decode()
        return self.text

    def close(self) -> None:
        """Done."""
        os.close(self._end)


def wait_for_end(pid: int) -> None:
    """Until a process, which need not be a child, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], SECONDS)[0], f"{pid} runs"
    finally:
        os.close(descriptor)


class WorkersTests(SynchronousTestCase):
    """Processes."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.manager = Manager(self)
        self.port, self.admin = free_ports(2)
        self.configuration = self.folder / "gptproxy.toml"
        self.configuration.write_text(CONFIGURATION.format(admin=self.admin))

    def start(self, *arguments: str, port: str = "") -> subprocess.Popen[bytes]:
        port = port or f"tcp:{self.port}:interface=127.0.0.1"
        words = [sys.executable, "-c", TWISTD, "-n", "--pidfile="]
        words += ["gptproxy", "--config", str(self.configuration), "--port", port, *arguments]
        self.log = Log()
        daemon = subprocess.Popen(
            words,
            env=environment(NOTIFY_SOCKET=self.manager.address, RUNTIME_DIRECTORY=str(self.folder)),
            stdin=subprocess.DEVNULL,
            stdout=self.log.descriptor,
            stderr=self.log.descriptor,
        )
        os.close(self.log.descriptor)
        self.addCleanup(self.log.close)
        self.addCleanup(self.end, daemon)
        return daemon

    def end(self, daemon: subprocess.Popen[bytes]) -> None:
        daemon.kill()
        daemon.wait()

    def told(self, start: str) -> str:
        """:return: what begins so, when the service manager has been told it."""
        while not (told := self.manager.wait(SECONDS)).startswith(start):
            pass
        return told

    def children(self, daemon: subprocess.Popen[bytes]) -> list[int]:
        children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def workers(self, daemon: subprocess.Popen[bytes]) -> list[int]:
        """:return: those that have a loop, which one that waits to be a worker has not. Nobody is being started."""
        return [pid for pid in self.children(daemon) if self.has_loop(pid)]

    def ready(self, times: int = 1) -> None:
        """Both are, for so manyth a time, and one more waits."""
        self.log.until("2 workers are ready", times)
        self.log.until("it waits until a worker is missing", times)

    def has_loop(self, pid: int) -> bool:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if "eventpoll" in str(descriptor.readlink()):
                    return True
        return False

    def answer(self, port: int, path: str) -> bytes:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            return b"".join(iter(lambda: client.recv(65536), b""))

    def test_their_life(self) -> None:
        """
        READY=1 when both are; a killed one is replaced, and no connection refused; SIGHUP reaches both, and a
        configuration that is wrong reaches none; SIGTERM ends them all, and nothing is left.
        """
        daemon = self.start()
        self.told("READY=1")
        self.ready()
        first, second = self.workers(daemon)
        self.assertIn(b" 401 ", self.answer(self.port, "/v1/models"))
        os.kill(first, signal.SIGKILL)
        self.assertIn(b" 401 ", self.answer(self.port, "/v1/models"))
        self.ready(2)
        self.assertIn(second, self.workers(daemon))
        self.assertEqual(len(self.workers(daemon)), 2)

        good = self.configuration.read_text()
        self.configuration.write_text(good + "[gitlap]\n")
        daemon.send_signal(signal.SIGHUP)
        self.told("RELOADING=1")
        self.assertIn("not reloaded", self.told("READY=1"))
        self.configuration.write_text(good)
        daemon.send_signal(signal.SIGHUP)
        self.told("RELOADING=1")
        self.assertEqual(self.told("READY=1"), "READY=1\nSTATUS=reloaded")
        self.log.until(r"\] reloaded$", 3)

        left = self.children(daemon)
        daemon.terminate()
        self.assertEqual(daemon.wait(SECONDS), 0)
        for pid in left:
            wait_for_end(pid)
        self.assertEqual([path for path in self.folder.iterdir() if path.is_dir()], [])

    def test_one_that_waits(self) -> None:
        """A third process waits; when a worker is killed it takes the place, and there is another one that waits."""
        daemon = self.start()
        self.told("READY=1")
        self.ready()
        killed, other = self.workers(daemon)
        (waiting,) = set(self.children(daemon)) - {killed, other}
        os.kill(killed, signal.SIGKILL)
        self.ready(2)
        self.assertEqual(set(self.workers(daemon)), {other, waiting})
        self.assertEqual(len(self.children(daemon)), 3)
        # It is as good as the one before it: it is told, counts, and ends as others do.
        self.log.until(r"worker 1 has ended \(signal SIGKILL\); another is started in 0.0 s")
        daemon.send_signal(signal.SIGHUP)
        self.log.until(r"\] reloaded$", 3)
        daemon.terminate()
        self.assertEqual(daemon.wait(SECONDS), 0)
        self.assertNotIn("Traceback", self.log.rest())

    def test_a_parent_that_is_killed(self) -> None:
        """Its workers end by themselves, and so does the one that waits: nobody would watch them."""
        daemon = self.start()
        self.told("READY=1")
        self.ready()
        pids = self.children(daemon)
        self.assertEqual(len(pids), 3)
        daemon.kill()
        daemon.wait()
        for pid in pids:
            wait_for_end(pid)

    def test_told_twice(self) -> None:
        """It ends soon, whatever a worker does: here, nothing at all."""
        daemon = self.start()
        self.told("READY=1")
        self.ready()
        stopped, other = self.workers(daemon)
        os.kill(stopped, signal.SIGSTOP)
        daemon.terminate()
        self.told("STOPPING=1")
        wait_for_end(other)
        daemon.terminate()
        self.assertEqual(daemon.wait(SECONDS), 0)

    def test_what_they_cannot_use(self) -> None:
        """A certificate that is not there: one line says so, the status is 1."""
        daemon = self.start(port=f"ssl:{self.port}:interface=127.0.0.1")
        self.assertEqual(daemon.wait(SECONDS), 1)
        self.assertIn("cert.pem", self.log.rest())

    def test_the_option_wins(self) -> None:
        """One process is itself."""
        daemon = self.start("--workers", "1")
        self.told("READY=1")
        self.assertEqual(self.workers(daemon), [])

    def test_what_cannot_be_shared(self) -> None:
        """Is said before anything is opened."""
        self.configuration.write_text('[access]\npure_proxy = true\n[admin]\nlisten = "unix:x"\n')
        daemon = self.start("--workers", "2")
        self.assertEqual(daemon.wait(SECONDS), 1)
        self.assertIn("admin.listen: several workers share", self.log.rest())
        daemon = self.start("--workers", "x")
        self.assertEqual(daemon.wait(SECONDS), 1)
        self.assertIn("gptproxy: --workers: must be a number", self.log.rest())

    def test_their_account(self) -> None:
        """``/status`` and ``/metrics`` of either are those of both."""
        daemon = self.start()
        self.told("READY=1")

        def account() -> dict[str, object]:
            content = self.answer(self.admin, "/status").partition(b"\r\n\r\n")[2]
            found: dict[str, object] = json.loads(content)
            return found

        def rows() -> int:
            workers = account()["workers"]
            assert isinstance(workers, list)
            return len(workers)

        # Each gives its account once a second.
        end = time.monotonic() + SECONDS
        while rows() < 2:
            self.assertLess(time.monotonic(), end)
        self.assertEqual(account()["pid"], daemon.pid)
        for _ in range(20):
            self.answer(self.port, "/v1/models")

        def counted() -> float:
            page = self.answer(self.admin, "/metrics").decode()
            found = re.findall(r"^gptproxy_calls_total\{.*\} ([0-9.]+)$", page, re.MULTILINE)
            return sum(map(float, found))

        self.assertEqual(counted(), 20.0)
        self.ready()
        os.kill(self.workers(daemon)[0], signal.SIGKILL)
        self.log.until("2 workers are ready", 2)
        self.assertEqual(counted(), 20.0)
