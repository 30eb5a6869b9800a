"""Files become documents; whatever else lies there is told and skipped."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from gptproxy.knowledge.sources import (
    FoundFile,
    Unfit,
    content_hash,
    document,
    find_files,
    printable,
    read_text,
)


def _tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    return root


def _sources(*paths: Path) -> list[str]:
    return [one.source for one in find_files(paths)[0]]


def _reasons(*paths: Path) -> dict[str, str]:
    return {Path(one.path).name: one.reason for one in find_files(paths)[1]}


def test_folders_are_walked_in_order(tmp_path: Path) -> None:
    """Markdown and text by their suffixes in any case; not what is hidden, not other kinds."""
    docs = _tree(
        tmp_path / "docs",
        "b.md",
        "a.MARKDOWN",
        "c.txt",
        "z.rst",
        "code.py",
        "deep/er/d.md",
        "also/e.md",
        ".git/f.md",
        ".hidden.md",
    )
    assert _sources(docs) == [
        "docs/a.MARKDOWN",
        "docs/b.md",
        "docs/c.txt",
        "docs/z.rst",
        "docs/also/e.md",
        "docs/deep/er/d.md",
    ]
    assert _reasons(docs) == {}


def test_a_file_is_named_by_its_name_and_found_once(tmp_path: Path) -> None:
    """However often and by whatever way it is named."""
    docs = _tree(tmp_path / "docs", "a.md")
    (tmp_path / "link").symlink_to(docs)
    assert _sources(docs / "a.md", docs, tmp_path / "link", docs / ".." / "docs" / "a.md") == [
        "a.md"
    ]


def test_what_is_named_and_cannot_be_fed_is_told(tmp_path: Path) -> None:
    """Missing, of another kind, a loop: never fatal for the rest."""
    docs = _tree(tmp_path, "a.md", "b.html")
    (tmp_path / "loop.md").symlink_to("loop.md")
    paths = [docs / "missing.md", docs / "b.html", docs / "loop.md", docs / "a.md"]
    assert _sources(*paths) == ["a.md"]
    reasons = _reasons(*paths)
    assert list(reasons) == ["missing.md", "b.html", "loop.md"]
    assert reasons["missing.md"] == "No such file or directory"
    assert "Markdown" in reasons["b.html"]


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
    assert _sources(docs) == ["docs/a.md", "docs/sub/b.md"]
    reasons = _reasons(docs)
    assert set(reasons) == {"out.md", "away", "dangling.md", "loop.md"}
    assert "leads out" in reasons["out.md"]
    assert "leads out" in reasons["away"]


def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The rest of the tree is walked."""
    docs = _tree(tmp_path / "docs", "a.md", "locked/b.md", "open/c.md")
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if path.name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with mock.patch("os.scandir", refusing):
        assert _sources(docs) == ["docs/a.md", "docs/open/c.md"]
        assert _reasons(docs) == {"locked": "Permission denied"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        ("Grüße".encode(), "Grüße"),
        (b"\xef\xbb\xbfmark", "mark"),
        (b"x" * (10 * 1024 * 1024), "x" * (10 * 1024 * 1024)),
        (b"'; DROP TABLE documents; --", "'; DROP TABLE documents; --"),
    ],
    ids=["empty", "umlauts", "byte order mark", "10 MiB", "SQL"],
)
def test_text_is_read(tmp_path: Path, content: bytes, text: str) -> None:
    """UTF-8 up to 10 MiB."""
    path = tmp_path / "a.md"
    path.write_bytes(content)
    assert read_text(FoundFile(path, "a.md")) == text


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b"a\0b"), "binary"),
        (lambda path: path.write_bytes(b"ab\xff"), "not UTF-8 at byte 2"),
        (lambda path: path.write_bytes("ü".encode("latin-1")), "not UTF-8"),
        (lambda path: path.write_bytes("text".encode("utf-16")), "binary"),
        (lambda path: path.write_bytes(b"x" * (10 * 1024 * 1024 + 1)), "10 MiB"),
        (lambda path: path.mkdir(), "directory"),
        (os.mkfifo, "regular file"),
        (lambda path: None, "No such file"),
    ],
    ids=["NUL", "byte", "latin-1", "utf-16", "large", "folder", "pipe", "gone"],
)
def test_what_is_no_text_has_a_reason(
    tmp_path: Path, make: Callable[[Path], object], reason: str
) -> None:
    """Each in words that an operator understands; a pipe is not waited for."""
    path = tmp_path / "a.md"
    make(path)
    with pytest.raises(Unfit, match=reason):
        read_text(FoundFile(path, "a.md"))


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """A name on Linux is bytes; it is printed, stored and shown all the same."""
    name = os.fsdecode(b"caf\xe9.md")
    found, _ = find_files([_tree(tmp_path / "docs", name)])
    assert [one.source for one in found] == ["docs/caf\\xe9.md"]
    assert printable(found[0].path) == f"{tmp_path}/docs/caf\\xe9.md"
    made = document(found[0], "x")
    made.location.encode()


def test_a_document_is_cut_by_its_kind(tmp_path: Path) -> None:
    """A heading in Markdown is a number sign in text."""
    for name, heading in (("a.md", "A"), ("a.MARKDOWN", "A"), ("a.txt", ""), ("a.rst", "")):
        file = FoundFile(tmp_path / name, name)
        made = document(file, "# A\nb")
        assert (made.source, made.location) == (name, str(tmp_path / name))
        assert [one.heading for one in made.excerpts] == [heading]
        assert made.content_hash == content_hash(file, "# A\nb")


def test_the_hash_tells_states_apart(tmp_path: Path) -> None:
    """Another text, or another name to show, is another state."""
    file, other = FoundFile(tmp_path, "a"), FoundFile(tmp_path, "b")
    hashes = {content_hash(file, "x"), content_hash(file, "y"), content_hash(other, "x")}
    assert len(hashes) == 3
