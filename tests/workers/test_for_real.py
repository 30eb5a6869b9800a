"""The real daemon with two workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
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


class WorkersTests(SynchronousTestCase):
    """Processes."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.manager = Manager(self)
        self.log = self.folder / "log"
        self.port, self.admin = free_ports(2)
        self.configuration = self.folder / "gptproxy.toml"
        self.configuration.write_text(CONFIGURATION.format(admin=self.admin))

    def start(self, *arguments: str, port: str = "") -> subprocess.Popen[bytes]:
        port = port or f"tcp:{self.port}:interface=127.0.0.1"
        words = [sys.executable, "-c", TWISTD, "-n", "--pidfile="]
        words += ["gptproxy", "--config", str(self.configuration), "--port", port, *arguments]
        with self.log.open("wb") as log:
            daemon = subprocess.Popen(
                words,
                env=environment(
                    NOTIFY_SOCKET=self.manager.address, RUNTIME_DIRECTORY=str(self.folder)
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
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

    def until(self, what: Callable[[], bool]) -> None:
        end = time.monotonic() + SECONDS
        while not what():
            self.assertLess(time.monotonic(), end, self.log.read_text())
            time.sleep(0.01)  # other processes work in the meantime

    def workers(self, daemon: subprocess.Popen[bytes]) -> list[int]:
        children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

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
        first, second = self.workers(daemon)
        self.assertIn(b" 401 ", self.answer(self.port, "/v1/models"))
        os.kill(first, signal.SIGKILL)
        self.assertIn(b" 401 ", self.answer(self.port, "/v1/models"))
        self.until(lambda: self.log.read_text().count("2 workers are ready") == 2)
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
        self.until(
            lambda: len(re.findall(r"\] reloaded$", self.log.read_text(), re.MULTILINE)) == 3
        )

        daemon.terminate()
        self.assertEqual(daemon.wait(SECONDS), 0)
        self.assertEqual([path for path in self.folder.iterdir() if path.is_dir()], [])

    def test_a_parent_that_is_killed(self) -> None:
        """Its workers end by themselves: nobody would watch them."""
        daemon = self.start()
        self.told("READY=1")
        pids = self.workers(daemon)
        daemon.kill()
        daemon.wait()
        self.until(lambda: not any(self.runs(pid) for pid in pids))

    def runs(self, pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        return state != "Z"

    def test_told_twice_to_stop(self) -> None:
        """It ends soon, whatever a worker does: here, nothing at all."""
        daemon = self.start()
        self.told("READY=1")
        os.kill(self.workers(daemon)[0], signal.SIGSTOP)
        daemon.terminate()
        self.told("STOPPING=1")
        self.until(lambda: len(self.workers(daemon)) == 1)
        daemon.terminate()
        self.assertEqual(daemon.wait(SECONDS), 0)

    def test_what_they_cannot_use(self) -> None:
        """A certificate that is not there: one line says so, the status is 1."""
        daemon = self.start(port=f"ssl:{self.port}:interface=127.0.0.1")
        self.assertEqual(daemon.wait(SECONDS), 1)
        self.assertIn("cert.pem", self.log.read_text())

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
        self.assertIn("admin.listen: several workers share", self.log.read_text())
        daemon = self.start("--workers", "x")
        self.assertEqual(daemon.wait(SECONDS), 1)
        self.assertIn("gptproxy: --workers: must be a number", self.log.read_text())

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

        self.until(lambda: rows() == 2)
        self.assertEqual(account()["pid"], daemon.pid)
        for _ in range(20):
            self.answer(self.port, "/v1/models")

        def counted() -> float:
            page = self.answer(self.admin, "/metrics").decode()
            found = re.findall(r"^gptproxy_calls_total\{.*\} ([0-9.]+)$", page, re.MULTILINE)
            return sum(map(float, found))

        self.assertEqual(counted(), 20.0)
        os.kill(self.workers(daemon)[0], signal.SIGKILL)
        self.until(lambda: self.log.read_text().count("2 workers are ready") == 2)
        self.assertEqual(counted(), 20.0)
