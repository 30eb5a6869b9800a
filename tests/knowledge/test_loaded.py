"""Vectors stay in memory until the collection has changed; one thread loads at a time."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray
from twisted.internet.task import Clock

from gptproxy.knowledge.errors import OtherModel, UnknownCollection
from gptproxy.knowledge.loaded import LoadedCollections
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.reading import Collection, KnowledgeReader
from gptproxy.knowledge.store import Document, KnowledgeStore

_MODEL = "text-embedding-ada-002"
_QUESTION = np.array([1, 0], dtype=np.float32)


def _put(path: Path, location: str, *row: float, collection: str = "fibjs") -> None:
    document = Document(location, location, b"1", (Excerpt("", location),))
    with closing(KnowledgeStore(path)) as store:
        store.put(collection, _MODEL, document, np.array([row], dtype=np.float32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "knowledge.db"
    _put(path, "a", 1, 0)
    return path


def _found(loaded: LoadedCollections, question: NDArray[np.float32] = _QUESTION) -> list[str]:
    return [one.text for one in loaded.search("fibjs", _MODEL, question, 20, 0.1)]


def test_it_is_read_once_while_nothing_changes(path: Path) -> None:
    """Another collection's documents are no reason to read this one again."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)
    loaded.prepare("fibjs", _MODEL)
    with mock.patch.object(KnowledgeReader, "vectors", side_effect=AssertionError):
        assert _found(loaded) == ["a"]
        _put(path, "z", 1, 0, collection="other")
        clock.advance(60)
        assert _found(loaded) == ["a"]


def test_a_change_is_seen_after_a_pause(path: Path) -> None:
    """While documents come in one by one, chats are answered from the last complete state."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)
    assert _found(loaded) == ["a"]
    _put(path, "b", 0.8, 0.6)
    assert _found(loaded) == ["a"]
    clock.advance(5)
    assert _found(loaded) == ["a", "b"]


def test_a_file_in_place_of_the_file_is_seen(path: Path, tmp_path: Path) -> None:
    """A database that was renamed into place is another one, whatever its ids and times."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)
    assert _found(loaded) == ["a"]
    other = tmp_path / "other.db"
    _put(other, "c", 1, 0)
    other.replace(path)
    clock.advance(5)
    assert _found(loaded) == ["c"]


def test_vectors_of_another_length_are_read_at_once(path: Path) -> None:
    """What is held is of no use for them."""
    loaded = LoadedCollections(path, Clock().seconds)
    assert _found(loaded) == ["a"]
    path.unlink()
    _put(path, "d", 1, 0, 0)
    assert _found(loaded, np.array([1, 0, 0], dtype=np.float32)) == ["d"]


def test_what_does_not_belong_together_is_refused(path: Path) -> None:
    """No such collection, another model, a question of another length."""
    loaded = LoadedCollections(path, Clock().seconds)
    with pytest.raises(UnknownCollection):
        loaded.prepare("other", _MODEL)
    with pytest.raises(OtherModel, match="ada-002"):
        loaded.prepare("fibjs", "another")
    with pytest.raises(OtherModel, match="dimensions"):
        _found(loaded, np.ones(3, dtype=np.float32))


def test_the_others_answer_while_one_loads(path: Path) -> None:
    """With a complete state in memory nobody waits; without one, they wait and load once."""
    clock = Clock()
    loaded = LoadedCollections(path, clock.seconds)
    loading, go_on = threading.Event(), threading.Event()
    calls = []
    vectors = KnowledgeReader.vectors

    def slow(
        reader: KnowledgeReader, collection: Collection
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        calls.append(collection)
        loading.set()
        go_on.wait(30)
        return vectors(reader, collection)

    results: list[list[str]] = []

    def ask() -> threading.Thread:
        thread = threading.Thread(target=lambda: results.append(_found(loaded)))
        thread.start()
        return thread

    with mock.patch.object(KnowledgeReader, "vectors", slow):
        first = ask()
        loading.wait(30)
        second = ask()
        go_on.set()
        first.join()
        second.join()
        assert (results, len(calls)) == ([["a"], ["a"]], 1)

        _put(path, "b", 0.8, 0.6)
        clock.advance(5)
        loading.clear()
        go_on.clear()
        first = ask()
        loading.wait(30)
        assert _found(loaded) == ["a"]
        go_on.set()
        first.join()
        assert (results[-1], len(calls)) == (["a", "b"], 2)
