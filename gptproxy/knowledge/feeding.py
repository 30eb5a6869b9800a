"""
Documents on disk become passages in the database.

Reading, cutting and writing run in the thread pool, the embedding calls between them on the
reactor. Work goes in batches that fit one embedding call, so memory stays flat whatever is fed, and
every document is committed by itself: whatever ends a run, what it has written stays, and the next
one goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from twisted.internet.defer import Deferred

from gptproxy.knowledge.embeddings import unit_rows
from gptproxy.knowledge.errors import MalformedEmbeddings
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.retrieval import Embed
from gptproxy.knowledge.sources import (
    FoundFile,
    Skipped,
    Unfit,
    content_hash,
    document,
    find_files,
    printable,
    read_text,
)
from gptproxy.knowledge.store import Document, KnowledgeStore
from gptproxy.knowledge.tokens import token_bound
from gptproxy.threads import Threads, TooBusy

__all__ = ["FeedReport", "Progress", "feed"]

# The API takes 2,048 inputs and 300,000 tokens in a call; Azure's usual quota is 350,000 tokens a
# minute, so a call stays well under it.
_BATCH_INPUTS = 100
_BATCH_TOKENS = 100_000
# Files that are looked at before progress is told again, where none of them has changed.
_BATCH_FILES = 200


@frozen
class Progress:
    """
    How far it has come.

    :param done_documents: files that are written, unchanged or skipped.
    :param total_documents: files that were found.
    :param passages: passages written in this run.
    :param current_path: the file that was last looked at.
    """

    done_documents: int
    total_documents: int
    passages: int
    current_path: str


@frozen
class FeedReport:
    """
    What was done.

    :param written: documents that are new or have changed.
    :param unchanged: documents that were there already.
    :param passages: passages written.
    :param skipped: files that could not be fed, each with the reason.
    """

    written: int
    unchanged: int
    passages: int
    skipped: tuple[Skipped, ...]


@frozen
class _Batch:
    """Documents whose vectors are wanted together, and how far the run is when they are written."""

    documents: list[Document] = field(factory=list)
    done: int = 0
    current_path: str = ""
    last: bool = False


def feed(
    store_path: Path,
    collection: str,
    paths: Sequence[Path],
    *,
    embed: Embed,
    model: str,
    threads: Threads,
    progress: Callable[[Progress], None],
) -> Deferred[FeedReport]:
    """
    Feed files and folders to a collection.

    :param store_path: the database; made where there is none.
    :param collection: the collection's name; made where there is none.
    :param paths: files and folders.
    :param embed: embeds texts, at most 100 and 100,000 tokens a call; it does its own retrying.
    :param model: the OpenAI name of the model it embeds with.
    :param threads: where files and database are worked on.
    :param progress: called on the reactor with each step.
    :return: fires with the report. Fails with :class:`~gptproxy.knowledge.errors.KnowledgeError`,
        :class:`~gptproxy.threads.TooBusy`, or whatever ``embed`` fails with; the
            documents written until
        then stay, and none is in it by half. The same holds when it is cancelled.
    """
    feeding = _Feeding(store_path, collection, model, paths)
    return Deferred.fromCoroutine(_feed(feeding, embed, threads, progress))


async def _feed(
    feeding: _Feeding, embed: Embed, threads: Threads, progress: Callable[[Progress], None]
) -> FeedReport:
    try:
        await threads.run(feeding.begin)
        last = False
        while not last:
            batch = await threads.run(feeding.next_batch)
            vectors = await _embedded(batch.documents, embed)
            await threads.run(feeding.write, batch.documents, vectors)
            progress(feeding.progress(batch))
            last = batch.last
    finally:
        try:
            await threads.run(feeding.close)
        except (
            TooBusy
        ):  # the service is being stopped; closing waits for a write that still runs, milliseconds
            feeding.close()
    return feeding.report()


async def _embedded(documents: Sequence[Document], embed: Embed) -> NDArray[np.float32]:
    """:return: one unit vector for each passage of the documents, in order."""
    inputs = [_input(excerpt) for one in documents for excerpt in one.excerpts]
    parts: list[NDArray[np.float32]] = []
    for call in _calls(inputs):
        vectors = unit_rows(await embed(call))
        if len(vectors) != len(call):
            raise MalformedEmbeddings(f"{len(vectors)} vectors for {len(call)} inputs")
        if parts and parts[0].shape[1] != vectors.shape[1]:
            raise MalformedEmbeddings("the vectors of two embedding calls differ in length")
        parts.append(vectors)
    return np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)


def _input(excerpt: Excerpt) -> str:
    """:return: what is embedded: a passage says more with the titles it stands under."""
    return f"{excerpt.heading}\n\n{excerpt.text}" if excerpt.heading else excerpt.text


def _calls(inputs: Sequence[str]) -> Iterator[list[str]]:
    """Cut inputs into calls within both bounds; one input alone is always within them."""
    call: list[str] = []
    tokens = 0
    for one in inputs:
        need = token_bound(one)
        if call and (len(call) == _BATCH_INPUTS or tokens + need > _BATCH_TOKENS):
            yield call
            call, tokens = [], 0
        call.append(one)
        tokens += need
    if call:
        yield call


class _Feeding:
    """
    The blocking half of a run. Its methods run in pool threads, one after another.

    A document that would carry a batch over a bound is kept back for the next one; only a document
    that is too large by itself makes a batch of several calls.
    """

    def __init__(
        self, store_path: Path, collection: str, model: str, paths: Sequence[Path]
    ) -> None:
        self._store_path = store_path
        self._collection = collection
        self._model = model
        self._paths = paths
        self._open = ExitStack()
        self._files: Iterator[FoundFile] = iter(())
        self._kept_back: Document | None = None
        self._skipped: list[Skipped] = []
        self._total = self._looked_at = self._written = self._unchanged = self._passages = 0
        self._current_path = ""

    def begin(self) -> None:
        """Open the database and find the files."""
        self._store = KnowledgeStore(self._store_path)
        self._open.callback(self._store.close)
        self._store.require(self._collection, self._model)
        files, self._skipped = find_files(self._paths)
        self._total = len(files)
        self._files = iter(files)

    def close(self) -> None:
        """Close the database, if it was opened."""
        self._open.close()

    def next_batch(self) -> _Batch:
        """:return: the next documents that are not in the database as they are now."""
        documents: list[Document] = []
        inputs = tokens = 0
        for _ in range(_BATCH_FILES):
            one, self._kept_back = self._kept_back, None
            if one is None:
                file = next(self._files, None)
                if file is None:
                    return self._batch(documents, last=True)
                one = self._changed(file)
            if one is None:
                continue
            inputs += len(one.excerpts)
            tokens += sum(token_bound(_input(excerpt)) for excerpt in one.excerpts)
            if documents and (inputs > _BATCH_INPUTS or tokens > _BATCH_TOKENS):
                self._kept_back = one
                break
            documents.append(one)
        return self._batch(documents, last=False)

    def write(self, documents: Sequence[Document], vectors: NDArray[np.float32]) -> None:
        """
        Write documents, one transaction each.

        :param documents: from :meth:`next_batch`.
        :param vectors: shape (number of all their passages, d).
        """
        start = 0
        for one in documents:
            end = start + len(one.excerpts)
            if self._store.put(self._collection, self._model, one, vectors[start:end]):
                self._written += 1
                self._passages += len(one.excerpts)
            else:  # another run has written it meanwhile
                self._unchanged += 1
            start = end

    def progress(self, batch: _Batch) -> Progress:
        """:return: how far the run is when the batch is written."""
        return Progress(batch.done, self._total, self._passages, batch.current_path)

    def report(self) -> FeedReport:
        """:return: what was done."""
        return FeedReport(self._written, self._unchanged, self._passages, tuple(self._skipped))

    def _changed(self, file: FoundFile) -> Document | None:
        """:return: the file's document; None where it is skipped or unchanged."""
        location = printable(file.path)
        self._looked_at += 1
        self._current_path = location
        try:
            text = read_text(file)
        except Unfit as error:
            self._skipped.append(Skipped(location, str(error)))
            return None
        if self._store.holds(self._collection, location, content_hash(file, text)):
            self._unchanged += 1
            return None
        return document(file, text)

    def _batch(self, documents: list[Document], *, last: bool) -> _Batch:
        done = self._looked_at - (self._kept_back is not None)
        return _Batch(documents, done, self._current_path, last)
