"""``gptproxy docs add`` and ``sync``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest import mock

from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy import documents_command
from gptproxy.config import ConfigurationError
from gptproxy.knowledge import KnowledgeError
from gptproxy.knowledge.feeding import Feeding, FeedReport
from gptproxy.knowledge.sources import Skipped
from tests.knowledge.standins import SameThread
from tests.top.rig import folder_of, printed

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


class _Threads(SameThread):
    """A service, as the real ones are."""

    def __init__(self, reactor: object) -> None:
        pass

    def startService(self) -> None:
        """Nothing to start."""

    def stopService(self) -> Deferred[None]:
        """:return: has fired already."""
        return succeed(None)


def feeding(outcome: object) -> Callable[..., Deferred[FeedReport]]:
    """:return: what takes the place of feed and sync."""

    def feed(*arguments: object, **more: object) -> Deferred[FeedReport]:
        if isinstance(outcome, Deferred):
            return outcome
        if isinstance(outcome, Exception):
            raise outcome
        return succeed(outcome)  # type: ignore[arg-type]  # a report

    return feed


def report(
    written: int, unchanged: int, *skipped: Skipped, unread: tuple[Skipped, ...] = ()
) -> FeedReport:
    """:return: what a feeding came to."""
    return FeedReport(
        written=written,
        unchanged=unchanged,
        skipped=tuple(skipped),
        passages=written * 2,
        unread=unread,
    )


class AddDocumentsTests(SynchronousTestCase):
    """``gptproxy docs add`` with a reactor in memory."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.config = self.folder / "g.toml"
        self.config.write_text(CONFIGURATION.format(port=1))

    def add(
        self,
        outcome: object,
        ending: Callable[[MemoryReactorClock], None] | None = None,
        call: Callable[[], int] | None = None,
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
            mock.patch.object(Feeding, "feed", feeding(outcome)),
            mock.patch.object(Feeding, "sync", feeding(outcome)),
            mock.patch.object(documents_command, "build_indexes"),
            mock.patch.object(documents_command, "command_threads", _Threads),
        ):
            status = (call or self.adding)()
        self.assertEqual(reactor.getDelayedCalls(), [])
        return status, out.getvalue(), err.getvalue()

    def adding(self) -> int:
        return documents_command.add_documents(self.config, "birds", [str(self.folder)])

    def test_a_sync(self) -> None:
        """Says what it came to; status 1 where a source could not be read."""
        sync = partial(documents_command.sync_documents, self.config, None)
        status, out, _ = self.add(report(0, 3), call=sync)
        self.assertEqual(
            (status, out),
            (0, "0 documents added or changed (0 passages), 3 unchanged, 0 removed, 0 skipped\n"),
        )
        away = Skipped("/docs", "No such file or directory")
        status, _, err = self.add(report(0, 3, unread=(away,)), call=sync)
        self.assertEqual(status, 1)
        self.assertIn("not read /docs: No such file or directory; what was fed of it stays\n", err)

    def test_without_embeddings(self) -> None:
        """No upstream need have the model."""
        text = CONFIGURATION.format(port=1) + 'embedding_model = "ada-9"\n'
        self.config.write_text(
            text.replace("[knowledge]", '[upstream.deployments]\n"gpt-4" = "x"\n[knowledge]')
        )
        sync = partial(documents_command.sync_documents, self.config, None, embeddings=False)
        self.assertEqual(self.add(report(1, 0), call=sync)[0], 0)

    def test_gitlab_sources(self) -> None:
        """Need a GitLab; a misspelt one is told before anything is read."""
        add = partial(documents_command.add_documents, self.config, "birds", ["gitlab:a/b"])
        self.assertEqual(self.add(report(1, 0), call=add)[0], 0)
        text = CONFIGURATION.format(port=1).replace(
            '[gitlab]\nurl = "https://git.corp.com"',
            '[[user_token]]\nuser_id = "a"\ntoken = "secret-token-of-a"',
        )
        self.config.write_text(text)
        status, _, err = self.add(report(1, 0), call=add)
        self.assertEqual(status, 1)
        self.assertIn("has no [gitlab]", err)
        with self.assertRaises(ConfigurationError) as caught:
            documents_command.add_documents(self.config, "birds", ["gitlab:alone", "\udcff"])
        self.assertIn("must be gitlab:group/project", str(caught.exception))
        self.assertIn("not UTF-8", str(caught.exception))

    def test_a_report(self) -> None:
        """On stdout; what was skipped is on stderr, and status 1 where nothing is there in the end."""
        status, out, err = self.add(report(2, 1, Skipped("a.png", "not text")))
        self.assertEqual(status, 0)
        self.assertEqual(
            out,
            "birds: 2 documents added or changed (4 passages), 1 unchanged, 0 removed, 1 skipped\n",
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
        self.assertEqual((status, out, err.count("\n")), (1, "", 2))
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
                self.config, "birds", ["nowhere", str(self.folder), "g.toml/x"]
            )
        self.assertEqual(
            str(caught.exception),
            "nowhere: cannot be read: No such file or directory\n"
            "g.toml/x: cannot be read: No such file or directory",
        )
        self.assertFalse((self.folder / "knowledge.db").exists())
