"""
What is in a knowledge database: its collections and their sources, counted.

Blocking: for commands, never for the reactor thread. Read-only, beside whoever writes.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from attrs import frozen

from gptproxy.knowledge.database import naming_errors, open_for_reading

__all__ = ["CollectionRow", "SourceRow", "inventory", "source_rows"]


@frozen
class CollectionRow:
    """
    A collection.

    :param name: its name.
    :param passages: how many it has.
    :param model: what its vectors are of; None without any.
    :param dimensions: their length.
    :param vectors: how many there are.
    :param building: the model that is to take over.
    :param built: how many passages have a vector of that.
    """

    name: str
    passages: int
    model: str | None
    dimensions: int | None
    vectors: int
    building: str | None
    built: int


@frozen
class SourceRow:
    """
    A source of a collection.

    :param source_id: its id.
    :param collection: its collection's name.
    :param spec: an absolute path, or ``gitlab:group/project[@ref][:path]``.
    :param project: the GitLab project's full path; None for what is read from disk.
    :param members_only: only members of the project may read its passages.
    :param synced_at: seconds since 1970 of the last complete reading; None before it.
    :param documents: how many of it have passages.
    :param passages: how many.
    """

    source_id: int
    collection: str
    spec: str
    project: str | None
    members_only: bool
    synced_at: int | None
    documents: int
    passages: int


def inventory(
    path: Path, collection: str | None = None
) -> list[tuple[CollectionRow, list[SourceRow]]]:
    """
    :param path: the database.
    :param collection: which; None: all.
    :return: the collections by name, with their sources in the order they were added.
    :raise KnowledgeError: it cannot be read.
    """
    connection, _ = open_for_reading(path)
    with closing(connection), naming_errors(path):
        sources = source_rows(connection, collection)
        found = []
        for collection_id, name, passages in connection.execute(
            "SELECT collection_id, name,"
            " (SELECT count(*) FROM passages WHERE collection_id = collections.collection_id)"
            " FROM collections WHERE ?1 IS NULL OR name = ?1 ORDER BY name",
            (collection,),
        ).fetchall():
            active = _set(connection, collection_id, "active")
            building = _set(connection, collection_id, "building")
            row = CollectionRow(name, passages, *active, building[0], building[2])
            found.append((row, [one for one in sources if one.collection == name]))
    return found


def source_rows(connection: sqlite3.Connection, collection: str | None) -> list[SourceRow]:
    """
    :param connection: to the database.
    :param collection: whose; None: of all.
    :return: the sources, by collection and in the order they were added.
    """
    rows = connection.execute(
        "SELECT source_id, name, spec, project, members_only, synced_at,"
        " (SELECT count(*) FROM documents WHERE source_id = sources.source_id AND unfit IS NULL),"
        " (SELECT count(*) FROM passages JOIN documents USING (document_id)"
        "  WHERE source_id = sources.source_id)"
        " FROM sources JOIN collections USING (collection_id)"
        " WHERE removing = 0 AND (?1 IS NULL OR name = ?1) ORDER BY name, source_id",
        (collection,),
    )
    return [
        SourceRow(
            source_id, name, spec, project, bool(members_only), synced_at, documents, passages
        )
        for source_id, name, spec, project, members_only, synced_at, documents, passages in rows
    ]


def _set(
    connection: sqlite3.Connection, collection_id: int, state: str
) -> tuple[str | None, int | None, int]:
    """:return: model, dimensions and number of the vectors in the set of that state."""
    row: tuple[str, int | None, int] | None = connection.execute(
        "SELECT model, dimensions, (SELECT count(*) FROM vectors WHERE set_id = embedding_sets.set_id)"
        " FROM embedding_sets WHERE collection_id = ? AND state = ?",
        (collection_id, state),
    ).fetchone()
    return row or (None, None, 0)
