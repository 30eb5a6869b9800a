"""Files on disk are listed and read; whatever else lies there is told and skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from unittest import mock

import pytest
from twisted.internet.defer import Deferred

from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.formats import FileFormat
from gptproxy.knowledge.local_source import LocalSource, printable
from gptproxy.knowledge.sources import Contents, FoundFile, blob_id, content_hash
from tests.knowledge.standins import SameThread


def _tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    return root


def _result(coroutine: object) -> object:
    outcome: list[object] = []
    Deferred.fromCoroutine(coroutine).addBoth(outcome.append)  # type: ignore[arg-type]  # a coroutine
    return outcome[0]


def _listed(path: Path) -> tuple[list[str], dict[str, str], LocalSource]:
    source = LocalSource(path, SameThread())
    total = _result(source.begin())
    files = _result(source.some(1000))
    assert isinstance(files, list)
    assert total == len(files)
    assert _result(source.some(1)) == []
    return (
        [file.name for file in files],
        {Path(one.path).name: one.reason for one in source.notes},
        source,
    )


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    """Documents by their names; not what is hidden or belongs to tools, not other kinds."""
    docs = _tree(
        tmp_path / "docs", "b.md", "a.MARKDOWN", "c.txt", "z.rst", "x.png", "deep/er/d.md", "also/e.md",
        ".git/f.md", ".hidden.md", "node_modules/x.js",
    )  # fmt: skip
    (docs / ".git").rename(docs / ".hidden")
    names, told, source = _listed(docs)
    assert names == [
        "docs/a.MARKDOWN", "docs/b.md", "docs/c.txt", "docs/z.rst", "docs/also/e.md", "docs/deep/er/d.md"
    ]  # fmt: skip
    assert told == {}
    assert source.complete


def test_a_file_of_any_name_is_text(tmp_path: Path) -> None:
    """Who names it wants it."""
    _tree(tmp_path, "notes.xyz")
    source = LocalSource(tmp_path / "notes.xyz", SameThread())
    assert _result(source.begin()) == 1
    files = _result(source.some(10))
    assert isinstance(files, list)
    assert (files[0].name, files[0].format) == ("notes.xyz", FileFormat.PLAIN)


@pytest.mark.parametrize("name", ["missing", "loop"])
def test_what_is_not_there(tmp_path: Path, name: str) -> None:
    """Is no source without documents."""
    (tmp_path / "loop").symlink_to("loop")
    failure = _result(LocalSource(tmp_path / name, SameThread()).begin())
    failure.trap(Unreachable)  # type: ignore[attr-defined]  # a Failure


def test_links_inside_are_followed_and_those_that_leave_are_not(tmp_path: Path) -> None:
    """A link out of the folder is told, whatever it leads to; loops end."""
    _tree(tmp_path, "secret.md", "outside/x.md")
    docs = _tree(tmp_path / "docs", "a.md", "data.bin", "sub/b.md")
    (docs / "again.md").symlink_to("a.md")
    (docs / "binary.md").symlink_to("data.bin")
    (docs / "folder").symlink_to("sub")
    (docs / "sub" / "up").symlink_to("..")
    (docs / "out.md").symlink_to("../secret.md")
    (docs / "away").symlink_to(tmp_path / "outside")
    (docs / "dangling.md").symlink_to("nowhere.md")
    (docs / "loop.md").symlink_to("loop.md")
    names, told, _ = _listed(docs)
    assert names == ["docs/a.md", "docs/a.md", "docs/sub/b.md"]
    assert set(told) == {"out.md", "away", "dangling.md", "loop.md"}
    assert "leads out" in told["out.md"]
    assert "leads out" in told["away"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The rest is walked, and nothing that was fed counts as gone."""
    docs = _tree(tmp_path / "docs", "a.md", "locked/b.md", "open/c.md")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with mock.patch("os.scandir", refusing):
        names, told, source = _listed(docs)
    assert names == ["docs/a.md", "docs/open/c.md"]
    assert told == {"locked": "Permission denied"}
    assert not source.complete


def _git(*arguments: str, cwd: Path) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


def test_of_a_checkout_the_tracked_files_are_read(tmp_path: Path) -> None:
    """As they stand; no links, nothing hidden, nothing that Git does not know."""
    docs = _tree(tmp_path / "docs", "a.md", "deep/b.md", ".ci/c.md", "x.png", "grün.md")
    (docs / "link.md").symlink_to("a.md")
    _git("init", "-q", cwd=docs)
    _git("add", "-A", cwd=docs)
    _git("commit", "-q", "-m", "x", cwd=docs)
    _tree(docs, "untracked.md")
    names, told, _ = _listed(docs)
    assert names == ["docs/a.md", "docs/deep/b.md", "docs/grün.md"]
    assert told == {}


def test_a_checkout_that_git_does_not_list_is_a_folder(tmp_path: Path) -> None:
    """And that is told."""
    docs = _tree(tmp_path / "docs", "a.md")
    (docs / ".git").write_text("gitdir: nowhere")
    names, told, _ = _listed(docs)
    assert names == ["docs/a.md"]
    with mock.patch("subprocess.run", side_effect=FileNotFoundError(2, "no git")):
        assert _listed(docs)[0] == ["docs/a.md"]
    assert "git does not list it" in told["docs"]


def _read(*files: FoundFile) -> list[Contents]:
    contents = _result(LocalSource(Path("/"), SameThread()).read(files))
    assert isinstance(contents, list)
    return contents


def _file(path: Path) -> FoundFile:
    return FoundFile(str(path), path.name, FileFormat.PLAIN, path=path)


def test_files_are_read_some_at_a_time(tmp_path: Path) -> None:
    """As many as are in memory at once, and one at least."""
    for name in "abc":
        (tmp_path / name).write_bytes(b"x" * 100 * 1024)
    assert len(_read(*(_file(tmp_path / name) for name in "abc"))) == 2


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """Unfit is what it will be to anybody; unreachable, what may be there tomorrow."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 100 * 2**20)
    contents = _read(*(_file(tmp_path / name) for name in ("pipe", "large", "missing")))
    assert [type(one.data) for one in contents] == [Unfit, Unfit, Unreachable]
    assert [str(one.data) for one in contents] == [
        "not a regular file", "larger than 10 MiB", "No such file or directory"
    ]  # fmt: skip


def test_names_that_are_no_text() -> None:
    """A name on Linux is bytes; it is printed, stored and shown all the same."""
    assert printable(Path(os.fsdecode(b"a\xff\n.md"))) == "a\\xff\n.md"


def test_blob_ids_are_those_of_git(tmp_path: Path) -> None:
    """So what GitLab tells can be compared."""
    (tmp_path / "a").write_bytes(b"content")
    done = subprocess.run(
        ["git", "hash-object", "a"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert blob_id(b"content") == done.stdout.strip()


def test_the_hash_tells_states_apart() -> None:
    """Other bytes, another name to show, or another format is another state."""
    states = {
        content_hash(FoundFile("x", name, of), blob)
        for name in ("a", "b")
        for of in (FileFormat.PLAIN, FileFormat.CODE)
        for blob in ("1", "2")
    }
    assert len(states) == 8
