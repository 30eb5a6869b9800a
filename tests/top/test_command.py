"""The ``gptproxy`` command."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy import __version__, documents_command
from gptproxy.command import main
from gptproxy.config import ConfigurationError, Problem
from gptproxy.documents_command import _ProgressLine
from gptproxy.knowledge import FeedReport, KnowledgeError, Progress, Skipped
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


class Feeding:
    """In feed's place."""

    def __init__(self, outcome: FeedReport | Exception | Deferred[FeedReport]) -> None:
        self._outcome = outcome

    def __call__(
        self,
        database: Path,
        collection: str,
        paths: Sequence[Path],
        *,
        progress: Callable[[Progress], None],
        **more: object,
    ) -> Deferred[FeedReport]:
        progress(Progress(1, 2, 3, "a/b.md"))
        if isinstance(self._outcome, Deferred):
            return self._outcome
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return succeed(self._outcome)


def report(written: int, unchanged: int, *skipped: Skipped) -> FeedReport:
    """:return: what a feeding came to."""
    return FeedReport(
        written=written, unchanged=unchanged, skipped=tuple(skipped), passages=written * 2
    )


class AddDocumentsTests(SynchronousTestCase):
    """``gptproxy docs add`` with a reactor in memory."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.config = self.folder / "g.toml"
        self.config.write_text(CONFIGURATION.format(port=1))

    def add(
        self, outcome: object, ending: Callable[[MemoryReactorClock], None] | None = None
    ) -> tuple[int, str, str]:
        reactor = MemoryReactorClock()
        triggers: list[Callable[[], object]] = []
        reactor.addSystemEventTrigger = lambda phase, event, f: triggers.append(f)

        def react(start: Callable[[object], Deferred[None]], arguments: tuple[()]) -> None:
            done = start(reactor)
            if ending is not None:
                triggers[0]()
            results: list[object] = []
            done.addBoth(results.append)
            self.assertEqual(len(results), 1)
            raise SystemExit(0 if results[0] is None else 1)

        with (
            printed() as (out, err),
            mock.patch.object(documents_command, "react", react),
            mock.patch.object(documents_command, "feed", Feeding(outcome)),
        ):
            status = documents_command.add_documents(self.config, "birds", [self.folder])
        self.assertEqual(reactor.getDelayedCalls(), [])
        return status, out.getvalue(), err.getvalue()

    def test_a_report(self) -> None:
        """On stdout; what was skipped is on stderr, and status 1 where nothing is there in the end."""
        status, out, err = self.add(report(2, 1, Skipped("a.png", "not text")))
        self.assertEqual(status, 0)
        self.assertEqual(
            out, "birds: 2 documents added or changed (4 passages), 1 unchanged, 1 skipped\n"
        )
        self.assertIn("skipped a.png: not text\n", err)
        self.assertEqual(self.add(report(0, 1))[0], 0)
        self.assertEqual(self.add(report(0, 0))[0], 1)

    def test_expected_errors(self) -> None:
        """One line, status 1."""
        status, out, err = self.add(KnowledgeError("the file is damaged"))
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(err.splitlines()[-1], "gptproxy: the file is damaged")

    def test_an_embedding_model_that_no_upstream_has(self) -> None:
        """Is told before anything is read."""
        text = CONFIGURATION.format(port=1) + 'embedding_model = "ada-9"\n'
        self.config.write_text(
            text.replace("[knowledge]", '[upstream.deployments]\n"gpt-4" = "x"\n[knowledge]')
        )
        status, out, err = self.add(report(1, 0))
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertTrue(
            err.startswith(f"gptproxy: {self.config}: knowledge.embedding_model: The model 'ada-9'")
        )

    def test_what_nobody_foresaw(self) -> None:
        """Is status 1; the reactor's own words say what it was."""
        self.assertEqual(self.add(RuntimeError("odd"))[0], 1)

    def test_an_interruption(self) -> None:
        """One line says that nothing is lost; status 130."""
        status, out, err = self.add(Deferred(), lambda reactor: None)
        self.assertEqual((status, out), (130, ""))
        self.assertTrue(
            err.splitlines()[-1].startswith("gptproxy: interrupted; what was added stays")
        )

    def test_a_configuration_without_a_database(self) -> None:
        """Cannot be filled."""
        self.config.write_text("[access]\npure_proxy = true\n")
        with self.assertRaises(ConfigurationError) as caught:
            documents_command.add_documents(self.config, "birds", [])
        self.assertIn("knowledge: missing", str(caught.exception))

    def test_paths_that_are_not_there(self) -> None:
        """Are all told before anything is read."""
        with self.assertRaises(ConfigurationError) as caught:
            documents_command.add_documents(
                self.config, "birds", [Path("nowhere"), self.folder, Path("g.toml/x")]
            )
        self.assertEqual(
            str(caught.exception),
            "nowhere: cannot be read: No such file or directory\n"
            "g.toml/x: cannot be read: No such file or directory",
        )
        self.assertFalse((self.folder / "knowledge.db").exists())


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class ProgressTests(SynchronousTestCase):
    """For whoever watches."""

    def test_on_a_terminal(self) -> None:
        """One line that is written over, and gone at the end."""
        output = _Terminal()
        line = _ProgressLine(output)
        line.tell(Progress(1, 9, 3, "some/where/a.md"))
        line.end()
        self.assertEqual(output.getvalue(), "\r\x1b[K1/9 documents, 3 passages  a.md\r\x1b[K")

    def test_in_a_log(self) -> None:
        """A line for every tenth, however many documents."""
        output = StringIO()
        line = _ProgressLine(output)
        for done in range(1, 1001):
            line.tell(Progress(done, 1000, done, "a.md"))
        line.end()
        self.assertEqual(len(output.getvalue().splitlines()), 10)
        self.assertEqual(output.getvalue().splitlines()[-1], "1000/1000 documents, 1000 passages")
        output = StringIO()
        _ProgressLine(output).tell(Progress(0, 0, 0, ""))
        self.assertEqual(output.getvalue(), "0/0 documents, 0 passages\n")


class ProcessTests(SynchronousTestCase):
    """The command as the process that it is."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        (self.folder / "a.md").write_text("# Birds\n\nThe swift sleeps in the air.\n")

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
            (0, "birds: 1 documents added or changed (1 passages), 0 unchanged, 0 skipped\n"),
        )
        self.assertEqual(
            (again.returncode, again.stdout),
            (0, "birds: 0 documents added or changed (0 passages), 1 unchanged, 0 skipped\n"),
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
