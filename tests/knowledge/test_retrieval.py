"""A chat's question becomes passages, in time or not at all."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config.knowledge_settings import KnowledgeSettings
from gptproxy.knowledge.errors import KnowledgeError, SearchOverdue, UnknownCollection
from gptproxy.knowledge.passages import Excerpt, Passage
from gptproxy.knowledge.reading import Source
from gptproxy.knowledge.retrieval import Embed, Knowledge
from gptproxy.knowledge.searching import Asking
from gptproxy.threads import TooBusy
from tests.knowledge.standins import Embedding, SameThread, folder_of, put_document, vectors_of

_TEXTS = ("the http module serves", "the db module opens SQLite files", "the ssl module: TLS")


def _same(passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
    return passages


class ConsultCase(SynchronousTestCase):
    """Over a real database, with the threads stood in for; without tests of its own."""

    def setUp(self) -> None:
        self.path: Path = folder_of(self) / "k.db"
        excerpts = [Excerpt("", text) for text in _TEXTS]
        put_document(self.path, "docs", "m", "d/a.md", excerpts, vectors_of(_TEXTS))
        self.embedding = Embedding()
        self.clock = Clock()
        self.events: list[str] = []
        observer = lambda event: self.events.append(event["log_format"])  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def knowledge(self, embed: Embed | None = None) -> Knowledge:
        self.asked_for: list[tuple[str, int | None]] = []

        def embed_for(model: str, dimensions: int | None) -> Embed:
            self.asked_for.append((model, dimensions))
            return embed or self.embedding

        return Knowledge(KnowledgeSettings(self.path), embed_for, SameThread(), self.clock)

    def texts(self, deferred: Deferred[tuple[Passage, ...]]) -> list[str]:
        return [passage.text for passage in self.successResultOf(deferred)]


class ConsultTests(ConsultCase):
    """What comes of a question."""

    def test_passages_are_found(self) -> None:
        """The question is embedded with the model of the collection's vectors."""
        found = self.texts(self.knowledge().find("docs", "SQLite files?"))
        self.assertEqual(found[0], _TEXTS[1])
        self.assertEqual(self.asked_for, [("m", None)])
        self.assertEqual(self.embedding.calls, [["SQLite files?"]])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_question_is_embedded_once(self) -> None:
        """While a chat goes on with tools, and when many ask the same."""
        knowledge = self.knowledge()
        put_document(self.path, "more", "m", "m/a.md", [Excerpt("", "x")], vectors_of(["x"]))
        for _ in range(3):
            self.texts(knowledge.find("docs", "SQLite"))
        self.texts(knowledge.consult([Asking("docs"), Asking("more")], "SQLite", None, _same))
        self.assertEqual(self.embedding.calls, [["SQLite"]])

    def test_nothing_asked(self) -> None:
        """Costs nothing, and is not told as a failure."""
        self.assertEqual(self.texts(self.knowledge().find("docs", " \n")), [])
        self.assertEqual(self.embedding.calls, [])

    def test_without_embeddings_words_find(self) -> None:
        """Whatever the call fails with, or answers; the log says so."""

        def embeds(*answers: Deferred[NDArray[np.float32]]) -> Embed:
            rest = list(answers)
            return lambda texts: rest.pop(0)

        for embed in (
            embeds(fail(RuntimeError("upstream down"))),
            embeds(succeed(np.zeros((1, 64), np.float32))),
            embeds(succeed(np.ones((2, 64), np.float32))),
            mock.Mock(side_effect=ValueError("no upstream has the model")),
        ):
            self.events.clear()
            self.assertEqual(self.texts(self.knowledge(embed).find("docs", "SQLite")), [_TEXTS[1]])
            self.assertIn("words alone", self.events[0])

    def test_of_another_length(self) -> None:
        """A vector that does not fit those of the collection is as good as none."""
        answer = lambda texts: succeed(np.ones((1, 3), np.float32))  # noqa: E731
        self.assertEqual(self.texts(self.knowledge(answer).find("docs", "SQLite")), [_TEXTS[1]])

    def test_a_collection_without_vectors(self) -> None:
        """Is searched by words, and nothing is paid for a vector."""
        put_document(self.path, "bare", None, "b/a.md", [Excerpt("", "SQLite alone")])
        self.assertEqual(self.texts(self.knowledge().find("bare", "SQLite")), ["SQLite alone"])
        self.assertEqual(self.embedding.calls, [])

    def test_slow_embeddings(self) -> None:
        """Leave enough of the time for words; their call is ended."""
        cancelled: list[object] = []
        found = self.knowledge(lambda texts: Deferred(cancelled.append)).find("docs", "SQLite")
        self.clock.advance(1.1)
        self.assertNoResult(found)
        self.clock.advance(0.2)
        self.assertEqual(self.texts(found), [_TEXTS[1]])
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_search_that_takes_too_long(self) -> None:
        """Is given up after the time that the settings give."""
        knowledge = self.knowledge()
        knowledge._threads = mock.Mock()
        knowledge._threads.run.return_value = Deferred()
        found = knowledge.find("docs", "SQLite")
        self.clock.advance(1.99)
        self.assertNoResult(found)
        self.clock.advance(0.02)
        self.failureResultOf(found, SearchOverdue)

    def test_a_caller_who_leaves(self) -> None:
        """Ends the embedding call, and is not searched for by words."""
        cancelled: list[object] = []
        found = self.knowledge(lambda texts: Deferred(cancelled.append)).find("docs", "SQLite")
        found.cancel()
        self.failureResultOf(found, CancelledError)
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_may_read(self) -> None:
        """Is asked about each source before anything is searched."""
        put_document(
            self.path, "docs", None, "p/a.md", [Excerpt("", "SQLite secret")], project="a/b"
        )
        asked: list[tuple[str, str | None]] = []

        async def may_read(name: str, source: Source) -> bool:
            asked.append((name, source.project))
            return source.project is None

        found = self.knowledge().consult([Asking("docs")], "SQLite", may_read, _same)
        self.assertNotIn("SQLite secret", self.texts(found))
        self.assertEqual(asked, [("docs", None), ("docs", "a/b")])
        self.assertIn("SQLite secret", self.texts(self.knowledge().find("docs", "SQLite secret")))

    def test_what_comes_while_the_caller_is_judged(self) -> None:
        """A source that nobody was asked about is not read, nor one that is the members' own since."""
        secret = [Excerpt("", "SQLite secret")]
        put_document(self.path, "docs", None, "p/a.md", secret, project="a/b")

        async def may_read(_: str, source: Source) -> bool:
            put_document(
                self.path, "docs", None, "q/a.md", secret, project="c/d", members_only=True
            )
            put_document(
                self.path, "docs", None, "p/a.md", secret, project="a/b", members_only=True
            )
            return not source.members_only

        found = self.knowledge().consult([Asking("docs")], "SQLite", may_read, _same)
        texts = self.texts(found)
        self.assertEqual(texts[0], _TEXTS[1])
        self.assertNotIn("SQLite secret", texts)

    def test_a_database_in_the_place_of_another(self) -> None:
        """While the caller is judged: its sources are others, whatever their numbers."""
        other = self.path.with_name("other.db")
        put_document(other, "docs", None, "p/a.md", [Excerpt("", "SQLite secret")], project="a/b")

        async def may_read(_: str, source: Source) -> bool:
            if other.exists():
                other.replace(self.path)
            return source.project is None

        found = self.knowledge().consult([Asking("docs")], "SQLite", may_read, _same)
        self.assertEqual(self.texts(found), [])

    def test_collections_that_are_not_there(self) -> None:
        """One of several is told and passed over; the only one fails."""
        askings = [Asking("none"), Asking("docs")]
        self.assertEqual(
            self.texts(self.knowledge().consult(askings, "SQLite", None, _same))[0], _TEXTS[1]
        )
        self.failureResultOf(self.knowledge().find("none", "SQLite"), UnknownCollection)
        self.path.unlink()
        self.failureResultOf(self.knowledge().find("docs", "SQLite"), KnowledgeError)

    def test_busy_threads(self) -> None:
        """Are told as they are."""
        knowledge = self.knowledge()
        knowledge._threads = mock.Mock()
        knowledge._threads.run.side_effect = lambda *args: fail(TooBusy("512 jobs"))
        self.failureResultOf(knowledge.find("docs", "SQLite"), TooBusy)

    def test_what_is_made_of_them(self) -> None:
        """In the thread that found them."""
        count = self.knowledge().consult([Asking("docs")], "SQLite", None, len)
        self.assertEqual(self.successResultOf(count), 1)
