"""``gptproxy check``, and ``gptproxy status`` as the command has it."""

from __future__ import annotations

import socket
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from gptproxy import check_command
from gptproxy.command import main
from tests.top.rig import Certified, folder_of, printed, python

CONFIGURATION = """\
[gitlab]
url = "http://127.0.0.1:{port}"
[[upstream]]
name = "local"
kind = "openai"
url = "http://127.0.0.1:{port}/v1"
"""


class CheckTests(SynchronousTestCase):
    """In process, and as a command."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.file = self.folder / "gptproxy.toml"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.file.write_text(CONFIGURATION.format(port=probe.getsockname()[1]))
        self.file.chmod(0o640)
        certified = Certified("gpt.example.com")
        (self.folder / "cert.pem").write_bytes(certified.pem)
        (self.folder / "key.pem").write_bytes(certified.key_pem())
        (self.folder / "key.pem").chmod(0o600)

    def check(self, *arguments: str) -> tuple[int, list[str]]:
        with printed() as (out, err):
            status = main(["check", "--config", str(self.file), *arguments])
        self.assertEqual(err.getvalue(), "")
        return status, out.getvalue().splitlines()

    def test_well(self) -> None:
        """A warning is no error: a certificate of an hour is one."""
        status, lines = self.check("--port", "tcp:0")
        self.assertEqual(status, 0)
        self.assertEqual(lines[-1], "0 errors, 1 warning")
        self.assertIn("is understood", lines[0])
        self.assertTrue(any("expires on" in line for line in lines))
        self.assertTrue(any(line.startswith("ok      port tcp:0") for line in lines))

    def test_every_error_at_once(self) -> None:
        """As loading says them; the status is 1."""
        self.file.write_text("[gitlab]\nurll = 1\n[retry]\nattempts = 'x'\n")
        status, lines = self.check()
        self.assertEqual(status, 1)
        self.assertEqual(lines[-1], f"{len(lines) - 1} errors, 0 warnings")
        self.assertTrue(any("gitlab.urll" in line for line in lines))
        self.assertTrue(any("retry.attempts" in line for line in lines))

    def test_a_look_that_fails(self) -> None:
        """Is a finding; the others are told."""
        with mock.patch.object(
            check_command, "check_files", side_effect=ZeroDivisionError("s3cret")
        ):
            status, lines = self.check()
        self.assertEqual(status, 1)
        self.assertIn("error   files: cannot be looked at: ZeroDivisionError", lines)
        self.assertTrue(any("gpt.example.com" in line for line in lines))
        self.assertNotIn("s3cret", "\n".join(lines))

    def test_online(self) -> None:
        """With the real reactor; nobody is there."""
        done = python("-m", "gptproxy", "check", "--online", "-c", str(self.file))
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        lines = done.stdout.splitlines()
        self.assertEqual(lines[-1], "2 errors, 1 warning")
        for subject in ("upstream local", "GitLab"):
            self.assertTrue(any(subject in line and "ConnectionRefused" in line for line in lines))

    def test_online_that_fails(self) -> None:
        """Whatever the reactor ends by."""
        for code, words in [(1, "cannot be asked"), (0, "interrupted")]:
            with mock.patch.object(check_command, "react", side_effect=SystemExit(code)):
                status, lines = self.check("--online")
            self.assertEqual((status, lines[-2]), (1, f"error   online: {words}"))


class StatusTests(SynchronousTestCase):
    """The arguments; what it shows has tests of its own."""

    def test_arguments(self) -> None:
        """Reach it."""
        with mock.patch("gptproxy.status_command.show_status", return_value=0) as show:
            self.assertEqual(main(["status", "--watch"]), 0)
        show.assert_called_once_with(None, watch=True)

    def test_no_listener(self) -> None:
        """One line says which key."""
        file = folder_of(self) / "g.toml"
        file.write_text("[access]\npure_proxy = true\n")
        with printed() as (_, err):
            self.assertEqual(main(["status", "-c", str(file)]), 1)
        self.assertIn("admin.listen: missing", err.getvalue())
