"""
What the daemon reads from the knowledge database: a collection's vectors, and the texts of
passages.

Blocking: for pool threads, never for the reactor thread. One reader is one state of the file: it is
opened read-only for one search and closed after it, so a database that is fed, or replaced,
meanwhile is noticed by the next search.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from gptproxy.knowledge.database import naming_errors, open_for_reading
from gptproxy.knowledge.errors import KnowledgeError, UnknownCollection
from gptproxy.knowledge.nearest import Neighbour
from gptproxy.knowledge.passages import Passage

__all__ = ["Collection", "KnowledgeReader"]

_FLOAT32_BYTES = 4
# A matrix in memory, twice while it is replaced: 350,000 passages of 1,536 dimensions, far over
# what an exact search is fit for.
_MATRIX_BYTES_MAX = 2**31
_ROWS_AT_ONCE = 1000
# Float32 rounding leaves a unit vector's squared length within about 1e-6 of 1.
_UNIT_TOLERANCE = 1e-3


@frozen
class Collection:
    """
    What the database says about a collection.

    :param collection_id: its id.
    :param embedding_model: the OpenAI name of the model its vectors are of.
    :param dimensions: the vectors' length.
    :param revision: random bytes that change whenever anything in the collection does.
    """

    collection_id: int
    embedding_model: str
    dimensions: int
    revision: bytes


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

    def collection(self, name: str) -> Collection:
        """
        Look a collection up.

        :param name: as the operator wrote it.
        :return: what the database says about it.
        :raise UnknownCollection: there is none of that name.
        """
        with naming_errors(self._path):
            row = self._connection.execute(
                "SELECT collection_id, embedding_model, dimensions, revision"
                " FROM collections WHERE name = ?",
                (name,),
            ).fetchone()
        if row is None:
            raise UnknownCollection(f"{self._path}: there is no collection {name!r}")
        return Collection(*row)

    def vectors(self, collection: Collection) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """
        Load a collection's vectors.

        :param collection: from this reader.
        :return: the passages' ids, shape (n,), rising, and their unit vectors, shape (n,
            dimensions).
        :raise KnowledgeError: too many for memory, or a stored vector is damaged.
        """
        with naming_errors(self._path):
            (count,) = self._connection.execute(
                "SELECT count(*) FROM passages JOIN documents USING (document_id)"
                " WHERE collection_id = ?",
                (collection.collection_id,),
            ).fetchone()
            if count * collection.dimensions * _FLOAT32_BYTES > _MATRIX_BYTES_MAX:
                raise KnowledgeError(
                    f"{self._path}: {count} passages are too many to search in memory"
                )
            ids = np.empty(count, dtype=np.int64)
            matrix = np.empty((count, collection.dimensions), dtype=np.float32)
            rows = self._connection.execute(
                "SELECT passage_id, embedding FROM passages JOIN documents USING (document_id)"
                " WHERE collection_id = ? ORDER BY passage_id",
                (collection.collection_id,),
            )
            start = 0
            while some := rows.fetchmany(_ROWS_AT_ONCE):
                end = start + len(some)
                self._fill(matrix[start:end], [embedding for _, embedding in some])
                ids[start:end] = [passage_id for passage_id, _ in some]
                start = end
        return ids, matrix

    def passages(self, neighbours: Iterable[Neighbour]) -> tuple[Passage, ...]:
        """
        Fetch the texts of passages.

        :param neighbours: ids and scores.
        :return: the passages in the same order; one that is no longer there is left out.
        """
        with naming_errors(self._path):
            rows = [(neighbour, self._text(neighbour.passage_id)) for neighbour in neighbours]
        return tuple(
            Passage(neighbour.passage_id, *row, score=neighbour.score)
            for neighbour, row in rows
            if row is not None
        )

    def _text(self, passage_id: int) -> tuple[str, str, str] | None:
        """:return: source, heading and text."""
        row: tuple[str, str, str] | None = self._connection.execute(
            "SELECT source, heading, text FROM passages JOIN documents USING (document_id)"
            " WHERE passage_id = ?",
            (passage_id,),
        ).fetchone()
        return row

    def _fill(self, rows: NDArray[np.float32], embeddings: list[bytes]) -> None:
        """Write stored vectors into rows of the matrix, and refuse what is not as we stored it."""
        wanted = rows.shape[1] * _FLOAT32_BYTES
        if any(len(embedding) != wanted for embedding in embeddings):
            raise KnowledgeError(f"{self._path}: a stored vector has a wrong length")
        rows[:] = np.frombuffer(b"".join(embeddings), dtype="<f4").reshape(rows.shape)
        squares = np.einsum("ij,ij->i", rows, rows)
        if not (np.abs(squares - 1) < _UNIT_TOLERANCE).all():  # false for NaN too
            raise KnowledgeError(f"{self._path}: a stored vector is damaged")


def _file_state(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
