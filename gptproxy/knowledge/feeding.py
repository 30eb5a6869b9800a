"""
Sources become passages in the database.

May import Twisted. One command works on a database at a time, and commits its work some batches at
a time: whatever ends a run, what it has written stays, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptproxy.knowledge.collection_run import CollectionRun
from gptproxy.knowledge.database import exclusively
from gptproxy.knowledge.embedding_runs import Embedding
from gptproxy.knowledge.feed_report import FeedReport, Progress, sum_of
from gptproxy.knowledge.sources import Source
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.threads import Threads, TooBusy

__all__ = ["FeedReport", "Feeding", "Progress"]


class Feeding:
    """
    One command's work on a database, which nobody else writes to meanwhile.

    :param path: the database; made where there is none.
    :param embedding: how passages get their vectors; None: they are found by their words alone.
    :param threads: where files and database are worked on.
    :param tell: called on the reactor with each step.
    :param clock: for how long what is embedded waits to be committed.
    """

    def __init__(
        self,
        path: Path,
        embedding: Embedding | None,
        threads: Threads,
        tell: Callable[[Progress], None],
        clock: IReactorTime,
    ) -> None:
        self._path = path
        self._embedding = embedding
        self._threads = threads
        self._tell = tell
        self._clock = clock

    def feed(
        self, collection: str, sources: Sequence[Source], *, members_only: bool = False
    ) -> Deferred[FeedReport]:
        """
        Add sources to a collection and read them, or read them again.

        :param collection: its name; made where there is none.
        :param sources: each to be read once.
        :param members_only: only members of a source's GitLab project may read its passages.
        :return: fires with the report. Fails with
            :class:`~gptproxy.knowledge.errors.KnowledgeError`, or whatever embedding fails with;
            what was written until then stays. The same holds when it is cancelled.
        """

        async def work(store: KnowledgeStore) -> FeedReport:
            run = self._run(store, collection)
            return await run.everything(sources, members_only=members_only)

        return Deferred.fromCoroutine(self._with_store(work))

    def sync(
        self, opened: Callable[[str], Source], collection: str | None = None
    ) -> Deferred[FeedReport]:
        """
        Read all sources again, and change what has changed.

        :param opened: makes the source that a spec names. :raise KnowledgeError: it cannot.
        :param collection: whose sources; None: of all collections.
        :return: as :meth:`feed`.
        """

        async def work(store: KnowledgeStore) -> FeedReport:
            report = FeedReport()
            rows = await self._threads.run(store.sources, collection)
            for name in dict.fromkeys(row.collection for row in rows):
                run = self._run(store, name)
                sources = [opened(row.spec) for row in rows if row.collection == name]
                report = sum_of(report, await run.everything(sources))
            return report

        return Deferred.fromCoroutine(self._with_store(work))

    def _run(self, store: KnowledgeStore, collection: str) -> CollectionRun:
        return CollectionRun(
            store, collection, self._embedding, self._threads, self._tell, self._clock
        )

    async def _with_store(
        self, work: Callable[[KnowledgeStore], Coroutine[Deferred[object], object, FeedReport]]
    ) -> FeedReport:
        with exclusively(self._path):
            store = await self._threads.run(KnowledgeStore, self._path)
            try:
                await self._threads.run(store.sweep)
                report = await work(store)
                await self._threads.run(store.sweep)
                return report
            finally:
                try:
                    await self._threads.run(store.close)
                except TooBusy:  # the service stops; closing waits for a write that still runs
                    store.close()
