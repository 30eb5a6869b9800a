"""The index of a large collection: built, mapped, and only used for what it is of."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from attrs import evolve
from numpy.typing import NDArray

from gptproxy.knowledge.errors import KnowledgeError
from gptproxy.knowledge.index_file import IndexHead, index_path, map_index, write_index
from gptproxy.knowledge.indexing import build_index, build_indexes
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.projection import principal_components
from gptproxy.knowledge.reading import KnowledgeReader
from tests.knowledge.standins import put_document

_HEAD = IndexHead("ab", 1, 2, 3, 5, 4, 2)


def _rows(count: int, dimensions: int, seed: int = 0) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _write(path: Path, head: IndexHead = _HEAD) -> None:
    projected = _rows(5, 2)
    write_index(path, head, np.arange(5), _rows(2, 4), iter([projected[:3], projected[3:]]))


def test_what_is_written_is_mapped(tmp_path: Path) -> None:
    """Ids, directions and projected vectors, as they were."""
    path = tmp_path / "k.index"
    _write(path)
    index = map_index(path)
    assert index is not None
    assert index.head == _HEAD
    assert index.ids.tolist() == [0, 1, 2, 3, 4]
    assert (index.directions == _rows(2, 4)).all()
    assert (index.projected == _rows(5, 2)).all()
    assert not index.projected.flags.writeable
    assert [one.name for one in tmp_path.iterdir()] == ["k.index"]


def test_what_is_not_whole_is_none(tmp_path: Path) -> None:
    """Cut off anywhere, of another kind, or not there."""
    path = tmp_path / "k.index"
    _write(path)
    whole = path.read_bytes()
    for content in (b"", whole[:10], whole[:50], whole[:-1], whole + b"x", b"x" + whole[1:]):
        path.write_bytes(content)
        assert map_index(path) is None
    path.write_bytes(whole.replace(b'"count":5', b'"count":x'))
    assert map_index(path) is None
    assert map_index(tmp_path / "none") is None


def test_a_failure_leaves_the_earlier_one(tmp_path: Path) -> None:
    """The name is given to a whole file only."""
    path = tmp_path / "k.index"
    _write(path)
    with pytest.raises(KnowledgeError, match="changed while"):
        _write(path, evolve(_HEAD, count=6))
    assert map_index(path) is not None
    assert [one.name for one in tmp_path.iterdir()] == ["k.index"]


@pytest.mark.parametrize("user", [0, 1000])
def test_a_link_in_its_place(tmp_path: Path, user: int) -> None:
    """Whose folder it is may put one there while root writes: what it leads to stays as it is."""
    other = tmp_path / "shadow"
    other.touch(0o600)
    sync = os.fsync

    def synced(descriptor: int) -> None:
        sync(descriptor)
        (new,) = tmp_path.glob(".k.index.*")
        new.unlink()
        new.symlink_to(other)

    with (
        mock.patch("os.fsync", synced),
        mock.patch("os.geteuid", return_value=user),
        mock.patch("os.chown", side_effect=AssertionError),
    ):
        _write(tmp_path / "k.index")
    assert other.stat().st_mode & 0o777 == 0o600


def test_principal_components() -> None:
    """Orthonormal, the most telling first; all of them keep every dot product."""
    rows = _rows(200, 8) * np.array([8, 4, 2, 1, 1, 1, 1, 1], dtype=np.float32)
    every = principal_components(iter([rows[:100], rows[100:]]), 8, 8)
    np.testing.assert_allclose(every @ every.T, np.eye(8), atol=1e-5)
    np.testing.assert_allclose((rows @ every.T) @ (rows @ every.T).T, rows @ rows.T, atol=1e-3)
    assert principal_components([rows], 8, 2).shape == (2, 8)
    assert abs(every[0, 0]) > 0.9


def _fill(path: Path, count: int, collection: str = "c") -> None:
    excerpts = [Excerpt("h", f"text {number}") for number in range(count)]
    put_document(path, collection, "m", f"d/{count}.md", excerpts, _rows(count, 16, count))


def test_large_collections_have_one(tmp_path: Path) -> None:
    """It is built anew when the collection has changed, and not when it has not."""
    path = tmp_path / "k.db"
    _fill(path, 40)
    assert build_index(path, "c", 40) is None
    assert build_index(path, "none", 0) is None
    built = build_index(path, "c", 30)
    assert built == index_path(path, 1)
    state = built.stat().st_mtime_ns, built.stat().st_ino
    assert build_index(path, "c", 30) == built
    assert (built.stat().st_mtime_ns, built.stat().st_ino) == state
    _fill(path, 5)
    build_index(path, "c", 30)
    index = map_index(built)
    assert index is not None
    assert (index.head.count, index.head.components) == (45, 16)


def test_ids_are_read_for_a_new_index_only(tmp_path: Path) -> None:
    """Neither of a small collection, nor where the index is as it should be."""
    path = tmp_path / "k.db"
    _fill(path, 40)
    with mock.patch.object(KnowledgeReader, "vector_ids", side_effect=AssertionError):
        build_indexes(path)
        with pytest.raises(AssertionError):
            build_index(path, "c", 39)
    assert build_index(path, "c", 39) == index_path(path, 1)
    with mock.patch.object(KnowledgeReader, "vector_ids", side_effect=AssertionError):
        assert build_index(path, "c", 39) == index_path(path, 1)


def test_small_collections_lose_theirs(tmp_path: Path) -> None:
    """And so do those that are gone; nothing else in the folder is touched."""
    path = tmp_path / "k.db"
    _fill(path, 10)
    build_index(path, "c", 5)
    index_path(path, 77).write_bytes(b"gone")
    other = tmp_path / "other.db.c1.index"
    other.write_bytes(b"another database's")
    build_indexes(path)
    assert not index_path(path, 1).exists()
    assert not index_path(path, 77).exists()
    assert other.exists()
