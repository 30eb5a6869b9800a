"""
Documents written in place of their earlier states, inside a transaction that is open.

Blocking: for pool threads and commands, never for the reactor thread. A passage that stays keeps
its row, its words and its vector: what changed is written, and nothing else.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson
from attrs import Factory, field, frozen

from gptproxy.knowledge.inputs import input_hash
from gptproxy.knowledge.passages import Excerpt

__all__ = ["Document", "Written", "put_documents"]

# Rows of one statement. At each the writing thread waits for the interpreter, while another one cuts documents; and
# FTS5 writes a segment for each, which it has to merge with others later.
_ROWS_AT_ONCE = 800


@frozen
class Document:
    """
    A document, cut into passages.

    :param location: what tells it from its source's others: an absolute path, or a path in a
        repository or wiki.
    :param name: what callers and models see.
    :param blob_id: Git's id of its bytes.
    :param content_hash: of the blob id, the name, and the rules it was cut by.
    :param excerpts: its passages, in order.
    :param unfit: why nothing of it was fed; None where it was.
    :param hashes: of what is embedded of each passage, in order; made where it is not given.
    """

    location: str
    name: str
    blob_id: str
    content_hash: bytes
    excerpts: tuple[Excerpt, ...] = ()
    unfit: str | None = None
    hashes: tuple[str, ...] = field(
        default=Factory(
            lambda self: tuple(input_hash(one.heading, one.text) for one in self.excerpts),
            takes_self=True,
        )
    )


@frozen
class Written:
    """
    What was written.

    :param documents: that are new or have changed.
    :param unchanged: that were there already.
    :param passages: that are new.
    """

    documents: int
    unchanged: int
    passages: int


def put_documents(
    connection: sqlite3.Connection,
    collection_id: int,
    source_id: int,
    documents: Sequence[Document],
    vectors: Mapping[str, bytes],
    set_id: int | None,
) -> Written:
    """
    Write documents.

    :param connection: in a transaction.
    :param collection_id: the source's.
    :param source_id: the documents'.
    :param documents: what to write, no location twice.
    :param vectors: by ``Document.hashes``.
    :param set_id: the set that the vectors go to; None: to none.
    :return: what was done.
    """
    # CROSS JOIN says what is looked up in what: the other way round it reads all of a source each time.
    (found,) = connection.execute(
        "SELECT json_group_array(json_array(location, document_id, content_hash))"
        " FROM json_each(?2) CROSS JOIN documents ON source_id = ?1 AND location = value",
        (source_id, orjson.dumps([one.location for one in documents]).decode()),
    ).fetchone()
    earlier = {location: (number, hashed) for location, number, hashed in orjson.loads(found)}
    changed = []
    for document in documents:
        number, hashed = earlier.get(document.location, (None, None))
        if hashed != document.content_hash.hex():
            changed.append((document, number))
    batch = _Batch(connection, collection_id, source_id)
    for document, document_id in changed:
        batch.add(document, document_id)
    batch.write(vectors, set_id)
    return Written(len(changed), len(documents) - len(changed), len(batch.passages))


class _Batch:
    """Rows, gathered so that each table is written by one statement."""

    def __init__(self, connection: sqlite3.Connection, collection_id: int, source_id: int) -> None:
        self._connection = connection
        self._collection_id = collection_id
        self._source_id = source_id
        self._next_document = _last_id(connection, "documents") + 1
        self._next_passage = _last_id(connection, "passages") + 1
        self._documents: list[tuple[int, int, str, str, str, str, str | None]] = []
        self._kept: list[tuple[int, int]] = []
        self._gone: list[tuple[int]] = []
        self._vectors: list[tuple[int, str]] = []
        self.passages: list[tuple[int, int, int, int, str, str, str]] = []

    def add(self, document: Document, document_id: int | None) -> None:
        """Add a document; its id where it is there in an earlier state."""
        earlier: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        if document_id is None:
            document_id = self._next_document
            self._next_document += 1
        else:
            for passage_id, ordinal, hashed in self._connection.execute(
                "SELECT passage_id, ordinal, input_hash FROM passages WHERE document_id = ?"
                " ORDER BY ordinal DESC",
                (document_id,),
            ):
                earlier[hashed].append((passage_id, ordinal))
        self._documents.append(
            (
                document_id,
                self._source_id,
                document.location,
                document.name,
                document.blob_id,
                document.content_hash.hex(),
                document.unfit,
            )
        )
        for ordinal, (excerpt, hashed) in enumerate(
            zip(document.excerpts, document.hashes, strict=True)
        ):
            if earlier.get(hashed):
                passage_id, before = earlier[hashed].pop()
                if before != ordinal:
                    self._kept.append((ordinal, passage_id))
            else:
                passage_id = self._next_passage
                self._next_passage += 1
                self.passages.append(
                    (
                        passage_id,
                        document_id,
                        self._collection_id,
                        ordinal,
                        excerpt.heading,
                        excerpt.text,
                        hashed,
                    )
                )
            self._vectors.append((passage_id, hashed))
        self._gone += [(passage_id,) for rest in earlier.values() for passage_id, _ in rest]

    def write(self, vectors: Mapping[str, bytes], set_id: int | None) -> None:
        """Write all of it."""
        many = self._connection.executemany
        many("DELETE FROM passages WHERE passage_id = ?", self._gone)
        self._connection.execute(
            "INSERT INTO documents"
            " (document_id, source_id, location, name, blob_id, content_hash, unfit)"
            " SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5,"
            " value ->> 6 FROM json_each(?) WHERE true ON CONFLICT (document_id) DO UPDATE SET"
            " name = excluded.name, blob_id = excluded.blob_id,"
            " content_hash = excluded.content_hash, unfit = excluded.unfit",
            (orjson.dumps(self._documents).decode(),),
        )
        many("UPDATE passages SET ordinal = ? WHERE passage_id = ?", self._kept)
        self._write_passages()
        if set_id is not None:
            known = [(passage_id, one) for passage_id, one in self._vectors if one in vectors]
            self._write_vectors(known, vectors, set_id)

    def _write_passages(self) -> None:
        for start in range(0, len(self.passages), _ROWS_AT_ONCE):
            rows = self.passages[start : start + _ROWS_AT_ONCE]
            self._connection.execute(
                "INSERT INTO passages SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3,"
                " value ->> 4, value ->> 5, value ->> 6 FROM json_each(?)",
                (orjson.dumps(rows).decode(),),
            )

    def _write_vectors(
        self, known: Sequence[tuple[int, str]], vectors: Mapping[str, bytes], set_id: int
    ) -> None:
        for start in range(0, len(known), _ROWS_AT_ONCE):
            rows = known[start : start + _ROWS_AT_ONCE]
            joined = b"".join(vectors[hashed] for _, hashed in rows)
            self._connection.execute(
                "INSERT INTO vectors (set_id, passage_id, vector)"
                " SELECT ?1, value, substr(?2, key * ?3 + 1, ?3) FROM json_each(?4) WHERE true"
                " ON CONFLICT DO NOTHING",
                (
                    set_id,
                    joined,
                    len(joined) // len(rows),
                    orjson.dumps([passage_id for passage_id, _ in rows]).decode(),
                ),
            )


def _last_id(connection: sqlite3.Connection, table: str) -> int:
    """:return: the last id that AUTOINCREMENT gave. https://sqlite.org/autoinc.html"""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return 0 if row is None else int(row[0])
