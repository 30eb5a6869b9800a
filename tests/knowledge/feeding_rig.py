"""A folder, a database, and what feeds the one to the other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.knowledge.embedding_runs import Embed
from gptproxy.knowledge.embedding_runs import Embedding as HowToEmbed
from gptproxy.knowledge.feeding import Feeding, FeedReport, Progress
from gptproxy.knowledge.local_source import LocalSource
from gptproxy.knowledge.vector_sets import EmbeddingModel
from tests.knowledge.content import content
from tests.knowledge.standins import Embedding, SameThread, folder_of

_LONG = "This is a sentence of some words. " * 25


class FeedingCase(SynchronousTestCase):
    """Whole runs over real files and a real database."""

    def setUp(self) -> None:
        self.root = folder_of(self)
        self.docs = self.root / "docs"
        self.docs.mkdir(parents=True)
        self.database = self.root / "knowledge.db"
        self.embedding = Embedding()
        self.progress: list[Progress] = []
        self.clock = Clock()

    def write(self, name: str, text: str | bytes) -> None:
        """Put a file into the folder that is fed."""
        data = text if isinstance(text, bytes) else text.encode()
        (self.docs / name).write_bytes(data)

    def feeding(
        self, embed: Embed | None = None, model: str = "m", threads: object = None, at_once: int = 4
    ) -> Feeding:
        """What feeds."""
        how = HowToEmbed(embed or self.embedding, EmbeddingModel(model), at_once)
        return Feeding(
            self.database, how, threads or SameThread(), self.progress.append, self.clock
        )  # type: ignore[arg-type]  # stand-ins

    def feed(self, model: str = "m") -> FeedReport:
        """Feed the folder to the end."""
        report: FeedReport = self.successResultOf(self.start(model=model))
        return report

    def start(self, embed: Embed | None = None, **more: object) -> Deferred[FeedReport]:
        """Begin to feed the folder."""
        feeding = self.feeding(embed, **more)  # type: ignore[arg-type]  # as it comes
        return feeding.feed("c", [LocalSource(self.docs, SameThread())])

    def sync(self, **more: object) -> FeedReport:
        """Sync to the end."""
        feeding = self.feeding(**more)  # type: ignore[arg-type]  # as it comes
        report: FeedReport = self.successResultOf(
            feeding.sync(lambda spec: LocalSource(Path(spec), SameThread()))
        )
        return report

    def revision(self) -> int:
        """The collection's."""
        with closing(sqlite3.connect(self.database)) as connection:
            return int(connection.execute("SELECT revision FROM collections").fetchone()[0])

    def assert_fresh(self) -> None:
        """The database says what one that is built now would."""
        fresh = self.root / "fresh.db"
        fresh.unlink(missing_ok=True)
        how = HowToEmbed(Embedding(), EmbeddingModel("m"))
        self.successResultOf(
            Feeding(fresh, how, SameThread(), lambda _: None, Clock()).feed(
                "c", [LocalSource(self.docs, SameThread())]
            )
        )
        self.assertEqual(content(self.database), content(fresh))
