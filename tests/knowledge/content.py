"""What a knowledge database says, without the ids: two that say the same are the same for everybody who asks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def content(path: Path) -> list[tuple[object, ...]]:
    """
    Check that a database is whole, and read it.

    :param path: the file; nobody writes to it.
    :return: sources, documents, passages and vectors of the active sets.
    """
    with closing(sqlite3.connect(path)) as connection:
        execute = connection.execute
        assert execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert execute("PRAGMA foreign_key_check").fetchall() == []
        # https://sqlite.org/fts5.html#the_integrity_check_command; 1: with the texts that it is made of
        execute("INSERT INTO passage_words (passage_words, rank) VALUES ('integrity-check', 1)")
        assert execute(
            "SELECT count(*) FROM embedding_sets WHERE state = 'retired'"
        ).fetchone() == (0,)
        assert execute("SELECT count(*) FROM sources WHERE removing").fetchone() == (0,)
        return execute(
            "SELECT collections.name, spec, project, members_only, documents.location, documents.name,"
            " blob_id, content_hash, unfit, ordinal, heading, text, input_hash,"
            " model, dimensions, state, vector"
            " FROM collections LEFT JOIN sources USING (collection_id)"
            " LEFT JOIN documents USING (source_id) LEFT JOIN passages USING (document_id)"
            " LEFT JOIN embedding_sets ON embedding_sets.collection_id = collections.collection_id"
            " LEFT JOIN vectors ON vectors.passage_id = passages.passage_id"
            "  AND vectors.set_id = embedding_sets.set_id"
            " ORDER BY collections.name, spec, documents.location, ordinal, model"
        ).fetchall()


def texts(path: Path) -> list[tuple[object, ...]]:
    """:return: names and texts."""
    return [(row[5], row[11]) for row in content(path)]
