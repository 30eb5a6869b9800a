"""
The vectors that are held in memory, and when they are read again.

Blocking: called in pool threads, by several at once. A collection is loaded when it is first asked
about and again when its revision in the database has changed; one thread loads at a time, the
others answer from the last complete state where there is one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from gptproxy.knowledge.errors import OtherModel
from gptproxy.knowledge.nearest import nearest
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.reading import Collection, KnowledgeReader

__all__ = ["LoadedCollections"]

# While a collection is fed its revision changes many times a second; reading the matrix each time
# would cost every chat tenths of a second. New documents are found after this time at the latest.
_RELOAD_PAUSE_S = 5.0


@frozen(eq=False)
class _Loaded:
    """A collection's vectors as they were at one revision, loaded at a time in seconds."""

    collection: Collection
    loaded_at_s: float
    ids: NDArray[np.int64] = field(repr=False)
    matrix: NDArray[np.float32] = field(repr=False)

    def same_vectors_as(self, collection: Collection) -> bool:
        """:return: whether a question for the collection, as it is now, can be asked here."""
        return (
            self.collection.collection_id == collection.collection_id
            and self.collection.embedding_model == collection.embedding_model
            and self.collection.dimensions == collection.dimensions
        )


class LoadedCollections:
    """
    Searches collections of one database, whose vectors it keeps. As many are kept as topics are
    configured.

    :param path: the SQLite file.
    :param seconds: a monotonic clock that any thread may read.
    """

    def __init__(self, path: Path, seconds: Callable[[], float]) -> None:
        self._path = path
        self._seconds = seconds
        self._loading = threading.Lock()
        self._loaded: dict[str, _Loaded] = {}

    def prepare(self, name: str, model: str) -> None:
        """
        Check that a collection can be searched, and load it, before money is spent on a question's
        vector.

        :param name: the collection's.
        :param model: the OpenAI name of the model that questions are embedded with.
        :raise KnowledgeError: see :meth:`search`.
        """
        with KnowledgeReader(self._path) as reader:
            self._current(reader, name, model)

    def search(
        self, name: str, model: str, question: NDArray[np.float32], limit: int, floor: float
    ) -> tuple[Passage, ...]:
        """
        Find the passages nearest to a question.

        :param name: the collection's.
        :param model: the OpenAI name of the model that the question was embedded with.
        :param question: shape (d,), unit length.
        :param limit: passages at most.
        :param floor: the least score.
        :return: passages by falling score.
        :raise UnknownCollection: there is no such collection.
        :raise OtherModel: its vectors are of another model or another length.
        :raise KnowledgeError: the database is missing, corrupt, or cannot be read.
        """
        with KnowledgeReader(self._path) as reader:
            loaded = self._current(reader, name, model)
            if question.shape != (loaded.collection.dimensions,):
                raise OtherModel(
                    f"{self._path}: the question's vector has {question.size} dimensions,"
                    f" collection {name!r} has {loaded.collection.dimensions}"
                )
            return reader.passages(nearest(loaded.matrix, loaded.ids, question, limit, floor))

    def _current(self, reader: KnowledgeReader, name: str, model: str) -> _Loaded:
        collection = reader.collection(name)
        if collection.embedding_model != model:
            raise OtherModel(
                f"{self._path}: collection {name!r} is embedded with"
                f" {collection.embedding_model!r}, not with {model!r}"
            )
        loaded = self._usable(name, collection)
        if loaded is not None and self._is_fresh(loaded, collection):
            return loaded
        if not self._loading.acquire(blocking=loaded is None) and loaded is not None:
            return loaded  # another thread loads; until it is done the last complete state answers
        try:
            loaded = self._usable(name, collection)
            if loaded is None or not self._is_fresh(loaded, collection):
                ids, matrix = reader.vectors(collection)
                loaded = _Loaded(collection, self._seconds(), ids, matrix)
                self._loaded[name] = loaded
        finally:
            self._loading.release()
        return loaded

    def _usable(self, name: str, collection: Collection) -> _Loaded | None:
        loaded = self._loaded.get(name)
        return loaded if loaded is not None and loaded.same_vectors_as(collection) else None

    def _is_fresh(self, loaded: _Loaded, collection: Collection) -> bool:
        if loaded.collection.revision == collection.revision:
            return True
        return self._seconds() - loaded.loaded_at_s < _RELOAD_PAUSE_S
