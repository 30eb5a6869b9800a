"""
What the daemon reads from the knowledge database: vectors, words' ranks, and the texts of passages.

Blocking: for pool threads, never for the reactor thread. One reader is one state of the file: it is
opened read-only for one search and closed after it, so a database that is fed, or replaced,
meanwhile is noticed by the next search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as Members
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import orjson
from numpy.typing import NDArray

from gptproxy.knowledge.collection import ActiveSet, Collection, Source
from gptproxy.knowledge.database import naming_errors, open_for_reading
from gptproxy.knowledge.errors import KnowledgeError, UnknownCollection
from gptproxy.knowledge.passages import Passage

__all__ = ["ActiveSet", "Collection", "KnowledgeReader", "Source"]

_FLOAT32_BYTES = 4
# Few enough that no copy of them holds the interpreter for a millisecond: 200 of 6 KiB each.
_ROWS_AT_ONCE = 200
_IDS_AT_ONCE = 2_000
# Float32 rounding leaves a unit vector's squared length within about 1e-6 of 1.
_UNIT_TOLERANCE = 1e-3
# Some ten thousand a second: how often SQLite asks whether it is to stop.
_OPERATIONS_BETWEEN_LOOKS = 10_000


class KnowledgeReader:
    """
    One state of the database, open for reading, in a ``with`` statement.

    :param path: the SQLite file.
    :raise KnowledgeError: it is missing, corrupt, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with naming_errors(path):
            self._state = _file_state(path) if path.exists() else None
        self._connection, self._immutable = open_for_reading(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()
        # An immutable file is read without locks: what was read while somebody wrote may be a
        # mixture.
        with naming_errors(self._path):
            if self._immutable and self._state != _file_state(self._path):
                raise KnowledgeError(f"{self._path}: the file changed while it was read") from error

    def names(self) -> tuple[str, ...]:
        """:return: the collections' names."""
        with naming_errors(self._path):
            rows = self._connection.execute("SELECT name FROM collections ORDER BY collection_id")
            return tuple(name for (name,) in rows)

    def collection(self, name: str) -> Collection:
        """
        Look a collection up.

        :param name: as the operator wrote it.
        :return: what the database says about it.
        :raise UnknownCollection: there is none of that name.
        """
        with naming_errors(self._path):
            row = self._connection.execute(
                "SELECT database_id, collection_id, revision FROM identity, collections"
                " WHERE name = ?",
                (name,),
            ).fetchone()
            if row is None:
                raise UnknownCollection(f"{self._path}: there is no collection {name!r}")
            active = self._connection.execute(
                "SELECT set_id, model, dimensions_asked, dimensions FROM embedding_sets"
                " WHERE collection_id = ? AND state = 'active' AND dimensions IS NOT NULL",
                (row[1],),
            ).fetchone()
        return Collection(row[0], row[1], row[2], None if active is None else ActiveSet(*active))

    def is_alone(self, collection: Collection) -> bool:
        """
        Tell whether the database has nothing else.

        :param collection: from this reader.
        :return: whether there is no other collection.
        """
        others = "SELECT count(*) FROM (SELECT 1 FROM collections WHERE collection_id != ? LIMIT 1)"
        return self._count(others, (collection.collection_id,)) == 0

    def sources(self, collection: Collection) -> tuple[Source, ...]:
        """
        Tell where a collection's documents are from.

        :param collection: from this reader.
        :return: its sources.
        """
        with naming_errors(self._path):
            rows = self._connection.execute(
                "SELECT source_id, project, members_only FROM sources WHERE collection_id = ?",
                (collection.collection_id,),
            ).fetchall()
        return tuple(Source(row[0], row[1], bool(row[2])) for row in rows)

    def passage_count(self, collection: Collection, most: int) -> int:
        """
        Count a collection's passages, without going through all of a large one.

        :param collection: from this reader.
        :param most: counted no further.
        :return: how many there are, or ``most``.
        """
        return self._count(
            "SELECT count(*) FROM (SELECT 1 FROM passages WHERE collection_id = ? LIMIT ?)",
            (collection.collection_id, most),
        )

    def vector_count(self, active: ActiveSet, most: int) -> int:
        """
        Count the passages that have a vector, without going through all of many.

        :param active: the set.
        :param most: counted no further.
        :return: how many there are, or ``most``.
        """
        return self._count(
            "SELECT count(*) FROM (SELECT 1 FROM vectors WHERE set_id = ? LIMIT ?)",
            (active.set_id, most),
        )

    def vector_ids(self, active: ActiveSet) -> NDArray[np.int64]:
        """
        List the passages that have a vector.

        :param active: the set.
        :return: their ids, shape (n,), rising.
        """
        pieces = [np.empty(0, dtype=np.int64)]
        with naming_errors(self._path):
            rows = self._connection.execute(
                "SELECT passage_id FROM vectors WHERE set_id = ? ORDER BY passage_id",
                (active.set_id,),
            )
            while some := rows.fetchmany(_IDS_AT_ONCE):
                pieces.append(np.fromiter((one for (one,) in some), np.int64, len(some)))
        return np.concatenate(pieces)

    def vectors(
        self, active: ActiveSet, ids: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """
        Read vectors.

        :param active: the set.
        :param ids: passages; one that has no vector in the set is left out.
        :return: pieces: ids, shape (some,), and unit vectors, shape (some, dimensions).
        :raise KnowledgeError: a stored vector is damaged.
        """
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            wanted = orjson.dumps(ids[start : start + _ROWS_AT_ONCE].tolist()).decode()
            with naming_errors(self._path):
                rows = self._connection.execute(
                    "SELECT passage_id, vector FROM vectors"
                    " WHERE set_id = ? AND passage_id IN (SELECT value FROM json_each(?))",
                    (active.set_id, wanted),
                ).fetchall()
            if rows:
                found = np.fromiter((row[0] for row in rows), np.int64, len(rows))
                yield found, self._matrix([row[1] for row in rows], active.dimensions)

    def word_hits(
        self, query: str, limit: int, overdue: Callable[[], bool]
    ) -> list[tuple[int, float]] | None:
        """
        Rank passages by their words.

        :param query: FTS5's, which names the collection.
        :param limit: passages at most.
        :param overdue: whether to stop; asked often.
        :return: passages' ids and BM25 scores, the best (and least) first; None where it was
            stopped.
        """
        with self._stopping(overdue):
            return self._connection.execute(
                "SELECT rowid, bm25(passage_words, 0.0, 2.0, 1.0) FROM passage_words"
                " WHERE passage_words MATCH ? ORDER BY 2, 1 LIMIT ?",
                (query, limit),
            ).fetchall()
        return None

    def word_count(self, query: str, most: int, overdue: Callable[[], bool]) -> int:
        """
        Count the passages that have words; a tenth of the time that ranking them takes.

        :param query: FTS5's, which names the collection.
        :param most: counted no further.
        :param overdue: whether to stop; asked often.
        :return: how many there are; ``most`` where it was stopped too.
        """
        with self._stopping(overdue):
            return self._count(
                "SELECT count(*) FROM"
                " (SELECT 1 FROM passage_words WHERE passage_words MATCH ? LIMIT ?)",
                (query, most),
            )
        return most

    def sources_of(self, passages: Sequence[int]) -> Mapping[int, int]:
        """
        Tell which source passages are from.

        :param passages: their ids.
        :return: the source's id of each that is there.
        """
        with naming_errors(self._path):
            return dict(
                self._connection.execute(
                    "SELECT passage_id, source_id FROM passages JOIN documents USING (document_id)"
                    " WHERE passage_id IN (SELECT value FROM json_each(?))",
                    (orjson.dumps(list(passages)).decode(),),
                )
            )

    def passages(
        self, scores: Sequence[tuple[int, float]], similarities: Mapping[int, float]
    ) -> tuple[Passage, ...]:
        """
        Fetch the texts of passages.

        :param scores: ids and scores.
        :param similarities: of those that have one.
        :return: the passages in the same order; one that is no longer there is left out.
        """
        texts: dict[int, tuple[str, str, str, str]] = {}
        with naming_errors(self._path):
            wanted = orjson.dumps([passage_id for passage_id, _ in scores]).decode()
            for row in self._connection.execute(
                "SELECT passage_id, documents.name, heading, text, collections.name FROM passages"
                " JOIN documents USING (document_id) JOIN collections USING (collection_id)"
                " WHERE passage_id IN (SELECT value FROM json_each(?))",
                (wanted,),
            ):
                texts[row[0]] = row[1:]
        return tuple(
            Passage(
                passage_id,
                source,
                heading,
                text,
                score,
                similarities.get(passage_id),
                collection,
            )
            for passage_id, score in scores
            if passage_id in texts
            for source, heading, text, collection in (texts[passage_id],)
        )

    def _count(self, statement: str, given: tuple[str | int, ...]) -> int:
        with naming_errors(self._path):
            (count,) = self._connection.execute(statement, given).fetchone()
        return int(count)

    @contextmanager
    def _stopping(self, overdue: Callable[[], bool]) -> Iterator[None]:
        """What is done within ends early, and without an error, when it is overdue."""
        connection = self._connection
        connection.set_progress_handler(overdue, _OPERATIONS_BETWEEN_LOOKS)
        try:
            with naming_errors(self._path):
                yield
        except KnowledgeError:
            if not overdue():
                raise
        finally:
            connection.set_progress_handler(None, 0)

    def _matrix(self, vectors: Members[bytes], dimensions: int) -> NDArray[np.float32]:
        """:return: shape (n, dimensions); what is not as we stored it is refused."""
        wanted = dimensions * _FLOAT32_BYTES
        if any(len(vector) != wanted for vector in vectors):
            raise KnowledgeError(f"{self._path}: a stored vector has a wrong length")
        flat = np.frombuffer(b"".join(vectors), dtype="<f4").astype(np.float32, copy=False)
        rows = flat.reshape(len(vectors), dimensions)
        squares = np.einsum("ij,ij->i", rows, rows)
        if not (np.abs(squares - 1) < _UNIT_TOLERANCE).all():  # false for NaN too
            raise KnowledgeError(f"{self._path}: a stored vector is damaged")
        return rows


def _file_state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
