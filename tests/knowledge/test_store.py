"""Documents are written whole, once, and of one model; the file is made whole or not at all."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from gptproxy.knowledge.database import open_for_writing
from gptproxy.knowledge.errors import KnowledgeError, MalformedEmbeddings, OtherModel
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.reading import KnowledgeReader
from gptproxy.knowledge.store import Document, KnowledgeStore

_MODEL = "text-embedding-ada-002"
_SQL = "'; DROP TABLE passages; --"


def _document(*texts: str, location: str = "/docs/a.md", version: bytes = b"1") -> Document:
    excerpts = tuple(Excerpt("Guide", text) for text in texts)
    return Document(location, "docs/a.md", version, excerpts)


def _vectors(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "knowledge %3f#?.db"


@pytest.fixture
def store(path: Path) -> Iterator[KnowledgeStore]:
    with closing(KnowledgeStore(path)) as opened:
        yield opened


def _content(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT name, location, content_hash, ordinal, heading, text, embedding"
            " FROM collections JOIN documents USING (collection_id)"
            " LEFT JOIN passages USING (document_id)"
            " ORDER BY location, ordinal"
        ).fetchall()


def test_what_was_written_is_there(store: KnowledgeStore, path: Path) -> None:
    """Texts in order, vectors at unit length as little-endian float32; SQL in a text is text."""
    document = _document("one", _SQL, location=_SQL)
    assert store.put(_SQL, _MODEL, document, _vectors([3, 4], [0, -2]))
    one, two = (np.array(row, dtype="<f4").tobytes() for row in ([0.6, 0.8], [0, -1]))
    assert _content(path) == [
        (_SQL, _SQL, b"1", 0, "Guide", "one", one),
        (_SQL, _SQL, b"1", 1, "Guide", _SQL, two),
    ]


def test_the_file_is_private_and_in_wal_mode(store: KnowledgeStore, path: Path) -> None:
    """Readers are never in the way of a writer, other users read nothing."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_unchanged_document_is_not_written(store: KnowledgeStore, path: Path) -> None:
    """The same hash at the same place: nothing happens, and nobody has to read anything again."""
    store.put("fibjs", _MODEL, _document("one"), _vectors([1, 0]))
    with KnowledgeReader(path) as reader:
        before = reader.collection("fibjs")
    assert not store.put("fibjs", _MODEL, _document("one"), _vectors([0, 1]))
    with KnowledgeReader(path) as reader:
        assert reader.collection("fibjs") == before
    assert store.holds("fibjs", "/docs/a.md", b"1")
    assert not store.holds("fibjs", "/docs/a.md", b"2")
    assert not store.holds("fibjs", "/docs/b.md", b"1")
    assert not store.holds("other", "/docs/a.md", b"1")


def test_a_changed_document_replaces_its_passages(store: KnowledgeStore, path: Path) -> None:
    """None of the old passages stays; their ids are never used again; the revision is new."""
    store.put("fibjs", _MODEL, _document("one", "two"), _vectors([1, 0], [0, 1]))
    with KnowledgeReader(path) as reader:
        before = reader.collection("fibjs")
        old, _ = reader.vectors(before)
    assert store.put("fibjs", _MODEL, _document("three", version=b"2"), _vectors([1, 0]))
    assert [row[5] for row in _content(path)] == ["three"]
    with KnowledgeReader(path) as reader:
        after = reader.collection("fibjs")
        new, _ = reader.vectors(after)
    assert after.revision != before.revision
    assert min(new) > max(old)


def test_a_document_without_passages(store: KnowledgeStore, path: Path) -> None:
    """It begins no collection; in one that exists it replaces what was there."""
    nothing = np.empty((0, 0), dtype=np.float32)
    store.put("fibjs", _MODEL, _document(), nothing)
    assert _content(path) == []
    store.put("fibjs", _MODEL, _document("one"), _vectors([1, 0]))
    store.put("fibjs", _MODEL, _document(version=b"2"), nothing)
    assert [row[3] for row in _content(path)] == [None]


@pytest.mark.parametrize(
    ("model", "vectors", "error"),
    [
        ("another", _vectors([1, 0]), OtherModel),
        (_MODEL, _vectors([1, 0, 0]), OtherModel),
        (_MODEL, _vectors([1, 0], [0, 1]), MalformedEmbeddings),
        (_MODEL, _vectors([float("nan"), 0]), MalformedEmbeddings),
        (_MODEL, _vectors([float("inf"), 0]), MalformedEmbeddings),
        (_MODEL, _vectors([0, 0]), MalformedEmbeddings),
    ],
)
def test_vectors_that_do_not_belong_are_refused(
    store: KnowledgeStore,
    path: Path,
    model: str,
    vectors: NDArray[np.float32],
    error: type[KnowledgeError],
) -> None:
    """Another model, another length, another count, not finite or zero: the old state stays."""
    store.put("fibjs", _MODEL, _document("one"), _vectors([1, 0]))
    before = _content(path)
    with pytest.raises(error):
        store.put("fibjs", model, _document("two", version=b"2"), vectors)
    assert _content(path) == before


def test_the_model_is_checked_before_it_is_paid_for(store: KnowledgeStore) -> None:
    """A collection takes its own model; one that does not exist takes any."""
    store.require("fibjs", "any")
    store.put("fibjs", _MODEL, _document("one"), _vectors([1, 0]))
    store.require("fibjs", _MODEL)
    with pytest.raises(OtherModel, match="fibjs"):
        store.require("fibjs", "any")


def test_a_failure_in_the_middle_leaves_the_old_state(store: KnowledgeStore, path: Path) -> None:
    """One document is one transaction."""
    store.put("fibjs", _MODEL, _document("one"), _vectors([1, 0]))
    before = _content(path)
    broken = Document("/docs/a.md", "docs/a.md", b"2", (Excerpt("", "new"), Excerpt("", "\ud800")))
    with pytest.raises(UnicodeEncodeError):
        store.put("fibjs", _MODEL, broken, _vectors([1, 0], [0, 1]))
    assert _content(path) == before
    assert store.put("fibjs", _MODEL, _document("two", version=b"2"), _vectors([1, 0]))


def test_an_error_of_sqlite_names_the_file(store: KnowledgeStore, path: Path) -> None:
    """Also where SQLite has ended the transaction itself."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON documents"
            " BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
        )
    with pytest.raises(KnowledgeError, match="full") as caught:
        store.put("fibjs", _MODEL, _document("one"), _vectors([1, 0]))
    assert str(path) in str(caught.value)
    assert _content(path) == []


def test_any_thread_may_call(store: KnowledgeStore, path: Path) -> None:
    """Calls from several threads go one after another."""
    workers = [
        threading.Thread(
            target=store.put,
            args=("fibjs", _MODEL, _document("x", location=str(number)), _vectors([1, 0])),
        )
        for number in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(_content(path)) == 8


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_file_of_another_kind_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Nothing is written into a file that is not ours."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(KnowledgeError, match=r"notes\.txt"):
        KnowledgeStore(path)
    assert path.read_bytes() == content


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    """The error names it, and no file of ours that was to be made in it."""
    with pytest.raises(KnowledgeError, match=r"/missing: there is no such folder"):
        KnowledgeStore(tmp_path / "missing" / "knowledge.db")


def test_a_failure_while_the_file_is_made_leaves_nothing(tmp_path: Path) -> None:
    """It gets its name when it is complete."""
    with (
        mock.patch("gptproxy.knowledge.database._give_name", side_effect=OSError("no")),
        pytest.raises(KnowledgeError, match="no"),
    ):
        KnowledgeStore(tmp_path / "knowledge.db")
    assert list(tmp_path.iterdir()) == []


def test_two_that_make_the_file_at_once(tmp_path: Path) -> None:
    """The second takes the first's file and does not replace it."""
    path = tmp_path / "knowledge.db"
    link = os.link

    def overtaken(source: str, target: Path) -> None:
        with mock.patch("os.link", link), closing(KnowledgeStore(path)) as first:
            first.put("fibjs", _MODEL, _document("one"), _vectors([1, 0]))
        link(source, target)

    with mock.patch("os.link", overtaken), closing(KnowledgeStore(path)) as second:
        assert second.holds("fibjs", "/docs/a.md", b"1")
    assert [one.name for one in tmp_path.iterdir()] == ["knowledge.db"]


def test_a_file_system_without_hard_links(tmp_path: Path) -> None:
    """The file is renamed into place."""
    with mock.patch("os.link", side_effect=PermissionError):
        open_for_writing(tmp_path / "knowledge.db").close()
    assert [one.name for one in tmp_path.iterdir()] == ["knowledge.db"]


@pytest.mark.parametrize("user", [0, 1000])
def test_root_gives_the_file_to_the_owner_of_the_folder(tmp_path: Path, user: int) -> None:
    """What root feeds the daemon's user can read; other users give nothing away."""
    with mock.patch("os.geteuid", return_value=user), mock.patch("os.chown") as chown:
        open_for_writing(tmp_path / "knowledge.db").close()
    owner = tmp_path.stat()
    expected = [(owner.st_uid, owner.st_gid)] if user == 0 else []
    assert [call.args[1:] for call in chown.call_args_list] == expected
