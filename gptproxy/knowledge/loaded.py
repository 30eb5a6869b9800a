"""
What is held in memory of the collections, and when it is read again.

Blocking: called in pool threads, by several at once. A collection is loaded when it is first asked
about and again when the database or its index file has another state; one thread loads at a time,
the others answer from the last complete state where there is one. Of a large collection the index
is mapped, and only the vectors that it has not yet are held; of a small one, all are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from gptproxy.knowledge.errors import KnowledgeError
from gptproxy.knowledge.index_file import MappedIndex, index_path, map_index
from gptproxy.knowledge.reading import ActiveSet, Collection, KnowledgeReader

__all__ = ["COUNTED_PASSAGES", "Loaded", "LoadedCollections"]

_RELOAD_PAUSE_S: Final = 5.0
"""
While a collection is fed its revision changes many times a second; reading it each time would cost
every chat tenths of a second. New documents are found after this time at the latest.
"""

_RELOAD_SHARE: Final = 10
"""The pause is at least so many times what loading took: a large collection is not read all the time."""

_MATRIX_BYTES_MAX: Final = 2**31
"""350,000 vectors of 1,536 dimensions, twice while they are replaced: far over what has no index."""

COUNTED_PASSAGES: Final = 300_000
"""Counting so many takes some 20 ms, once when the collection is loaded."""

_IDS_AT_ONCE: Final = 20_000
_FLOAT32_BYTES: Final = 4


@frozen(eq=False)
class Loaded:
    """
    A collection's vectors as they were at one revision.

    :param collection: what the database said of it.
    :param index: of the vectors that it has; None where there is none.
    :param ids: shape (n,): the passages that the index has not.
    :param matrix: shape (n, dimensions): their vectors.
    :param passages: how many the collection has, counted up to :data:`COUNTED_PASSAGES`.
    :param loaded_at_s: when, by the clock that was given.
    :param pause_s: how long it is not loaded again.
    :param word_counts: how many passages have a word, of those that were asked for: the commonest ones come again and
        again, and take the longest to count. Any thread adds to it.
    """

    collection: Collection
    index: MappedIndex | None = field(repr=False)
    ids: NDArray[np.int64] = field(repr=False)
    matrix: NDArray[np.float32] = field(repr=False)
    passages: int
    loaded_at_s: float
    pause_s: float
    word_counts: dict[str, int] = field(factory=dict, repr=False)

    def same_vectors_as(self, collection: Collection) -> bool:
        """:return: whether a question for the collection, as it is now, can be asked here."""
        return (
            self.collection.database_id == collection.database_id
            and self.collection.collection_id == collection.collection_id
            and self.collection.active == collection.active
        )


class LoadedCollections:
    """
    Keeps collections of one database: as many as are asked about.

    :param path: the SQLite file.
    :param seconds: a monotonic clock that any thread may read.
    """

    def __init__(self, path: Path, seconds: Callable[[], float]) -> None:
        self._path = path
        self._seconds = seconds
        self._loading = threading.Lock()
        self._loaded: dict[str, Loaded] = {}

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._path

    def current(self, reader: KnowledgeReader, name: str) -> Loaded:
        """
        Give a collection's vectors, loaded if need be.

        :param reader: of the database.
        :param name: the collection's.
        :return: as they are, or were some seconds ago; none where it has no active set.
        :raise UnknownCollection: there is no such collection.
        :raise KnowledgeError: the database is corrupt or cannot be read, or an index is missing.
        """
        collection = reader.collection(name)
        loaded = self._usable(name, collection)
        if loaded is not None and self._is_fresh(loaded, collection):
            return loaded
        if not self._loading.acquire(blocking=loaded is None) and loaded is not None:
            return loaded  # another thread loads; until it is done the last complete state answers
        try:
            loaded = self._usable(name, collection)
            if loaded is None or not self._is_fresh(loaded, collection):
                loaded = self._load(reader, collection, loaded)
                self._loaded[name] = loaded
        finally:
            self._loading.release()
        return loaded

    def _usable(self, name: str, collection: Collection) -> Loaded | None:
        loaded = self._loaded.get(name)
        return loaded if loaded is not None and loaded.same_vectors_as(collection) else None

    def _is_fresh(self, loaded: Loaded, collection: Collection) -> bool:
        if loaded.collection == collection and self._index_state(collection) == _state(
            loaded.index
        ):
            return True
        return self._seconds() - loaded.loaded_at_s < loaded.pause_s

    def _index_state(self, collection: Collection) -> tuple[int, int, int] | None:
        try:
            status = index_path(self._path, collection.collection_id).stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _load(
        self, reader: KnowledgeReader, collection: Collection, earlier: Loaded | None
    ) -> Loaded:
        started = self._seconds()
        active = collection.active
        index = None
        ids, matrix = np.empty(0, dtype=np.int64), np.empty((0, 0), dtype=np.float32)
        if active is not None:
            index = self._index(collection, active)
            ids, matrix = self._vectors(reader, active, index, collection, earlier)
        passages = reader.passage_count(collection, COUNTED_PASSAGES)
        ended = self._seconds()
        pause = max(_RELOAD_PAUSE_S, _RELOAD_SHARE * (ended - started))
        return Loaded(collection, index, ids, matrix, passages, ended, pause)

    def _index(self, collection: Collection, active: ActiveSet) -> MappedIndex | None:
        """:return: the collection's index, if it is of the vectors that are active now."""
        index = map_index(index_path(self._path, collection.collection_id))
        if index is None or (
            index.head.database_id,
            index.head.collection_id,
            index.head.set_id,
            index.head.dimensions,
        ) != (
            collection.database_id.hex(),
            collection.collection_id,
            active.set_id,
            active.dimensions,
        ):
            return None
        return index

    def _vectors(
        self,
        reader: KnowledgeReader,
        active: ActiveSet,
        index: MappedIndex | None,
        collection: Collection,
        earlier: Loaded | None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """:return: ids and vectors of what the index has not."""
        if index is not None and index.head.revision == collection.revision:
            return np.empty(0, dtype=np.int64), np.empty((0, active.dimensions), dtype=np.float32)
        wanted = reader.vector_ids(active)
        if index is not None:
            wanted = _without(wanted, index.ids)
        if len(wanted) * active.dimensions * _FLOAT32_BYTES > _MATRIX_BYTES_MAX:
            raise KnowledgeError(
                f"{self._path}: {len(wanted)} passages are too many to search without an index;"
                " `gptproxy docs sync` makes it"
            )
        matrix = np.empty((len(wanted), active.dimensions), dtype=np.float32)
        missing, kept = wanted, 0
        ids = np.empty(len(wanted), dtype=np.int64)
        if earlier is not None and len(earlier.ids):
            # A vector is never changed in place: most are held already.
            order = np.argsort(earlier.ids)
            missing = _without(wanted, earlier.ids[order])
            for start in range(0, len(earlier.ids), 200):
                some = earlier.ids[start : start + 200]
                still = np.flatnonzero(~_absent(some, wanted))
                matrix[kept : kept + len(still)] = earlier.matrix[start + still]
                ids[kept : kept + len(still)] = some[still]
                kept += len(still)
        for found, piece in reader.vectors(active, missing):
            matrix[kept : kept + len(found)] = piece
            ids[kept : kept + len(found)] = found
            kept += len(found)
        return ids[:kept], matrix[:kept]


def _absent(ids: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.bool_]:
    """:return: shape of the first: which of them are not among the second, which rise."""
    if not len(known):
        return np.ones(len(ids), dtype=np.bool_)
    places = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    absent: NDArray[np.bool_] = known[places] != ids
    return absent


def _without(ids: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """:return: those that are not among the second, which rise; in pieces, to let others run."""
    pieces = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[start : start + _IDS_AT_ONCE]
        pieces.append(some[_absent(some, known)])
    return np.concatenate(pieces)


def _state(index: MappedIndex | None) -> tuple[int, int, int] | None:
    return None if index is None else index.state
