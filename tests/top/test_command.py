"""The ``gptproxy`` command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from gptproxy import __version__, documents_command
from gptproxy.command import main
from gptproxy.config import ConfigurationError, Problem
from tests.top.rig import SECONDS, environment, folder_of, printed, python

CONFIGURATION = """\
[gitlab]
url = "https://git.corp.com"
[[upstream]]
name = "local"
kind = "openai"
url = "http://127.0.0.1:{port}/v1"
[knowledge]
database = "knowledge.db"
"""


class MainTests(SynchronousTestCase):
    """Arguments and exit statuses, in process."""

    def run_main(self, *arguments: str) -> tuple[int, str, str]:
        with printed() as (out, err):
            try:
                status = main(arguments)
            except SystemExit as end:
                status = int(end.code or 0)
        return status, out.getvalue(), err.getvalue()

    def test_help(self) -> None:
        """Each level has its own."""
        for arguments, word in [
            (("--help",), "twistd gptproxy --config FILE"),
            (("try", "--help"), "--port"),
            (("docs", "--help"), "add"),
            (("docs", "add", "--help"), "COLLECTION"),
        ]:
            status, out, err = self.run_main(*arguments)
            self.assertEqual((status, err), (0, ""))
            self.assertIn(word, out)

    def test_version(self) -> None:
        """Is the package's."""
        self.assertEqual(self.run_main("--version"), (0, f"gptproxy {__version__}\n", ""))
        done = python("-m", "gptproxy", "--version")
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr), (0, f"gptproxy {__version__}\n", "")
        )

    def test_wrong_command_lines(self) -> None:
        """Status 2, as argparse has it, and the fault on stderr."""
        for arguments in [
            (),
            ("nonsense",),
            ("docs",),
            ("docs", "add", "collection"),
            ("docs", "add", "", "path"),
            ("docs", "add", "two\nlines", "path"),
            ("try", "--port", "x"),
            ("try", "--port", "65536"),
            ("try", "--port", "-1"),
        ]:
            with self.subTest(arguments):
                status, out, err = self.run_main(*arguments)
                self.assertEqual((status, out), (2, ""))
                self.assertIn("error:", err)
        self.assertIn("invalid port value: '65536'", self.run_main("try", "--port", "65536")[2])

    def test_try(self) -> None:
        """Gets its port."""
        for arguments, port in [(("try",), None), (("try", "--port", "0"), 0)]:
            with mock.patch("gptproxy.tryout.try_it", return_value=7) as try_it:
                self.assertEqual(self.run_main(*arguments), (7, "", ""))
            try_it.assert_called_once_with(port)

    def test_wrong_configurations(self) -> None:
        """A line for each fault."""
        problems = [Problem("g.toml", "a", "wrong"), Problem("g.toml", "b", "wrong")]
        with mock.patch.object(
            documents_command, "add_documents", side_effect=ConfigurationError(problems)
        ):
            self.assertEqual(
                self.run_main("docs", "add", "-c", "g.toml", "x", "y"),
                (1, "", "gptproxy: g.toml: a: wrong\ngptproxy: g.toml: b: wrong\n"),
            )

    def test_ctrl_c_at_the_start(self) -> None:
        """Is no traceback."""
        with mock.patch.object(documents_command, "add_documents", side_effect=KeyboardInterrupt):
            self.assertEqual(
                self.run_main("docs", "add", "x", "y"), (130, "", "gptproxy: interrupted\n")
            )


class ProcessTests(SynchronousTestCase):
    """The command as the process that it is."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        (self.folder / "a.md").write_text("# Birds\n\nThe swift sleeps in the air.\n")

    def test_a_reader_who_has_enough(self) -> None:
        """As with ``| head``: no traceback."""
        reader, writer = os.pipe()
        os.close(reader)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "gptproxy", "check", "--config", "g.toml"],
                cwd=self.folder,
                env=environment(),
                stdout=writer,
                stderr=subprocess.PIPE,
                timeout=SECONDS,
                check=False,
            )
        finally:
            os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (1, b""))

    def test_documents_are_added(self) -> None:
        """Through the sandbox's embeddings; a second time nothing is left to do."""
        with subprocess.Popen(
            [sys.executable, "-m", "gptproxy.sandbox", "--until-stdin-closes"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as sandbox:
            assert sandbox.stdout is not None
            port = (
                sandbox.stdout.readline()
                .partition('"openai": "http://127.0.0.1:')[2]
                .partition("/")[0]
            )
            text = CONFIGURATION.format(port=port).replace(
                "[knowledge]", 'api_key = "sk-sandbox-openai"\n[knowledge]'
            )
            (self.folder / "g.toml").write_text(text)
            command = ("-m", "gptproxy", "docs", "add", "--config", "g.toml", "birds", "a.md")
            first = python(*command, cwd=self.folder)
            again = python(*command, cwd=self.folder)
            sandbox.communicate()
        self.assertEqual(
            (first.returncode, first.stdout),
            (
                0,
                "birds: 1 documents added or changed (1 passages), 0 unchanged, 0 removed, 0 skipped\n",
            ),
        )
        self.assertEqual(
            (again.returncode, again.stdout),
            (
                0,
                "birds: 0 documents added or changed (0 passages), 1 unchanged, 0 removed, 0 skipped\n",
            ),
        )

    def test_ctrl_c(self) -> None:
        """Ends it while it waits for embeddings: status 130, one line."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            (self.folder / "g.toml").write_text(CONFIGURATION.format(port=silent.getsockname()[1]))
            with subprocess.Popen(
                [sys.executable, "-m", "gptproxy", "docs", "add", "-c", "g.toml", "birds", "a.md"],
                env=environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            ) as process:
                silent.settimeout(SECONDS)
                try:
                    connection, _ = silent.accept()
                    with connection:
                        connection.recv(10)
                        process.send_signal(signal.SIGINT)
                        out, err = process.communicate(timeout=SECONDS)
                finally:
                    process.kill()
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertEqual(
            err,
            "gptproxy: interrupted; what was added stays, and the same command goes on from here\n",
        )
