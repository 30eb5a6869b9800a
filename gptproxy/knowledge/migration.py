"""
An earlier knowledge database becomes one of the present layout, in one transaction.

Blocking: for pool threads and commands, never for the reactor thread. What an earlier gptproxy has
fed stays, its vectors included: nothing is embedded again but what is cut otherwise now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from gptproxy.knowledge.inputs import INPUT_VERSION, input_hash

__all__ = ["migrate"]

_ROWS_AT_ONCE = 1000


def migrate(connection: sqlite3.Connection, schema: str) -> None:
    """
    Bring a database up to the present layout, where it is of an earlier one.

    :param connection: open for writing, without implicit transactions and foreign keys.
    :param schema: the present layout.
    :raise sqlite3.Error: it failed; the database is as it was.
    """
    if _version(connection) != 1:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) == 1:  # no other process was faster
            _from_version_1(connection, schema)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _from_version_1(connection: sqlite3.Connection, schema: str) -> None:
    execute = connection.execute
    for statement in (
        "ALTER TABLE collections RENAME TO collections_1",
        "ALTER TABLE documents RENAME TO documents_1",
        "ALTER TABLE passages RENAME TO passages_1",
    ):
        execute(statement)
    for statement in _statements(schema):
        execute(statement)
    execute(
        "INSERT INTO collections (collection_id, name) SELECT collection_id, name FROM collections_1"
    )
    execute(
        "INSERT INTO embedding_sets (set_id, collection_id, model, dimensions, version, state)"
        " SELECT collection_id, collection_id, embedding_model, dimensions, ?, 'active' FROM collections_1",
        (INPUT_VERSION,),
    )
    sources: dict[tuple[int, str], int] = {}
    for document_id, collection_id, location, name in execute(
        "SELECT document_id, collection_id, location, source FROM documents_1"
    ).fetchall():
        spec = _spec(location, name)
        source_id = sources.get((collection_id, spec))
        if source_id is None:
            (source_id,) = execute(
                "INSERT INTO sources (collection_id, spec) VALUES (?, ?) RETURNING source_id",
                (collection_id, spec),
            ).fetchone()
            sources[collection_id, spec] = source_id
        # An empty hash is no document's: each is read and cut again, and what is cut as it was keeps its vector.
        execute(
            "INSERT INTO documents (document_id, source_id, location, name, blob_id, content_hash)"
            " VALUES (?, ?, ?, ?, '', '')",
            (document_id, source_id, location, name),
        )
    rows = execute(
        "SELECT passage_id, document_id, collection_id, ordinal, heading, text, embedding"
        " FROM passages_1 JOIN documents_1 USING (document_id) ORDER BY passage_id"
    )
    while some := rows.fetchmany(_ROWS_AT_ONCE):
        connection.executemany(
            "INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?)",
            ((*row[:6], input_hash(row[4], row[5])) for row in some),
        )
        connection.executemany(
            "INSERT INTO vectors (set_id, passage_id, vector) VALUES (?, ?, ?)",
            ((row[2], row[0], row[6]) for row in some),
        )
    for statement in (
        "DROP TABLE passages_1",
        "DROP TABLE documents_1",
        "DROP TABLE collections_1",
    ):
        execute(statement)


def _spec(location: str, name: str) -> str:
    """:return: the folder or file that was fed: the location, its name's folders taken off."""
    if not location.endswith(f"/{name}"):
        return location
    return location[: -len(name)] + name.partition("/")[0]


def _statements(schema: str) -> Iterator[str]:
    """:return: the schema's statements one by one: a script would commit before it begins."""
    statement = ""
    for line in schema.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
