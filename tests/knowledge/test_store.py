"""Documents are written whole and once; the file is made whole or not at all, and brought up to date."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from gptproxy.knowledge.database import exclusively, open_for_reading, open_for_writing
from gptproxy.knowledge.errors import KnowledgeError, OtherModel
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.store import Document, KnowledgeStore
from gptproxy.knowledge.vector_sets import EmbeddingModel
from tests.knowledge.content import content, texts

_SQL = "'; DROP TABLE passages; --"
_UNIT = np.array([0.6, 0.8], dtype="<f4").tobytes()


def _document(*texts: str, location: str = "/docs/a.md", version: bytes = b"1") -> Document:
    excerpts = tuple(Excerpt("Guide", text) for text in texts)
    return Document(location, "docs/a.md", "b", version, excerpts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "knowledge %3f#?.db"


@pytest.fixture
def store(path: Path) -> Iterator[KnowledgeStore]:
    with closing(KnowledgeStore(path)) as opened:
        yield opened


def _revision(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT revision FROM collections").fetchone()[0])


def test_what_was_written_is_there(store: KnowledgeStore, path: Path) -> None:
    """Texts in order, vectors as little-endian float32; SQL in a text is text."""
    source = store.add_source(_SQL, _SQL, "group/project", members_only=True)
    collection_id = store.collection_id(_SQL)
    assert collection_id is not None
    found = store.vectors.activate(store.vectors.wanted(collection_id, EmbeddingModel("m", 2)))
    store.vectors.fix_dimensions(found, 2)
    document = _document("one", _SQL, location=_SQL)
    written = store.put(source, [document], dict.fromkeys(document.hashes, _UNIT), found.set_id)
    assert (written.documents, written.unchanged, written.passages) == (1, 0, 2)
    assert [
        (row[0], row[1], row[2], row[3], row[11], row[13], row[16]) for row in content(path)
    ] == [(_SQL, _SQL, "group/project", 1, text, "m", _UNIT) for text in ("one", _SQL)]
    row = store.sources(_SQL)[0]
    assert (row.project, row.members_only, row.documents, row.passages) == (
        "group/project",
        True,
        1,
        2,
    )


def test_the_file_is_private_and_in_wal_mode(store: KnowledgeStore, path: Path) -> None:
    """Readers are never in the way of a writer, other users read nothing; a vector is one page."""
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA page_size").fetchone() == (8192,)


def test_every_change_has_its_revision(store: KnowledgeStore, path: Path) -> None:
    """And what changes nothing has none."""
    source = store.add_source("c", "/docs")
    revisions = [_revision(path)]
    for documents in ([_document("one")], [_document("one")], [_document("two", version=b"2")]):
        store.put(source, documents, {}, None)
        revisions.append(_revision(path))
    store.begin_reading()
    assert store.end_reading(source, 7) == 1
    revisions.append(_revision(path))
    assert [later - before for before, later in itertools.pairwise(revisions)] == [
        1,
        0,
        1,
        1,
    ]
    assert store.sources()[0].synced_at == 7


def test_a_failure_in_the_middle_leaves_the_old_state(store: KnowledgeStore, path: Path) -> None:
    """What is written together is one transaction."""
    source = store.add_source("c", "/docs")
    store.put(source, [_document("one")], {}, None)
    before = content(path)
    good = Document("/docs/a.md", "docs/a.md", "", b"2", (Excerpt("", "new"),))
    broken = Document("/docs/b.md", "\ud800", "", b"2", (Excerpt("", "new"),))
    with pytest.raises(TypeError):
        store.put(source, [good, broken], {}, None)
    assert content(path) == before


def test_what_was_removed_or_replaced_meanwhile_takes_nothing(store: KnowledgeStore) -> None:
    """Neither a source that goes, nor a set that is not active."""
    source = store.add_source("c", "/docs")
    building = store.vectors.wanted(1, EmbeddingModel("m"))
    with pytest.raises(KnowledgeError, match="embedding model"):
        store.put(source, [_document("one")], {}, building.set_id)
    store.mark_removed([source])
    with pytest.raises(KnowledgeError, match="removed"):
        store.put(source, [_document("one")], {}, None)


def test_a_removed_source_goes_with_all_that_is_of_it(store: KnowledgeStore, path: Path) -> None:
    """However much that is; the last one takes its collection along; one that is added again stays."""
    first, second = store.add_source("c", "/one"), store.add_source("c", "/two")
    for source in (first, second):
        documents = [_document(str(number), location=str(number)) for number in range(120)]
        store.put(source, documents, {}, None)
    store.mark_removed([first, second])
    store.add_source("c", "/two")
    store.sweep()
    assert len(texts(path)) == 120
    store.mark_removed([second])
    store.sweep()
    assert content(path) == []
    assert store.collection_id("c") is None


def test_vectors_of_another_length_are_refused(store: KnowledgeStore) -> None:
    """The first one says how long they are."""
    store.add_source("c", "/docs")
    found = store.vectors.wanted(1, EmbeddingModel("m"))
    assert store.vectors.fix_dimensions(found, 2).dimensions == 2
    with pytest.raises(OtherModel, match="have 2 dimensions"):
        store.vectors.fix_dimensions(found, 3)


def test_sets_of_another_version_of_the_inputs_are_built_anew(store: KnowledgeStore) -> None:
    """They are neither active for us, nor gone on with."""
    store.add_source("c", "/docs")
    with mock.patch("gptproxy.knowledge.vector_sets.INPUT_VERSION", 0):
        old = store.vectors.wanted(1, EmbeddingModel("m"))
    new = store.vectors.wanted(1, EmbeddingModel("m"))
    assert new.set_id != old.set_id
    assert store.vectors.active(1) is None
    assert store.vectors.activate(new).active
    assert store.vectors.wanted(1, EmbeddingModel("m")).active


def test_an_error_of_sqlite_names_the_file(store: KnowledgeStore, path: Path) -> None:
    """Also where SQLite has ended the transaction itself."""
    source = store.add_source("c", "/docs")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON documents"
            " BEGIN SELECT RAISE(ROLLBACK, 'full'); END"
        )
    with pytest.raises(KnowledgeError, match="full") as caught:
        store.put(source, [_document("one")], {}, None)
    assert str(path) in str(caught.value)


def test_any_thread_may_call(store: KnowledgeStore, path: Path) -> None:
    """Calls from several threads go one after another."""
    source = store.add_source("c", "/docs")
    workers = [
        threading.Thread(
            target=store.put, args=(source, [_document("x", location=str(number))], {}, None)
        )
        for number in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(content(path)) == 8


_VERSION_1 = """
PRAGMA user_version = 1;
CREATE TABLE collections (collection_id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, embedding_model TEXT NOT NULL,
    dimensions INTEGER NOT NULL CHECK (dimensions > 0), revision BLOB NOT NULL);
CREATE TABLE documents (document_id INTEGER PRIMARY KEY,
    collection_id INTEGER NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
    location TEXT NOT NULL, source TEXT NOT NULL, content_hash BLOB NOT NULL, UNIQUE (collection_id, location));
CREATE TABLE passages (passage_id INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id INTEGER NOT NULL REFERENCES documents (document_id) ON DELETE CASCADE, ordinal INTEGER NOT NULL,
    heading TEXT NOT NULL, text TEXT NOT NULL, embedding BLOB NOT NULL, UNIQUE (document_id, ordinal));
INSERT INTO collections VALUES (3, 'c', 'm', 2, x'00');
INSERT INTO documents VALUES (5, 3, '/srv/docs/deep/a.md', 'docs/deep/a.md', x'11');
INSERT INTO documents VALUES (6, 3, '/srv/docs/b.md', 'docs/b.md', x'11');
INSERT INTO documents VALUES (7, 3, '/srv/c.md', 'c.md', x'11');
INSERT INTO documents VALUES (8, 3, '/odd', 'other.md', x'11');
"""


def test_a_database_of_version_1_is_brought_up_to_date(path: Path) -> None:
    """With its vectors, and the sources that its documents were read from; a reader is told what to do."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_VERSION_1)
        connection.execute("INSERT INTO passages VALUES (9, 5, 0, 'H', 'text', ?)", (_UNIT,))
        connection.commit()
    with pytest.raises(KnowledgeError, match="docs sync"):
        open_for_reading(path)
    with (
        mock.patch(
            "gptproxy.knowledge.migration._statements",
            side_effect=sqlite3.OperationalError("disk full"),
        ),
        pytest.raises(KnowledgeError, match="disk full"),
    ):
        KnowledgeStore(path)
    with closing(KnowledgeStore(path)) as store:
        assert [row.spec for row in store.sources("c")] == ["/srv/docs", "/srv/c.md", "/odd"]
        active = store.vectors.active(3)
        assert active is not None
        assert (active.model, active.dimensions) == (EmbeddingModel("m"), 2)
        document = Document(
            "/srv/docs/deep/a.md", "docs/deep/a.md", "b", b"2", (Excerpt("H", "text"),)
        )
        assert store.vectors.known(active, document.hashes) == {document.hashes[0]: _UNIT}
        written = store.put(store.sources("c")[0].source_id, [document], {}, None)
        assert (written.documents, written.passages) == (1, 0)
    assert [row[16] for row in content(path) if row[16] is not None] == [_UNIT]
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%s_1'"
        ).fetchall()
        assert tables == []


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
            first.add_source("c", "/docs")
        link(source, target)

    with mock.patch("os.link", overtaken), closing(KnowledgeStore(path)) as second:
        assert [row.spec for row in second.sources()] == ["/docs"]
    assert [one.name for one in tmp_path.iterdir()] == ["knowledge.db"]


def test_a_file_system_without_hard_links(tmp_path: Path) -> None:
    """The file is renamed into place."""
    with mock.patch("os.link", side_effect=PermissionError):
        open_for_writing(tmp_path / "knowledge.db").close()
    assert [one.name for one in tmp_path.iterdir()] == ["knowledge.db"]


@pytest.mark.parametrize("user", [0, 1000])
def test_root_gives_the_file_to_the_owner_of_the_folder(tmp_path: Path, user: int) -> None:
    """What root feeds the daemon's user can read; other users give nothing away."""
    with mock.patch("os.geteuid", return_value=user), mock.patch("os.fchown") as chown:
        open_for_writing(tmp_path / "knowledge.db").close()
    owner = tmp_path.stat()
    expected = [(owner.st_uid, owner.st_gid)] if user == 0 else []
    assert [call.args[1:] for call in chown.call_args_list] == expected


def test_a_lock_that_leads_elsewhere(tmp_path: Path) -> None:
    """Is not followed: root would make a file wherever the folder's owner wants one."""
    elsewhere = tmp_path / "nologin"
    (tmp_path / "knowledge.db.lock").symlink_to(elsewhere)
    with pytest.raises(KnowledgeError), exclusively(tmp_path / "knowledge.db"):
        pass
    assert not elsewhere.exists()


def test_the_file_is_given_away_and_not_its_name(tmp_path: Path) -> None:
    """Whose folder it is may put a link in its place: what that leads to stays root's."""
    given: list[Path] = []

    def fchown(descriptor: int, user: int, group: int) -> None:
        given.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    with (
        mock.patch("os.geteuid", return_value=0),
        mock.patch("os.fchown", fchown),
        mock.patch("os.chown", side_effect=AssertionError),
    ):
        open_for_writing(tmp_path / "knowledge.db").close()
    assert [one.name.startswith(".knowledge.db.") for one in given] == [True]
