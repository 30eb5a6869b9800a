"""``gptproxy setup``: what it asks, checks and writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import settings_from
from gptproxy.http import InvalidURL, NoAnswer, OwnAnswer
from gptproxy.setup_command import Dialogue, _conversation, _GivenUp, set_up, write_units
from gptproxy.setup_files import Upstream, configuration_text, replace_file
from gptproxy.setup_units import unit_files, worker_unit
from tests.top.rig import ROOT, SECONDS, environment, folder_of, printed

SHIPPED = ROOT / "etc" / "gptproxy" / "gptproxy.toml"
KEY = "azure-key-4f29ec7c"
GITLAB = OwnAnswer(401, b'{"message":"401 Unauthorized"}')
MODELS = OwnAnswer(200, b'{"data":[]}')
AZURE = ["git.example.org", "1", "gpt1", KEY, "gpt-4o", "gpt-4=gpt4-eu", ""]


class Calls:
    """Answers in the order given, whatever is asked."""

    def __init__(self, *answers: OwnAnswer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], **bounds: object
    ) -> OwnAnswer:
        self.asked.append((url, headers))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class ConversationTests(SynchronousTestCase):
    """With answers prepared."""

    def setUp(self) -> None:
        self.path = folder_of(self) / "gptproxy.toml"
        self.said: list[str] = []

    def converse(self, calls: Calls, *answers: str, before: str = "") -> int:
        left = list(answers)

        def ask(question: str) -> str:
            self.said.append(question)
            return left.pop(0)

        talk = Dialogue(ask, ask, self.said.append)
        with (
            mock.patch("gptproxy.setup_command.agent_for"),
            mock.patch("gptproxy.setup_command.own_calls", return_value=calls),
        ):
            talking = Deferred.fromCoroutine(_conversation(None, self.path, before, talk))  # type: ignore[arg-type]  # nothing connects
            found: list[object] = []
            talking.addBoth(found.append)
        self.assertEqual(left, [])
        (result,) = found
        if isinstance(result, Failure):
            result.raiseException()
        assert isinstance(result, int)
        return result

    def written(self) -> dict[str, object]:
        return tomllib.loads(self.path.read_text())

    def test_azure(self) -> None:
        """Both are checked, the file is written for its group alone, and the first call is printed."""
        calls = Calls(GITLAB, MODELS)
        self.assertEqual(self.converse(calls, *AZURE), 0)
        self.assertEqual(
            [url for url, _ in calls.asked],
            [
                "https://git.example.org/api/v4/version",
                "https://gpt1.openai.azure.com/openai/models?api-version=2024-10-21",
            ],
        )
        self.assertEqual(calls.asked[1][1], {"api-key": KEY})
        self.assertEqual(
            self.written(),
            {
                "gitlab": {"url": "https://git.example.org"},
                "upstream": [
                    {
                        "name": "primary",
                        "kind": "azure",
                        "resource": "gpt1",
                        "api_key": KEY,
                        "deployments": {"gpt-4o": "gpt-4o", "gpt-4": "gpt4-eu"},
                    }
                ],
            },
        )
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        self.assertIn("curl --cacert", self.said[-1])
        self.assertIn('"model": "gpt-4o"', self.said[-1])
        self.assertNotIn(KEY, "".join(self.said))

    def test_openai(self) -> None:
        """By its bearer."""
        calls = Calls(OwnAnswer(200, b'{"version":"18.0"}'), MODELS)
        self.converse(calls, "https://git.example.org/", "2", "sk-proj-4f29ec7c")
        self.assertEqual(
            calls.asked[1],
            ("https://api.openai.com/v1/models", {"authorization": "Bearer sk-proj-4f29ec7c"}),
        )

    def test_another_server(self) -> None:
        """May do without a key."""
        calls = Calls(GITLAB, MODELS)
        self.converse(calls, "git.example.org", "3", "http://vllm.example.org:8000", "")
        self.assertEqual(calls.asked[1], ("http://vllm.example.org:8000/v1/models", {}))
        self.assertNotIn("api_key", self.written()["upstream"][0])  # type: ignore[index]  # a list

    def test_azure_by_its_address(self) -> None:
        """Is taken for one."""
        calls = Calls(GITLAB, MODELS)
        self.converse(calls, "git.example.org", "1", "https://gpt.example.org", KEY, "gpt-4o", "")
        self.assertIn("https://gpt.example.org/openai/models", calls.asked[1][0])

    def test_answers_that_cannot_be(self) -> None:
        """Are asked for again."""
        calls = Calls(GITLAB, MODELS)
        self.converse(
            calls,
            "ftp://git.example.org",
            "http://git.example.org",
            "git.example.org",
            "7",
            *AZURE[1:3],
            "your-api-key",
            "gpt-4o",
            "",
            *AZURE[1:],
        )
        said = "\n".join(self.said)
        self.assertIn("One of 1, 2, 3", said)
        self.assertIn("is a placeholder", said)

    def test_checks_that_fail(self) -> None:
        """Say why; what is wrong is asked for again, or written all the same."""
        calls = Calls(
            OwnAnswer(200, b"<html>a login page</html>"),
            InvalidURL("x"),
            GITLAB,
            OwnAnswer(401, b'{"error":{}}'),
            OwnAnswer(404, b"nothing"),
            NoAnswer("ConnectFailed"),
        )
        self.converse(
            calls,
            *("git.example.org", "", "git.example.org", "n", "git.example.org"),
            *(*AZURE[1:], ""),
            *(*AZURE[1:], "no"),
            *(*AZURE[1:], "y"),
        )
        said = "\n".join(self.said)
        for words in ("not as GitLab", "is no address", "not take the key", "list of models"):
            self.assertIn(words, said)
        self.assertIn("no answer from", said)
        self.assertIn("upstream", self.written())

    def test_the_shipped_file(self) -> None:
        """Keeps every word; what is uncommented later stays where it stands."""
        before = SHIPPED.read_text()
        self.converse(Calls(GITLAB, MODELS), *AZURE, before=before)
        text = self.path.read_text()
        self.assertTrue(text.startswith(before))
        later = text.replace("#header_bytes", "header_bytes")
        settings = settings_from(
            tomllib.loads(later), source="g.toml", directory=self.path.parent, environ={}
        )
        self.assertEqual(len(settings.upstreams), 1)

    def test_a_file_that_is_wrong_elsewhere(self) -> None:
        """Is not made worse."""
        with self.assertRaises(_GivenUp) as caught:
            self.converse(Calls(GITLAB, MODELS), *AZURE, before="nonsense = 1\n")
        self.assertIn("nonsense", str(caught.exception))
        self.assertFalse(self.path.exists())


class FileTests(SynchronousTestCase):
    """Before anything is asked, and how it is written."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.path = self.folder / "gptproxy.toml"

    def refused(self, path: Path) -> str:
        with printed() as (out, err):
            self.assertEqual(set_up(path), 1)
        self.assertEqual(out.getvalue(), "")
        return err.getvalue()

    def test_refused(self) -> None:
        """What is configured already, what is no TOML, and what is not there."""
        self.path.write_text('[gitlab]\nurl = "https://x"\n[[upstream]]\n')
        self.assertIn("has [gitlab] and [upstream] already", self.refused(self.path))
        self.path.write_text("[[[")
        self.assertIn("is not TOML", self.refused(self.path))
        self.assertIn("is not there: make it", self.refused(self.folder / "none" / "g.toml"))
        self.assertIn("cannot be read: Is a directory", self.refused(self.folder))
        with mock.patch("os.access", return_value=False):
            self.assertIn("run this as root", self.refused(self.folder / "new.toml"))

    def test_replace(self) -> None:
        """Mode and link stay; what fails leaves everything as it was."""
        self.path.write_text("old")
        self.path.chmod(0o604)
        link = self.folder / "link"
        link.symlink_to(self.path)
        replace_file(link, "new", 0o640)
        self.assertEqual(self.path.read_text(), "new")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o604)
        self.assertTrue(link.is_symlink())
        with mock.patch("os.fsync", side_effect=OSError(28, "full")), self.assertRaises(OSError):
            replace_file(self.path, "newer", 0o640)
        self.assertEqual(self.path.read_text(), "new")
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["gptproxy.toml", "link"])

    def test_odd_characters(self) -> None:
        """Come back as they were."""
        odd = 'a"b\\c\td\x7fe\u00e9'
        upstream = Upstream(odd, "openai", {"url": odd}, odd, {odd: odd})
        found = tomllib.loads(configuration_text("", odd, upstream))
        self.assertEqual(found, {"gitlab": {"url": odd}, "upstream": [upstream.document()]})
        self.assertNotIn(odd, repr(upstream.__class__("n", "openai", {}, odd, {})))


class UnitTests(SynchronousTestCase):
    """``--systemd``."""

    def test_texts(self) -> None:
        """The package's units, with this installation's command and file."""
        found = unit_files("/opt/gpt proxy/100%/bin/twistd", Path("/etc/gptproxy/g.toml"))
        service = found[Path("/etc/systemd/system/gptproxy.service")]
        self.assertIn(
            '\nExecStart="/opt/gpt proxy/100%%/bin/twistd" --nodaemon --pidfile= gptproxy '
            "--config /etc/gptproxy/g.toml --port ssl:443\n",
            service,
        )
        self.assertNotIn("/usr/bin/twistd3", service)
        self.assertNotIn("man:", "".join(found.values()))
        self.assertIn("\nSystemCallFilter=", service)
        worker = found[Path("/etc/systemd/system/gptproxy@.service")]
        for line in ("Sockets=gptproxy.socket", "NonBlocking=yes", "StateDirectory=gptproxy"):
            self.assertIn(f"\n{line}\n", worker)
        # What one has of its own must not be another's.
        self.assertIn(
            "\nRuntimeDirectory=gptproxy-%i\nBindPaths=/run/gptproxy-%i:/run/gptproxy\n", worker
        )
        self.assertNotIn("\nRuntimeDirectory=gptproxy\n", worker)
        self.assertNotIn("Sockets=", service)
        with self.assertRaises(ValueError):
            worker_unit(worker)

    def test_written(self) -> None:
        """Below the root, with what to do next; an installation that the service cannot see is refused."""
        root = folder_of(self)
        twistd = root / "bin" / "twistd"
        twistd.parent.mkdir()
        with mock.patch.object(sys, "executable", str(twistd.parent / "python")):
            with printed() as (_, err):
                self.assertEqual(write_units(None, root), 1)
            self.assertIn("is not there", err.getvalue())
            twistd.touch()
            with printed() as (out, _):
                self.assertEqual(write_units(None, root), 0)
            with printed() as (_, err):
                self.assertEqual(write_units(None, twistd), 1)
            self.assertIn("cannot be written", err.getvalue())
        self.assertIn("systemctl enable --now gptproxy.socket gptproxy.service", out.getvalue())
        service = (root / "etc/systemd/system/gptproxy.service").read_text()
        self.assertIn(f"ExecStart={twistd} ", service)
        with (
            mock.patch.object(sys, "executable", "/home/me/venv/bin/python"),
            mock.patch.object(Path, "exists", return_value=True),
            printed() as (_, err),
        ):
            self.assertEqual(write_units(None, root), 1)
        self.assertIn("is in a home", err.getvalue())


class ProcessTests(SynchronousTestCase):
    """The command itself, in front of the stand-ins."""

    def test_the_command(self) -> None:
        """Answers by a pipe; interrupted before its end it writes nothing."""
        folder = folder_of(self)
        path = folder / "g.toml"
        with subprocess.Popen(
            [sys.executable, "-m", "gptproxy.sandbox", "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        ) as sandbox:
            assert sandbox.stdout is not None
            addresses = json.loads(sandbox.stdout.readline())
            answers = [addresses["gitlab"], "1", addresses["azure"], "azure-key-primary", "gpt-4o"]

            def run(lines: list[str]) -> subprocess.CompletedProcess[str]:
                return subprocess.run(
                    [sys.executable, "-m", "gptproxy", "setup", "--config", str(path)],
                    input="".join(f"{line}\n" for line in lines),
                    capture_output=True,
                    text=True,
                    env=environment(),
                    timeout=SECONDS,
                    check=False,
                )

            done = run(answers)
            self.assertEqual(done.returncode, 130, done.stderr)
            self.assertIn("nothing was written", done.stderr)
            self.assertFalse(path.exists())
            done = run([*answers, ""])
            sandbox.terminate()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("The upstream answers, and takes the key.", done.stdout)
        self.assertIn("GitLab answers.", done.stdout)
        found = settings_from(
            tomllib.loads(path.read_text()), source="g", directory=folder, environ=os.environ
        )
        self.assertEqual(found.upstreams[0].name, "primary")
