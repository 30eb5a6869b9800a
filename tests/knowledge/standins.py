"""What tests of this room give in place of threads and of an embedding call."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.knowledge.embedding_runs import Embed
from gptproxy.knowledge.embedding_runs import Embedding as HowToEmbed
from gptproxy.knowledge.embeddings import unit_rows
from gptproxy.knowledge.feeding import Feeding, FeedReport
from gptproxy.knowledge.local_source import LocalSource
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.putting import Document
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.knowledge.vector_sets import EmbeddingModel

_P = ParamSpec("_P")
_T = TypeVar("_T")

DIMENSIONS = 64


def folder_of(test: SynchronousTestCase) -> Path:
    """:return: an empty folder that goes with the test."""
    folder = Path(tempfile.mkdtemp())
    test.addCleanup(shutil.rmtree, folder)
    return folder


class SameThread:
    """Runs each job where it is asked for."""

    def run(self, f: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """:return: has fired already."""
        return maybeDeferred(f, *args, **kwargs)


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """:return: shape (n, 64): how often words of the text occur, by a hash of each."""
    matrix = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in zip(matrix, texts, strict=True):
        for word in text.casefold().split():
            row[hashlib.sha256(word.encode()).digest()[0] % DIMENSIONS] += 1
    return matrix


class Embedding:
    """An embedding call that answers at once, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Deferred[NDArray[np.float32]]:
        self.calls.append(list(texts))
        return succeed(vectors_of(texts))


def put_document(
    path: Path,
    collection: str,
    model: str | None,
    name: str,
    excerpts: Sequence[Excerpt],
    vectors: NDArray[np.float32] | None = None,
    *,
    project: str | None = None,
    members_only: bool = False,
) -> None:
    """Write a document of the source ``/NAME's first folder``; without a model, without vectors."""
    root = name.partition("/")[0]
    with closing(KnowledgeStore(path)) as store:
        spec = f"gitlab:{project}" if project else f"/{root}"
        source_id = store.add_source(collection, spec, project, members_only=members_only)
        collection_id = store.collection_id(collection)
        assert collection_id is not None
        by_hash: dict[str, bytes] = {}
        set_id = None
        state = hashlib.sha256(repr((name, tuple(excerpts))).encode()).digest()
        document = Document(f"/{name}", name, state.hex()[:40], state, tuple(excerpts))
        if model is not None and vectors is not None:
            found = store.vectors.wanted(collection_id, EmbeddingModel(model))
            if not found.active:
                found = store.vectors.activate(found)
            set_id = store.vectors.fix_dimensions(found, vectors.shape[1]).set_id
            rows = unit_rows(vectors).astype("<f4")
            by_hash = {one: row.tobytes() for one, row in zip(document.hashes, rows, strict=True)}
        store.put(source_id, [document], by_hash, set_id)


def feed_folder(
    path: Path,
    collection: str,
    folders: Sequence[Path],
    embed: Embed | None,
    model: str = "text-embedding-ada-002",
) -> Deferred[FeedReport]:
    """Feed folders or files, as ``gptproxy docs add`` does."""
    threads = SameThread()
    embedding = None if embed is None else HowToEmbed(embed, EmbeddingModel(model))
    sources = [LocalSource(folder, threads) for folder in folders]
    return Feeding(path, embedding, threads, lambda _: None, Clock()).feed(collection, sources)
