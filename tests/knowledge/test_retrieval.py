"""A question finds the passages that answer it, or a failure that its caller can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gptproxy.config.knowledge_settings import KnowledgeSettings, TopicSettings
from gptproxy.knowledge import retrieval
from gptproxy.knowledge.errors import (
    KnowledgeError,
    MalformedEmbeddings,
    OtherModel,
    UnknownCollection,
)
from gptproxy.knowledge.feeding import feed
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.retrieval import Embed, Knowledge
from gptproxy.threads import BoundedThreads
from tests.knowledge.standins import DIMENSIONS, Embedding, SameThread, folder_of, vectors_of

_MODEL = "text-embedding-ada-002"
_TOPIC = TopicSettings(words=("fibjs",), documents="fibjs")
_DOCUMENTS = {
    "http.md": "# http\nThe http module serves requests in fibers",
    "db.md": "# db\nThe db module opens SQLite files",
    "ssl.md": "# ssl\nThe ssl module speaks TLS",
}


def _asking(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "fibjs"}, {"role": "user", "content": question}]


class ConsultTests(SynchronousTestCase):
    """Over a real database, with the threads stood in for."""

    def setUp(self) -> None:
        self.root = folder_of(self)
        (self.root / "docs").mkdir(parents=True)
        for name, text in _DOCUMENTS.items():
            (self.root / "docs" / name).write_text(text)
        self.database = self.root / "knowledge.db"
        self.embedding = Embedding()
        self.successResultOf(
            feed(
                self.database,
                "fibjs",
                [self.root / "docs"],
                embed=self.embedding,
                model=_MODEL,
                threads=SameThread(),
                progress=lambda _: None,
            )
        )
        self.embedding.calls.clear()

    def knowledge(self, embed: Embed | None = None, model: str = _MODEL) -> Knowledge:
        """The daemon's way in."""
        settings = KnowledgeSettings(self.database, model)
        return Knowledge(settings, embed or self.embedding, SameThread(), Clock())

    def consult(self, question: str) -> tuple[Passage, ...]:
        """What is found."""
        found: tuple[Passage, ...] = self.successResultOf(
            self.knowledge().consult(_TOPIC, _asking(question))
        )
        return found

    def test_the_nearest_come_first(self) -> None:
        """The last message is what is asked; passages come with source, titles and score."""
        found = self.consult("how does the ssl module speak TLS")
        self.assertEqual((found[0].source, found[0].heading), ("docs/ssl.md", "ssl"))
        self.assertEqual(found[0].text, "# ssl\n\nThe ssl module speaks TLS")
        scores = [one.score for one in found]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertTrue(all(0 < score <= 1.0001 for score in scores))
        self.assertEqual(self.embedding.calls, [["how does the ssl module speak TLS"]])

    def test_what_is_not_near_at_all_is_not_found(self) -> None:
        """There is a floor to the score and a limit to the count."""

        def embed(_: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            everything = vectors_of(list(_DOCUMENTS.values())).sum(axis=0)
            elsewhere = (everything == 0).astype(np.float32)
            return succeed(elsewhere[np.newaxis])

        found = self.successResultOf(self.knowledge(embed).consult(_TOPIC, _asking("q")))
        self.assertEqual(found, ())
        with mock.patch.object(retrieval, "_CANDIDATES", 2):
            self.assertEqual(len(self.consult("the module")), 2)

    def test_a_chat_that_asks_nothing(self) -> None:
        """An empty input would be refused upstream; nothing is asked of anyone."""
        for messages in ([], _asking(""), _asking(" \n"), None, [{"content": None}]):
            found = self.successResultOf(self.knowledge().consult(_TOPIC, messages))
            self.assertEqual(found, ())
        self.assertEqual(self.embedding.calls, [])

    def test_a_long_question_is_cut(self) -> None:
        """No text has more tokens than bytes: 8,192 bytes are within the model's limit."""
        self.consult("a" + "é" * 10_000)
        self.assertEqual(self.embedding.calls, [["a" + "é" * 4095]])

    def test_what_cannot_be_searched_costs_nothing(self) -> None:
        """No database, no collection, another model: told before the question is embedded."""
        other = TopicSettings(words=("x",), documents="other")
        asked = _asking("q")
        self.failureResultOf(self.knowledge().consult(other, asked), UnknownCollection)
        self.failureResultOf(self.knowledge(model="another").consult(_TOPIC, asked), OtherModel)
        self.database.unlink()
        self.failureResultOf(self.knowledge().consult(_TOPIC, asked), KnowledgeError)
        self.assertEqual(self.embedding.calls, [])

    def test_a_vector_that_cannot_be_searched_with(self) -> None:
        """Of another length, not finite, zero, none or two."""
        cases = [
            (np.ones((1, DIMENSIONS + 1)), OtherModel),
            (np.full((1, DIMENSIONS), np.nan), MalformedEmbeddings),
            (np.zeros((1, DIMENSIONS)), MalformedEmbeddings),
            (np.ones((2, DIMENSIONS)), MalformedEmbeddings),
            (np.ones((0, DIMENSIONS)), MalformedEmbeddings),
            (np.ones(DIMENSIONS), MalformedEmbeddings),
        ]
        for vectors, error in cases:
            answer = vectors.astype(np.float32)
            knowledge = self.knowledge(lambda _, answer=answer: succeed(answer))
            self.failureResultOf(knowledge.consult(_TOPIC, _asking("q")), error)

    def test_a_failure_of_the_embedding_call(self) -> None:
        """It is the caller's own error that comes back."""
        knowledge = self.knowledge(lambda _: fail(ZeroDivisionError()))
        self.failureResultOf(knowledge.consult(_TOPIC, _asking("q")), ZeroDivisionError)

    def test_cancelling_cancels_the_embedding_call(self) -> None:
        """A caller who leaves costs nothing more."""
        cancelled: list[object] = []
        waiting: Deferred[NDArray[np.float32]] = Deferred(cancelled.append)
        asked = self.knowledge(lambda _: waiting).consult(_TOPIC, _asking("q"))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(cancelled, [waiting])

    def test_each_question_has_its_own_answer(self) -> None:
        """Nothing that one caller does to its answer is seen by another."""
        knowledge = self.knowledge()
        first = knowledge.consult(_TOPIC, _asking("db"))
        self.successResultOf(first.addCallback(lambda _: None))
        self.assertTrue(self.successResultOf(knowledge.consult(_TOPIC, _asking("db"))))


class RealThreadsTests(TestCase):
    """The same through a pool of threads."""

    async def test_feeding_and_asking(self) -> None:
        """SQLite is worked from whatever thread is free, and nothing complains at the end."""
        from twisted.internet import reactor

        root = folder_of(self)
        for name, text in _DOCUMENTS.items():
            (root / name).write_text(text)
        threads = BoundedThreads(reactor, ThreadPool(2, 4), 50)  # type: ignore[arg-type]  # it is a module
        threads.startService()
        embedding = Embedding()
        try:
            await feed(
                root / "knowledge.db",
                "fibjs",
                [root],
                embed=embedding,
                model=_MODEL,
                threads=threads,
                progress=lambda _: None,
            )
            settings = KnowledgeSettings(root / "knowledge.db", _MODEL)
            knowledge = Knowledge(settings, embedding, threads, reactor)
            asked = [knowledge.consult(_TOPIC, _asking(f"{name} module")) for name in ("db", "ssl")]
            dropped = knowledge.consult(_TOPIC, _asking("http"))
            dropped.cancel()
            self.failureResultOf(dropped, CancelledError)
            found = [(await one)[0].heading for one in asked]
        finally:
            await threads.stopService()
        self.assertEqual(found, ["db", "ssl"])
