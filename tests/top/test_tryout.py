"""``gptproxy try``."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from gptproxy import tryout
from gptproxy.config import load_settings
from tests.top.rig import SECONDS, environment, folder_of, printed

ADDRESSES = {
    "openai": "http://127.0.0.1:1/v1",
    "azure": "http://127.0.0.1:2",
    "azure_secondary": "http://127.0.0.1:3",
    "gitlab": "http://127.0.0.1:4",
}


class Ended:
    """In a process's place."""

    stdout = None

    def __init__(self, status: int | None) -> None:
        self._status = status

    def poll(self) -> int | None:
        return self._status

    def wait(self) -> int | None:
        return self._status


class PieceTests(SynchronousTestCase):
    """What it is made of."""

    def test_the_configuration(self) -> None:
        """Is a good one: three upstreams, GitLab, a topic."""
        folder = folder_of(self)
        (folder / "g.toml").write_text(tryout.configuration(ADDRESSES))
        settings = load_settings(folder / "g.toml", environ={}, working_directory=folder)
        self.assertEqual(
            [(u.name, u.url) for u in settings.upstreams],
            [
                ("primary", "http://127.0.0.1:2"),
                ("secondary", "http://127.0.0.1:3"),
                ("openai", "http://127.0.0.1:1/v1"),
            ],
        )
        assert settings.gitlab is not None
        assert settings.knowledge is not None
        self.assertEqual(settings.gitlab.url, "http://127.0.0.1:4")
        self.assertEqual([topic.documents for topic in settings.topics], ["gptproxy"])
        self.assertEqual(settings.tls.certificate, folder / "cert.pem")

    def test_the_certificate(self) -> None:
        """Is for this machine alone, and its key for this user alone; clients can trust it by itself."""
        folder = folder_of(self)
        tryout.write_certificate(folder)
        self.assertEqual((folder / "key.pem").stat().st_mode & 0o777, 0o600)
        certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost"])
        self.assertEqual([str(a) for a in names.get_values_for_type(x509.IPAddress)], ["127.0.0.1"])
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        self.assertLess(lifetime.days, 2)
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            folder / "cert.pem", folder / "key.pem"
        )
        ssl.create_default_context(cafile=folder / "cert.pem")

    def test_ports(self) -> None:
        """The one asked for or none; 8443 where it is free, else another."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with self.assertRaises(tryout._NotStarted) as caught:
                tryout._free_port(port)
            self.assertEqual(str(caught.exception), f"port {port} on 127.0.0.1 is taken")
            with mock.patch.object(tryout, "DEFAULT_PORT", port):
                self.assertNotIn(tryout._free_port(None), (0, port))
        self.assertEqual(tryout._free_port(port), port)
        with mock.patch.object(tryout, "DEFAULT_PORT", port):
            self.assertEqual(tryout._free_port(None), port)
        self.assertNotEqual(tryout._free_port(0), 0)
        with (
            mock.patch.object(tryout, "HOST", "192.0.2.1"),
            self.assertRaises(tryout._NotStarted) as caught,
        ):
            tryout._free_port(None)
        self.assertEqual(str(caught.exception), "no port on 192.0.2.1 is free")

    def test_a_daemon_that_does_not_come(self) -> None:
        """It has ended, or it does not answer in time."""
        for daemon, seconds, words in [
            (Ended(1), 30.0, "did not start"),
            (Ended(None), 0.2, "does not answer"),
        ]:
            with (
                mock.patch.object(tryout, "READY_SECONDS", seconds),
                self.assertRaises(tryout._NotStarted) as caught,
            ):
                tryout._wait_until_ready(daemon, tryout._free_port(0))
            self.assertIn(words, str(caught.exception))

    def test_a_process_that_does_not_end(self) -> None:
        """Is killed."""
        code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
        with tryout._process("-c", code, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            wait = process.wait

            def impatient(timeout: float | None = None) -> int:
                return wait(None if timeout is None else 0.01)

            process.wait = impatient
        self.assertEqual(process.returncode, -signal.SIGKILL)

    def test_what_is_printed_without_the_client(self) -> None:
        """Installs it first."""
        for found, installs in [(None, True), (object(), False)]:
            with mock.patch.object(tryout, "find_spec", return_value=found), printed() as (out, _):
                tryout._print_commands(8443, Path("cert.pem"))
            self.assertEqual("-m pip install openai" in out.getvalue(), installs)


class TryTests(SynchronousTestCase):
    """Its ends, in process."""

    def setUp(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def try_it(self, start: Callable[..., object]) -> tuple[int, str]:
        with mock.patch.object(tryout, "_start", start), printed() as (_, err):
            status = tryout.try_it(None)
        return status, err.getvalue()

    def test_what_does_not_start(self) -> None:
        """One line, status 1."""

        def start(stack: ExitStack, folder: Path, port: int | None) -> None:
            raise tryout._NotStarted("the sandbox did not start")

        self.assertEqual(self.try_it(start), (1, "gptproxy: the sandbox did not start\n"))

    def test_a_daemon_that_ends(self) -> None:
        """Is told, with its status."""
        self.assertEqual(
            self.try_it(lambda *_: (Ended(7), 8443)),
            (1, "gptproxy: the daemon ended by itself with status 7\n"),
        )

    def test_interruptions(self) -> None:
        """Ctrl-C, SIGTERM and a closed terminal are what ends it: status 0, and a second one changes nothing."""
        for first in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):

            def start(
                stack: ExitStack, folder: Path, port: int | None, first: signal.Signals = first
            ) -> None:
                stack.callback(os.kill, os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), first)

            signal.signal(first, signal.default_int_handler)
            self.assertEqual(self.try_it(start), (0, ""))

    def test_what_is_ignored_stays_so(self) -> None:
        """``nohup gptproxy try`` outlives its terminal."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

        def start(stack: ExitStack, folder: Path, port: int | None) -> None:
            os.kill(os.getpid(), signal.SIGHUP)
            raise tryout._NotStarted("it went on")

        self.assertEqual(self.try_it(start), (1, "gptproxy: it went on\n"))

    def test_parts_that_fail(self) -> None:
        """Each is named."""
        started = tryout._process
        for failing, words in [
            ("gptproxy.sandbox", "the sandbox did"),
            ("docs", "documents could not"),
        ]:

            def process(
                *arguments: str, stdout: int | None = None, failing: str = failing
            ) -> object:
                code = ("-c", "raise SystemExit(1)") if failing in arguments else arguments
                return started(*code, stdout=stdout)

            with (
                mock.patch.object(tryout, "_process", process),
                ExitStack() as stack,
                printed(),
                self.assertRaises(tryout._NotStarted) as caught,
            ):
                tryout._start(stack, folder_of(self), None)
            self.assertIn(words, str(caught.exception))


class ProcessTests(SynchronousTestCase):
    """The whole of it."""

    def test_it_ends_and_leaves_nothing(self) -> None:
        """By Ctrl-C and by SIGTERM: status 0, no process, no file."""
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                self.check(number)

    def check(self, number: signal.Signals) -> None:
        folder = folder_of(self)
        with subprocess.Popen(
            [sys.executable, "-m", "gptproxy", "try", "--port", "0"],
            env=environment(TMPDIR=str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                assert process.stdout is not None
                lines = []
                for line in process.stdout:
                    lines.append(line)
                    if "Ctrl-C ends it" in line:
                        break
                text = "".join(lines)
                self.assertIn("gptproxy is ready at https://127.0.0.1:", text)
                self.assertEqual(text.count("curl -sS"), 2)
                self.assertEqual(len(list(folder.iterdir())), 1)
                task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                children = [os.pidfd_open(int(child)) for child in task.read_text().split()]
                self.assertEqual(len(children), 2)
                process.send_signal(number)
                process.communicate(timeout=SECONDS)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(list(folder.iterdir()), [])
        for child in children:
            self.assertEqual(select.select([child], [], [], 0)[0], [child])
            os.close(child)
