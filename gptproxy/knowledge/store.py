"""
Documents go into the knowledge database: whole, once, and of one embedding model per collection.

Blocking: for pool threads and commands, never for the reactor thread. One document is one
transaction, so a kill at any moment leaves every document as it was or as it is to be.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from gptproxy.knowledge.database import naming_errors, open_for_writing
from gptproxy.knowledge.embeddings import unit_rows
from gptproxy.knowledge.errors import MalformedEmbeddings, OtherModel
from gptproxy.knowledge.passages import Excerpt

__all__ = ["Document", "KnowledgeStore"]

_REVISION_BYTES = 16


@frozen
class Document:
    """
    A document, cut into passages.

    :param location: where it was read, which tells it from others: an absolute path.
    :param source: the name that callers and models see.
    :param content_hash: of its content and of the rules it was cut by.
    :param excerpts: its passages, in order.
    """

    location: str
    source: str
    content_hash: bytes
    excerpts: tuple[Excerpt, ...]


class KnowledgeStore:
    """
    The database, open for writing. Any thread may call it; the calls go one after another.

    :param path: the SQLite file; made where there is none, its folder must exist.
    :raise KnowledgeError: it cannot be made or opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection = open_for_writing(path)

    def close(self) -> None:
        """Close the file; a call that another thread is in ends before."""
        with self._lock, naming_errors(self._path):
            self._connection.close()

    def require(self, collection: str, model: str) -> None:
        """
        Check that vectors of a model can go into a collection, before money is spent on them.

        :param collection: its name; one that does not exist yet takes any model.
        :param model: the embedding model's OpenAI name.
        :raise OtherModel: the collection's vectors are of another model.
        """
        with self._lock, naming_errors(self._path):
            self._known(collection, model)

    def holds(self, collection: str, location: str, content_hash: bytes) -> bool:
        """
        Tell whether a document is in a collection as it is now.

        :param collection: its name.
        :param location: the document's.
        :param content_hash: the document's.
        :return: whether it is there with the same hash.
        """
        with self._lock, naming_errors(self._path):
            row = self._connection.execute(
                "SELECT 1 FROM documents JOIN collections USING (collection_id)"
                " WHERE name = ? AND location = ? AND content_hash = ?",
                (collection, location, content_hash),
            ).fetchone()
        return row is not None

    def put(
        self, collection: str, model: str, document: Document, vectors: NDArray[np.float32]
    ) -> bool:
        """
        Write a document in place of what the collection has from its location, in one transaction.

        A collection begins with its first vector. Before that, a document without passages leaves
        no trace.

        :param collection: its name.
        :param model: the embedding model's OpenAI name.
        :param document: what to write.
        :param vectors: shape (number of passages, d), of any length but zero; stored with unit
            length.
        :return: False where the document is there already, with the same hash.
        :raise OtherModel: the collection has vectors of another model or of another length.
        :raise MalformedEmbeddings: not one vector for each passage, or one with NaN, infinity or
            only zeros.
        :raise KnowledgeError: SQLite failed; nothing of the document was written.
        """
        if len(vectors) != len(document.excerpts):
            raise MalformedEmbeddings(
                f"{len(vectors)} vectors for {len(document.excerpts)} passages of {document.source}"
            )
        units = unit_rows(vectors) if document.excerpts else None
        with self._lock, naming_errors(self._path), self._transaction():
            known = self._known(collection, model)
            if known is None:
                if units is None:
                    return True
                known = self._begin_collection(collection, model, units.shape[1])
            collection_id, dimensions = known
            if units is not None and units.shape[1] != dimensions:
                raise OtherModel(
                    f"{self._path}: collection {collection!r} has vectors of {dimensions}"
                    f" dimensions, these have {units.shape[1]}"
                )
            return self._replace(collection_id, document, units)

    def _known(self, collection: str, model: str) -> tuple[int, int] | None:
        """:return: the collection's id and dimensions; None where there is none."""
        row = self._connection.execute(
            "SELECT collection_id, dimensions, embedding_model FROM collections WHERE name = ?",
            (collection,),
        ).fetchone()
        if row is None:
            return None
        if row[2] != model:
            raise OtherModel(
                f"{self._path}: collection {collection!r} is embedded with {row[2]!r},"
                f" not with {model!r}"
            )
        return row[0], row[1]

    def _begin_collection(self, collection: str, model: str, dimensions: int) -> tuple[int, int]:
        (collection_id,) = self._connection.execute(
            "INSERT INTO collections (name, embedding_model, dimensions, revision)"
            " VALUES (?, ?, ?, ?) RETURNING collection_id",
            (collection, model, dimensions, b""),
        ).fetchone()
        return collection_id, dimensions

    def _replace(
        self, collection_id: int, document: Document, units: NDArray[np.float32] | None
    ) -> bool:
        """Write the document in place of its earlier state. :return: whether it differed."""
        execute = self._connection.execute
        earlier = execute(
            "SELECT document_id, content_hash FROM documents"
            " WHERE collection_id = ? AND location = ?",
            (collection_id, document.location),
        ).fetchone()
        if earlier is not None:
            if earlier[1] == document.content_hash:
                return False
            execute("DELETE FROM documents WHERE document_id = ?", (earlier[0],))
        (document_id,) = execute(
            "INSERT INTO documents (collection_id, location, source, content_hash)"
            " VALUES (?, ?, ?, ?) RETURNING document_id",
            (collection_id, document.location, document.source, document.content_hash),
        ).fetchone()
        if units is not None:
            self._connection.executemany(
                "INSERT INTO passages (document_id, ordinal, heading, text, embedding)"
                " VALUES (?, ?, ?, ?, ?)",
                (
                    (
                        document_id,
                        ordinal,
                        excerpt.heading,
                        excerpt.text,
                        unit.astype("<f4").tobytes(),
                    )
                    for ordinal, (excerpt, unit) in enumerate(
                        zip(document.excerpts, units, strict=True)
                    )
                ),
            )
        execute(
            "UPDATE collections SET revision = ? WHERE collection_id = ?",
            (os.urandom(_REVISION_BYTES), collection_id),
        )
        return True

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Hold the write lock from the first read on, so that what was read stays true."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite has rolled back itself after some errors
                self._connection.execute("ROLLBACK")
            raise
