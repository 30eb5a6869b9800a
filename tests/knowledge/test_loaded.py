"""What is in memory follows the database and its index files."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from twisted.internet.task import Clock

from gptproxy.knowledge import loaded as loaded_module
from gptproxy.knowledge.errors import KnowledgeError, UnknownCollection
from gptproxy.knowledge.indexing import build_index
from gptproxy.knowledge.loaded import Loaded, LoadedCollections
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.reading import Collection, KnowledgeReader
from gptproxy.knowledge.searching import vector_hits
from tests.knowledge.standins import put_document


def _put(path: Path, name: str, *vector: float, collection: str = "fibjs") -> None:
    put_document(
        path, collection, "m", f"d/{name}", [Excerpt("", name)], np.array([vector], np.float32)
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "knowledge.db"
    _put(path, "a", 1, 0, 0)
    return path


def _found(loaded: LoadedCollections, *question: float) -> list[str]:
    vector = np.array(question or (1, 0, 0), np.float32)
    with KnowledgeReader(loaded.path) as reader:
        current = loaded.current(reader, "fibjs")
        hits = vector_hits(reader, current, vector, 9, 0.1)
        passages = reader.passages([(hit.passage_id, hit.score) for hit in hits], {})
    return [passage.text for passage in passages]


def test_it_is_read_once_while_nothing_changes(path: Path) -> None:
    """Another collection's documents are no reason to read this one again."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)
    assert _found(loaded) == ["a"]
    with mock.patch.object(KnowledgeReader, "vector_ids", side_effect=AssertionError):
        _put(path, "z", 1, 0, 0, collection="other")
        clock.advance(60)
        assert _found(loaded) == ["a"]


def test_a_change_is_seen_after_a_pause(path: Path) -> None:
    """And then only what is new is read: a vector is never changed in place."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)
    assert _found(loaded) == ["a"]
    _put(path, "b", 0.8, 0.6, 0)
    assert _found(loaded) == ["a"]
    clock.advance(5)
    asked = []
    vectors = KnowledgeReader.vectors

    def noted(reader: KnowledgeReader, active: object, ids: object) -> object:
        asked.append(len(ids))  # type: ignore[arg-type]  # an array
        return vectors(reader, active, ids)  # type: ignore[arg-type]  # as they came

    with mock.patch.object(KnowledgeReader, "vectors", noted):
        assert _found(loaded) == ["a", "b"]
    assert asked == [1]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM documents WHERE name = 'd/a'")
        connection.execute("UPDATE collections SET revision = revision + 1")
        connection.commit()
    clock.advance(5)
    assert _found(loaded) == ["b"]


def test_a_file_in_place_of_the_file_is_seen(path: Path, tmp_path: Path) -> None:
    """A database that was renamed into place is another one, whatever its ids and times."""
    loaded = LoadedCollections(path, Clock().seconds)
    assert _found(loaded) == ["a"]
    other = tmp_path / "other.db"
    _put(other, "c", 1, 0, 0)
    other.replace(path)
    assert _found(loaded) == ["c"]


def test_a_set_without_vectors(tmp_path: Path) -> None:
    """Documents that were fed without embeddings: nothing to compare, nothing wrong."""
    path = tmp_path / "k.db"
    put_document(path, "fibjs", None, "d/a", [Excerpt("", "a")])
    assert _found(LoadedCollections(path, Clock().seconds)) == []


def test_an_unknown_collection(path: Path) -> None:
    """Is told by its name."""
    with KnowledgeReader(path) as reader, pytest.raises(UnknownCollection, match="'none'"):
        LoadedCollections(path, Clock().seconds).current(reader, "none")


def test_an_index_is_noticed(path: Path) -> None:
    """It is mapped in the vectors' place; what it has not yet is compared beside it."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)

    def current() -> Loaded:
        with KnowledgeReader(path) as reader:
            return loaded.current(reader, "fibjs")

    assert (current().index, len(current().ids)) == (None, 1)
    build_index(path, "fibjs", 0)
    clock.advance(5)
    assert current().index is not None
    assert len(current().ids) == 0
    assert _found(loaded) == ["a"]
    _put(path, "b", 0.8, 0.6, 0)
    _put(path, "c", 0.6, 0.8, 0)
    clock.advance(5)
    assert _found(loaded) == ["a", "b", "c"]
    assert len(current().ids) == 2
    built = build_index(path, "fibjs", 0)
    clock.advance(5)
    assert _found(loaded) == ["a", "b", "c"]
    assert len(current().ids) == 0
    assert built is not None
    built.write_bytes(b"damaged")
    clock.advance(5)
    assert _found(loaded) == ["a", "b", "c"]


def test_an_index_of_something_else(path: Path, tmp_path: Path) -> None:
    """Of another database's collection: it is not used."""
    other = tmp_path / "other.db"
    _put(other, "x", 0, 1, 0)
    built = build_index(other, "fibjs", 0)
    assert built is not None
    built.replace(tmp_path / "knowledge.db.c1.index")
    assert _found(LoadedCollections(path, Clock().seconds)) == ["a"]


def test_too_many_without_an_index(path: Path) -> None:
    """The operator is told what makes one."""
    with (
        mock.patch.object(loaded_module, "_MATRIX_BYTES_MAX", 8),
        pytest.raises(KnowledgeError, match="docs sync"),
    ):
        _found(LoadedCollections(path, Clock().seconds))


def test_the_others_answer_while_one_loads(path: Path) -> None:
    """With a complete state in memory nobody waits; without one, they wait and load once."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)
    loading, go_on = threading.Event(), threading.Event()
    calls: list[Collection] = []
    vector_ids = KnowledgeReader.vector_ids
    results: list[list[str]] = []

    def slow(reader: KnowledgeReader, active: Collection) -> object:
        calls.append(active)
        loading.set()
        go_on.wait(30)
        return vector_ids(reader, active)  # type: ignore[arg-type]  # as it came

    def ask() -> threading.Thread:
        thread = threading.Thread(target=lambda: results.append(_found(loaded)))
        thread.start()
        return thread

    with mock.patch.object(KnowledgeReader, "vector_ids", slow):
        first = ask()
        loading.wait(30)
        second = ask()
        go_on.set()
        first.join()
        second.join()
        assert (results, len(calls)) == ([["a"], ["a"]], 1)
        _put(path, "b", 0.8, 0.6, 0)
        clock.advance(5)
        loading.clear()
        go_on.clear()
        first = ask()
        loading.wait(30)
        assert _found(loaded) == ["a"]
        go_on.set()
        first.join()
        assert (results[-1], len(calls)) == (["a", "b"], 2)
