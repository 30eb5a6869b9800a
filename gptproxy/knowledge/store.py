"""
Collections, sources and documents go into the knowledge database, and out of it.

Blocking: for pool threads and commands, never for the reactor thread. A document is written in one
transaction with its passages, their words and their vectors, so a kill at any moment leaves every
document as it was or as it is to be.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from gptproxy.knowledge.database import naming_errors, open_for_writing
from gptproxy.knowledge.errors import KnowledgeError
from gptproxy.knowledge.inventory import SourceRow, source_rows
from gptproxy.knowledge.putting import Document, Written, put_documents
from gptproxy.knowledge.vector_sets import VectorSets

__all__ = ["Document", "KnowledgeStore", "SourceRow", "Written"]

# What one transaction removes at most: its write-ahead log stays at some megabytes.
_DOCUMENTS_AT_ONCE = 50

# A set that has no vectors any more is as one that never had: the next may have another length.
_FORGET_LENGTHS = (
    "UPDATE embedding_sets SET dimensions = NULL WHERE dimensions IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM vectors WHERE vectors.set_id = embedding_sets.set_id)"
)


class KnowledgeStore:
    """
    The database, open for writing. Any thread may call it; the calls go one after another.

    :param path: the SQLite file; made where there is none, its folder must exist.
    :raise KnowledgeError: it cannot be made or opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._connection = open_for_writing(path)
        with naming_errors(path):
            self._connection.execute(
                "CREATE TEMP TABLE seen (location TEXT PRIMARY KEY) WITHOUT ROWID"
            )
        self.vectors = VectorSets(self._connection, self._reading, self._writing)

    def close(self) -> None:
        """Close the file; a call that another thread is in ends before."""
        with self._lock, naming_errors(self._path):
            self._connection.close()

    def collection_id(self, name: str) -> int | None:
        """
        :param name: a collection's.
        :return: its id; None where there is none.
        """
        with self._reading():
            row = self._connection.execute(
                "SELECT collection_id FROM collections WHERE name = ?", (name,)
            ).fetchone()
        return None if row is None else int(row[0])

    def sources(self, collection: str | None = None) -> list[SourceRow]:
        """
        :param collection: whose; None: of all.
        :return: the sources, by collection and in the order they were added.
        """
        with self._reading():
            return source_rows(self._connection, collection)

    def add_source(
        self, collection: str, spec: str, project: str | None = None, *, members_only: bool = False
    ) -> int:
        """
        Note a source, and its collection, where they are new.

        :param collection: the collection's name.
        :param spec: what :class:`SourceRow` says.
        :param project: what :class:`SourceRow` says.
        :param members_only: what :class:`SourceRow` says; of a known source it is changed.
        :return: the source's id.
        """
        execute = self._connection.execute
        with self._writing():
            execute(
                "INSERT INTO collections (name) VALUES (?) ON CONFLICT DO NOTHING", (collection,)
            )
            (collection_id,) = execute(
                "SELECT collection_id FROM collections WHERE name = ?", (collection,)
            ).fetchone()
            (source_id,) = execute(
                "INSERT INTO sources (collection_id, spec, project, members_only) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET members_only = excluded.members_only, removing = 0"
                " RETURNING source_id",
                (collection_id, spec, project, members_only),
            ).fetchone()
            self._changed(collection_id)
        return int(source_id)

    def mark_removed(self, source_ids: Iterable[int]) -> None:
        """
        Decide that sources go; :meth:`sweep` does it, in this run or in a later one.

        :param source_ids: which.
        """
        with self._writing():
            self._connection.executemany(
                "UPDATE sources SET removing = 1 WHERE source_id = ?",
                ((one,) for one in source_ids),
            )

    def sweep(self) -> None:
        """Remove what is to go: documents of removed sources, empty collections, retired vectors."""
        execute = self._connection.execute
        with self._reading():
            going = execute("SELECT source_id FROM sources WHERE removing = 1").fetchall()
        for (source_id,) in going:
            self._remove(source_id, whole=True)
            with self._writing():
                execute("DELETE FROM sources WHERE source_id = ?", (source_id,))
        with self._writing():
            execute(
                "UPDATE embedding_sets SET state = 'retired' WHERE collection_id NOT IN"
                " (SELECT collection_id FROM sources)"
            )
            execute(_FORGET_LENGTHS)
        self.vectors.drop_retired()
        with self._writing():
            execute(
                "DELETE FROM collections WHERE collection_id NOT IN (SELECT collection_id FROM sources)"
            )

    def states(
        self, source_id: int, locations: Iterable[str]
    ) -> dict[str, tuple[bytes, str | None]]:
        """
        Tell what the database has from some locations.

        :param source_id: their source.
        :param locations: where documents may be.
        :return: by location, content hashes, and why nothing was fed of them.
        """
        with self._reading():
            # CROSS JOIN says what is looked up in what: the other way round it reads all of a source each time.
            (found,) = self._connection.execute(
                "SELECT json_group_array(json_array(location, content_hash, unfit))"
                " FROM json_each(?2) CROSS JOIN documents ON source_id = ?1 AND location = value",
                (source_id, orjson.dumps(list(locations)).decode()),
            ).fetchone()
        return {
            location: (bytes.fromhex(hashed), unfit)
            for location, hashed, unfit in orjson.loads(found)
        }

    def begin_reading(self) -> None:
        """Forget which locations were seen."""
        with self._writing():
            self._connection.execute("DELETE FROM temp.seen")

    def see(self, locations: Iterable[str]) -> set[str]:
        """
        Note that locations are there, whatever is in them.

        :param locations: of the source that is read.
        :return: those that were not seen before: links lead to some a second time.
        """
        listed = orjson.dumps(list(locations)).decode()
        with self._writing():
            (fresh,) = self._connection.execute(
                "SELECT json_group_array(value) FROM json_each(?)"
                " WHERE NOT EXISTS (SELECT 1 FROM temp.seen WHERE location = value)",
                (listed,),
            ).fetchone()
            self._connection.execute(
                "INSERT INTO temp.seen SELECT value FROM json_each(?) WHERE true"
                " ON CONFLICT DO NOTHING",
                (listed,),
            )
        return set(orjson.loads(fresh))

    def end_reading(self, source_id: int, now: int) -> int:
        """
        A source was read to its end: what was not seen of it is gone.

        :param source_id: which.
        :param now: seconds since 1970.
        :return: how many documents were removed.
        """
        removed = self._remove(source_id, whole=False)
        if removed:
            with self._writing():
                self._connection.execute(_FORGET_LENGTHS)
        self.note_synced(source_id, now)
        return removed

    def note_synced(self, source_id: int, at: int) -> None:
        """
        :param source_id: a source's.
        :param at: when it was read to its end, in seconds since 1970.
        """
        with self._writing():
            self._connection.execute(
                "UPDATE sources SET synced_at = ? WHERE source_id = ?", (at, source_id)
            )

    def put(
        self,
        source_id: int,
        documents: Sequence[Document],
        vectors: Mapping[str, bytes],
        set_id: int | None,
    ) -> Written:
        """
        Write documents in place of what the source has from their locations, in one transaction.

        :param source_id: their source.
        :param documents: what to write, no location twice.
        :param vectors: by ``Document.hashes``: unit vectors, little-endian float32.
        :param set_id: the active set, which they are of; None: none are given.
        :return: what was done.
        :raise KnowledgeError: the set is not the active one any more, or SQLite failed; nothing was
            written.
        """
        with self._writing():
            row = self._connection.execute(
                "SELECT collection_id FROM sources WHERE source_id = ? AND removing = 0",
                (source_id,),
            ).fetchone()
            if row is None:
                raise KnowledgeError(f"{self._path}: the source was removed meanwhile")
            (collection_id,) = row
            if set_id is not None:
                self.vectors.require_active(set_id)
            written = put_documents(
                self._connection, collection_id, source_id, documents, vectors, set_id
            )
            if written.documents:
                self._changed(collection_id)
        return written

    def _remove(self, source_id: int, *, whole: bool) -> int:
        """:return: how many documents were removed, some in each transaction."""
        removed = 0
        while True:
            with self._writing():
                gone = self._connection.execute(
                    "DELETE FROM documents WHERE document_id IN (SELECT document_id FROM documents"
                    " WHERE source_id = ?1 AND (?2 OR location NOT IN (SELECT location FROM temp.seen))"
                    " LIMIT ?3)",
                    (source_id, whole, _DOCUMENTS_AT_ONCE),
                ).rowcount
                if gone:
                    self._connection.execute(
                        "UPDATE collections SET revision = revision + 1 WHERE collection_id ="
                        " (SELECT collection_id FROM sources WHERE source_id = ?)",
                        (source_id,),
                    )
            removed += gone
            if gone < _DOCUMENTS_AT_ONCE:
                return removed

    def _changed(self, collection_id: int) -> None:
        self._connection.execute(
            "UPDATE collections SET revision = revision + 1 WHERE collection_id = ?",
            (collection_id,),
        )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, naming_errors(self._path):
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the write lock from the first read on, so that what was read stays true."""
        with self._lock, naming_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite rolls back itself after some errors
                    self._connection.execute("ROLLBACK")
                raise
