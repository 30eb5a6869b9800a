"""
One run over the sources of one collection.

May import Twisted. Reading, cutting and writing run in the thread pool, the embedding calls between
them on the reactor, several at a time. Work goes in batches that fit one embedding call, so memory
stays flat whatever is fed, and some batches at a time are committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptproxy.knowledge.batches import Batch, Batches
from gptproxy.knowledge.embedding_runs import Embedding, EmbeddingRun
from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.feed_report import FeedReport, Progress, sum_of
from gptproxy.knowledge.formats import excerpts_of
from gptproxy.knowledge.grouped_writes import GROUP_BATCHES, GroupedWrites
from gptproxy.knowledge.putting import Document
from gptproxy.knowledge.sources import Contents, FoundFile, Skipped, Source, blob_id, content_hash
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.knowledge.vector_sets import VectorSet
from gptproxy.threads import Threads

__all__ = ["CollectionRun"]

# Files that are looked at between two signs of progress.
_FILES_AT_ONCE = 200


class CollectionRun:
    """
    :param store: the database, open for writing.
    :param collection: the collection's name.
    :param embedding: how passages get their vectors; None: they are found by their words alone.
    :param threads: where files and database are worked on.
    :param tell: called on the reactor with each step.
    :param clock: for how long what is embedded waits to be committed.
    """

    def __init__(
        self,
        store: KnowledgeStore,
        collection: str,
        embedding: Embedding | None,
        threads: Threads,
        tell: Callable[[Progress], None],
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._collection = collection
        self._embedding = embedding
        self._threads = threads
        self._tell = tell
        self._clock = clock
        self._report = FeedReport()
        self._noting = threading.Lock()
        self._done = self._total = 0
        self._set: VectorSet | None = None
        # Whether there may be vectors to use again; asking for each is a tenth of a first feeding's time.
        self._had_vectors = False
        # What the database has of the files that are looked at: asked for once for all of them, because the file's
        # one connection is busy writing meanwhile.
        self._states: dict[str, tuple[bytes, str | None]] = {}

    async def everything(
        self, sources: Sequence[Source], *, members_only: bool | None = None
    ) -> FeedReport:
        """:return: what was done."""
        run = self._threads.run
        totals: dict[int, tuple[Source, int]] = {}
        for source in sources:
            try:
                total = await source.begin()
            except Unreachable as error:
                unread = Skipped(source.spec, str(error))
                self._note(FeedReport(unread=(unread,)))
                continue
            source_id = await run(self._source_id, source, members_only)
            totals[source_id] = source, total
            self._total += total
        collection_id = await run(self._store.collection_id, self._collection)
        if collection_id is None:
            return self._report  # no source could be read
        embedding = None
        if self._embedding is not None:
            embedding = EmbeddingRun(self._store, self._embedding, self._threads)
            self._set = await embedding.ready_set(collection_id, self._filling)
        else:
            self._set = await run(self._store.vectors.active, collection_id)
        self._had_vectors = self._set is not None and self._set.dimensions is not None
        for source_id, (source, _) in totals.items():
            await self._read(source_id, source, embedding)
        return self._report

    def _source_id(self, source: Source, members_only: bool | None) -> int:
        if members_only is None:
            for row in self._store.sources(self._collection):
                if row.spec == source.spec:
                    return row.source_id
        return self._store.add_source(
            self._collection, source.spec, source.project, members_only=bool(members_only)
        )

    async def _read(self, source_id: int, source: Source, embedding: EmbeddingRun | None) -> None:
        run = self._threads.run
        await run(self._store.begin_reading)
        writes = GroupedWrites(partial(self._put, source_id, source), self._clock)
        async with Batches(
            self._write_with(writes, embedding), self._in_flight() + GROUP_BATCHES
        ) as batches:
            while files := await source.some(_FILES_AT_ONCE):
                changed = await run(self._changed, source_id, files)
                self._step(source, len(files) - len(changed))
                while changed:
                    contents = await source.read(changed)
                    changed = changed[len(contents) :]
                    documents = await run(self._cut, contents)
                    self._step(source, len(contents) - len(documents))
                    for document in documents:
                        await batches.add(document)
            writes.hurry()
        removed = 0
        if source.complete:
            removed = await run(self._store.end_reading, source_id, int(time.time()))
        self._note(FeedReport(removed=removed, skipped=tuple(source.notes)))

    def _in_flight(self) -> int:
        return self._embedding.batches_in_flight if self._embedding is not None else 1

    def _changed(self, source_id: int, files: Sequence[FoundFile]) -> list[FoundFile]:
        """:return: the files that have to be read, as far as that is known before."""
        fresh = self._store.see(file.location for file in files)
        files = [
            file for file in {one.location: one for one in files}.values() if file.location in fresh
        ]
        self._states = self._store.states(source_id, fresh)
        hashes = {
            file.location: content_hash(file, file.blob_id)
            for file in files
            if file.blob_id is not None
        }
        return self._without(files, hashes)

    def _without(self, files: Sequence[FoundFile], hashes: Mapping[str, bytes]) -> list[FoundFile]:
        """:return: the files without those that are in the database with these hashes."""
        same: dict[str, str | None] = {}
        for location, hashed in hashes.items():
            known, unfit_because = self._states.get(location, (None, None))
            if known == hashed:
                same[location] = unfit_because
        unfit = tuple(Skipped(where, why) for where, why in same.items() if why is not None)
        self._note(FeedReport(unchanged=len(same) - len(unfit), skipped=unfit))
        return [file for file in files if file.location not in same]

    def _cut(self, contents: Sequence[Contents]) -> list[Document]:
        """:return: the documents among the files that have changed."""
        hashes: dict[str, bytes] = {}
        blobs: dict[str, str] = {}
        for one in contents:
            location = one.file.location
            if isinstance(one.data, Unreachable):
                self._skip(location, str(one.data))
                continue
            if isinstance(one.data, Unfit):
                blobs[location] = one.file.blob_id or ""
            else:
                blobs[location] = one.file.blob_id or blob_id(one.data)
            # Of what is unfit before its bytes are known, the reason is all that there is.
            hashes[location] = content_hash(one.file, blobs[location] or str(one.data))
        wanted = {file.location for file in self._without([one.file for one in contents], hashes)}
        documents = []
        for one in contents:
            location = one.file.location
            if location not in wanted or location not in hashes:
                continue
            document = Document(location, one.file.name, blobs[location], hashes[location])
            try:
                if isinstance(one.data, bytes):
                    excerpts, note = excerpts_of(one.data, one.file.format)
                    if note:
                        self._skip(location, note)
                    document = Document(*_head(document), excerpts)
                elif isinstance(one.data, Unfit):
                    raise one.data
            except Unfit as error:
                self._skip(location, str(error))
                document = Document(*_head(document), unfit=str(error))
            except Unreachable as error:  # what reads it is not installed
                self._skip(location, str(error))
                continue
            documents.append(document)
        return documents

    def _skip(self, location: str, reason: str) -> None:
        self._note(FeedReport(skipped=(Skipped(location, reason),)))

    def _write_with(
        self, writes: GroupedWrites, embedding: EmbeddingRun | None
    ) -> Callable[[Batch], Deferred[None]]:
        async def write(batch: Batch) -> None:
            vectors: dict[str, bytes] = {}
            found = self._set
            if found is not None:
                if self._had_vectors:
                    known = self._store.vectors.known
                    vectors = await self._threads.run(known, found, batch.hashes())
                if embedding is not None:
                    vectors |= await embedding.vectors(found, batch.inputs(vectors))
            await writes.write(batch.documents, vectors)

        return lambda batch: Deferred.fromCoroutine(write(batch))

    async def _put(
        self,
        source_id: int,
        source: Source,
        documents: Sequence[Document],
        vectors: Mapping[str, bytes],
    ) -> None:
        set_id = None if self._set is None else self._set.set_id
        written = await self._threads.run(self._store.put, source_id, documents, vectors, set_id)
        unfit = sum(one.unfit is not None for one in documents)
        self._note(
            FeedReport(written.documents - unfit, written.unchanged, passages=written.passages)
        )
        self._step(source, len(documents))

    def _note(self, more: FeedReport) -> None:
        """Add to the report: on the reactor while a thread cuts documents, and adds to it as well."""
        with self._noting:
            self._report = sum_of(self._report, more)

    def _step(self, source: Source, files: int) -> None:
        self._done += files
        self._tell(Progress(source.spec, self._done, self._total, self._report.passages))

    def _filling(self, done: int, total: int) -> None:
        what = (
            f"{self._collection}: vectors of {self._embedding.model.name}"
            if self._embedding
            else ""
        )
        self._tell(Progress(what, done, total, self._report.passages))


def _head(document: Document) -> tuple[str, str, str, bytes]:
    return document.location, document.name, document.blob_id, document.content_hash
