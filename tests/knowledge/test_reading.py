"""The daemon reads one state of the file, writes nothing, and refuses what is damaged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from gptproxy.knowledge import database
from gptproxy.knowledge.errors import KnowledgeError, UnknownCollection
from gptproxy.knowledge.passages import Excerpt, Passage
from gptproxy.knowledge.reading import KnowledgeReader
from gptproxy.knowledge.store import KnowledgeStore
from tests.knowledge.standins import put_document

_MODEL = "text-embedding-ada-002"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """:return: a database with one collection of two passages, closed."""
    path = tmp_path / "knowledge.db"
    _put(path, "a.md", "one", "two")
    return path


def _put(path: Path, name: str, *texts: str) -> None:
    excerpts = [Excerpt("A", text) for text in texts]
    put_document(path, "fibjs", _MODEL, name, excerpts, np.eye(len(texts), 2, dtype=np.float32))


def _change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()


def _vectors(path: Path) -> list[list[float]]:
    with KnowledgeReader(path) as reader:
        active = reader.collection("fibjs").active
        assert active is not None
        pieces = reader.vectors(active, reader.vector_ids(active))
        return [row for _, matrix in pieces for row in matrix.tolist()]


def test_a_collection_and_its_vectors(path: Path) -> None:
    """The matrix is float32; a passage that has no vector is left out."""
    with KnowledgeReader(path) as reader:
        active = reader.collection("fibjs").active
        assert active is not None
        ids = reader.vector_ids(active)
        ((found, matrix),) = reader.vectors(active, np.array([2, 7]))
        assert reader.names() == ("fibjs",)
    assert (active.model, active.dimensions_asked, active.dimensions) == (_MODEL, None, 2)
    assert (ids.dtype, matrix.dtype) == (np.int64, np.float32)
    assert (ids.tolist(), found.tolist(), matrix.tolist()) == ([1, 2], [2], [[0, 1]])


def test_texts_come_in_the_order_asked_for(path: Path) -> None:
    """A passage that is gone is left out."""
    with KnowledgeReader(path) as reader:
        found = reader.passages([(2, 0.9), (7, 0.8), (1, 0.7)], {1: 0.5})
    assert found == (
        Passage(2, "a.md", "A", "two", 0.9, None, "fibjs"),
        Passage(1, "a.md", "A", "one", 0.7, 0.5, "fibjs"),
    )


def test_sources(path: Path) -> None:
    """Where documents are from, and which of them a passage is from."""
    put_document(
        path, "fibjs", None, "p/b.md", [Excerpt("", "x")], project="a/b", members_only=True
    )
    with KnowledgeReader(path) as reader:
        disk, project = reader.sources(reader.collection("fibjs"))
        assert reader.sources_of([1, 3, 9]) == {1: disk.source_id, 3: project.source_id}
    assert (disk.project, disk.members_only) == (None, False)
    assert (project.project, project.members_only) == ("a/b", True)


def test_words(path: Path) -> None:
    """The best first; a ranking that is to stop says nothing."""
    with KnowledgeReader(path) as reader:
        hits = reader.word_hits('"two"', 5, lambda: False)
        assert hits is not None
        assert [one for one, _ in hits] == [2]
        with pytest.raises(KnowledgeError, match="unterminated"):
            reader.word_hits('"two', 5, lambda: False)


def test_a_reader_sees_one_state(path: Path) -> None:
    """What is written meanwhile is for the next reader."""
    with KnowledgeReader(path) as reader:
        collection = reader.collection("fibjs")
        _put(path, "a.md", "three")
        assert reader.collection("fibjs") == collection
        assert len(reader.passages([(1, 0.5)], {})) == 1
    assert _vectors(path) == [[1, 0]]


def test_an_unknown_collection(path: Path) -> None:
    """It has a class of its own, and SQL in a name is a name."""
    with KnowledgeReader(path) as reader, pytest.raises(UnknownCollection, match="OR 1=1"):
        reader.collection("' OR 1=1 --")


def test_nothing_can_be_written(path: Path) -> None:
    """Neither through the file's mode nor through the connection."""
    connection, immutable = database.open_for_reading(path)
    with closing(connection), pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM passages")
    assert not immutable


def test_a_missing_file(tmp_path: Path) -> None:
    """It is not made by asking for it."""
    with pytest.raises(KnowledgeError, match=r"missing\.db.*docs add"):
        KnowledgeReader(tmp_path / "missing.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    """The error names it."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(KnowledgeError, match=r"notes\.txt"):
        KnowledgeReader(path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    """Nothing but a file can be opened."""
    with pytest.raises(KnowledgeError):
        KnowledgeReader(tmp_path)


def test_a_database_of_another_version(path: Path) -> None:
    """A newer gptproxy's file is not guessed at."""
    _change(path, "PRAGMA user_version = 99")
    with pytest.raises(KnowledgeError, match="version"):
        KnowledgeReader(path)


def _truncate(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.truncate(5000)


def _scribble(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(os.urandom(size - 4096))


@pytest.mark.parametrize("damage", [_truncate, _scribble])
def test_a_corrupt_file(path: Path, damage: Callable[[Path], None]) -> None:
    """Whatever SQLite says of it, it is a KnowledgeError that names the file."""
    damage(path)
    with pytest.raises(KnowledgeError, match=r"knowledge\.db"):
        _vectors(path)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\0" * 7,
        b"\0" * 12,
        np.array([float("nan"), 1], "<f4").tobytes(),
        np.array([float("inf"), 1], "<f4").tobytes(),
        np.array([0, 0], "<f4").tobytes(),
        np.array([3, 4], "<f4").tobytes(),
    ],
)
def test_a_damaged_vector(path: Path, blob: bytes) -> None:
    """Wrong length, not finite, not of unit length: refused when it is loaded."""
    _change(path, "UPDATE vectors SET vector = ? WHERE passage_id = 2", blob)
    with pytest.raises(KnowledgeError, match="stored vector"):
        _vectors(path)


def test_a_text_that_is_not_utf8(path: Path) -> None:
    """Damage in a text is an error of this room too."""
    _change(path, "UPDATE documents SET name = CAST(? AS TEXT)", b"\xff\xfe")
    with KnowledgeReader(path) as reader, pytest.raises(KnowledgeError):
        reader.passages([(1, 0.5)], {})


def test_a_folder_that_the_daemon_may_not_write_to(path: Path) -> None:
    """
    A WAL database there can only be read as an immutable file; that it is changed meanwhile is
    noticed.

    SQLite's refusal is stood in for, since the superuser may write anywhere.
    """
    open_it = database._begin_reading

    def refusing(path: Path, parameters: str) -> sqlite3.Connection:
        if "immutable" not in parameters:
            error = sqlite3.OperationalError("attempt to write a readonly database")
            error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DIRECTORY
            raise error
        return open_it(path, parameters)

    with mock.patch("gptproxy.knowledge.database._begin_reading", refusing):
        assert _vectors(path) == [[1, 0], [0, 1]]
        assert [one.name for one in path.parent.iterdir()] == ["knowledge.db"]
        with pytest.raises(KnowledgeError, match="changed"), KnowledgeReader(path):
            _put(path, "a.md", "three")
        # While a writer is at work the newest state is not in the file itself.
        with closing(KnowledgeStore(path)) as store:
            store.add_source("other", "/b", None, members_only=False)
            with pytest.raises(KnowledgeError, match="readonly"):
                KnowledgeReader(path)


def test_an_error_that_is_no_refusal_is_told(path: Path) -> None:
    """A locked database is not read past its lock."""
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    with (
        mock.patch("gptproxy.knowledge.database._begin_reading", side_effect=error),
        pytest.raises(KnowledgeError, match="locked"),
    ):
        KnowledgeReader(path)
