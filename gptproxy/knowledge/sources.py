"""
Which files are documents, and what is in them.

Blocking: for pool threads and commands, never for the reactor thread. Whatever lies in a folder,
nothing here is fatal: what cannot be fed is told with its reason. Folders and files whose names
begin with a dot belong to tools, not to readers, and are passed over, as are files of other kinds;
links are followed as long as they stay inside.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import frozen

from gptproxy.knowledge.passages import CUT_VERSION, cut
from gptproxy.knowledge.store import Document

__all__ = ["FoundFile", "Skipped", "Unfit", "content_hash", "document", "find_files", "read_text"]

_MARKDOWN = frozenset({".md", ".markdown"})
_PLAIN = frozenset({".txt", ".rst"})
_FILE_BYTES_MAX = 10 * 1024 * 1024


class Unfit(Exception):
    """A file that cannot be a document; its text is the reason."""


@frozen
class FoundFile:
    """
    A file that may be a document.

    :param path: its real path, absolute and without links.
    :param source: the name that callers see: its path from the folder that was fed, that folder's
        name included.
    """

    path: Path
    source: str


@frozen
class Skipped:
    """
    A file that was not fed.

    :param path: as printable text.
    :param reason: why not, in a few words.
    """

    path: str
    reason: str


def find_files(paths: Iterable[Path]) -> tuple[list[FoundFile], list[Skipped]]:
    """
    Walk files and folders.

    :param paths: what the operator named.
    :return: every document once, in a stable order, and what was skipped.
    """
    found: dict[Path, FoundFile] = {}
    skipped: list[Skipped] = []
    for path in paths:
        try:
            root = path.resolve(strict=True)
            candidates = _walk(root, skipped) if root.is_dir() else iter([_named(root)])
            for candidate in candidates:
                found.setdefault(candidate.path, candidate)
        except (
            OSError,
            Unfit,
            RuntimeError,
        ) as error:  # RuntimeError: a loop of links, before Python 3.13
            skipped.append(Skipped(printable(path), _reason(error)))
    return list(found.values()), skipped


def read_text(file: FoundFile) -> str:
    """
    Read a file's text.

    :param file: from :func:`find_files`.
    :return: its text, without a byte order mark.
    :raise Unfit: not a regular file, over 10 MiB, binary, not UTF-8, or unreadable.
    """
    try:
        with open(file.path, "rb", opener=_open_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise Unfit("not a regular file")
            data = stream.read(_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise Unfit(_reason(error)) from error
    if len(data) > _FILE_BYTES_MAX:
        raise Unfit("larger than 10 MiB")
    if b"\0" in data:
        raise Unfit("binary: it has NUL bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unfit(f"not UTF-8 at byte {error.start}") from error


def content_hash(file: FoundFile, text: str) -> bytes:
    """
    Tell one state of a document from another.

    :param file: where it is.
    :param text: what is in it.
    :return: a hash of the text, of what callers see as its name, and of the rules it is cut by.
    """
    return hashlib.sha256(f"{CUT_VERSION}\0{file.source}\0{text}".encode()).digest()


def document(file: FoundFile, text: str) -> Document:
    """
    Make a document of a file.

    :param file: where it is.
    :param text: what is in it.
    :return: the document, cut into passages.
    """
    excerpts = cut(text, markdown=_suffix(file.path) in _MARKDOWN)
    return Document(printable(file.path), file.source, content_hash(file, text), excerpts)


def printable(path: Path) -> str:
    """
    Write a path as text.

    :param path: any path; names on Linux are bytes.
    :return: the path; bytes that are not UTF-8 as ``\\xNN``.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting, as opening a pipe would for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _named(path: Path) -> FoundFile:
    if _suffix(path) not in _MARKDOWN | _PLAIN:
        raise Unfit("neither Markdown nor text (.md, .markdown, .txt, .rst)")
    return FoundFile(path, printable(Path(path.name)))


def _walk(root: Path, skipped: list[Skipped]) -> Iterator[FoundFile]:
    """Walk a folder without recursion, names in order, folders after the files beside them."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            skipped.append(Skipped(printable(folder), _reason(error)))
            continue
        folders = []
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                    continue
                target = _inside(root, path) if entry.is_symlink() else path
                # A link to a folder inside leads to what is walked anyway.
                is_document = _suffix(target) in _MARKDOWN | _PLAIN and not target.is_dir()
            except (OSError, Unfit, RuntimeError) as error:
                skipped.append(Skipped(printable(path), _reason(error)))
                continue
            if is_document:
                yield FoundFile(target, printable(Path(root.name, target.relative_to(root))))
        waiting += reversed(folders)


def _inside(root: Path, link: Path) -> Path:
    """:return: what a link leads to. :raise Unfit: it leads out of the folder that was fed."""
    target = link.resolve(strict=True)
    if not target.is_relative_to(root):
        raise Unfit("a link that leads out of the folder")
    return target


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _reason(error: Exception) -> str:
    """:return: what an operator needs to know; the path stands beside it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
