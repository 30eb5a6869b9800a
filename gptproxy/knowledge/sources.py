"""
What a source of documents is, wherever it stands.

Pure: imports the room's values, nothing of Twisted. A source lists its files, some at a time, and
reads those that are asked for. Whatever lies in it, nothing is fatal: what cannot be fed is told
with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.formats import FileFormat
from gptproxy.knowledge.passages import CUT_VERSION

__all__ = ["Contents", "FoundFile", "Skipped", "Source", "blob_id", "content_hash"]


@frozen
class FoundFile:
    """
    A file that may be a document.

    :param location: what tells it from the source's others.
    :param name: what callers and models see.
    :param format: what it is written in.
    :param blob_id: Git's id of its bytes, where it is known before they are read.
    :param path: where it is on disk, if it is there.
    """

    location: str
    name: str
    format: FileFormat
    blob_id: str | None = None
    path: Path | None = None


@frozen
class Skipped:
    """
    Something that was not fed, or not as it is.

    :param path: as printable text.
    :param reason: why not, in a few words.
    """

    path: str
    reason: str


@frozen
class Contents:
    """
    A file, read.

    :param file: which.
    :param data: its bytes, or why there are none: unfit to be a document, or not to be had now.
    """

    file: FoundFile
    data: bytes | Unfit | Unreachable


class Source(Protocol):
    """
    A source, to be read once from its beginning to its end.

    ``spec`` names it for the operator, ``project`` is its GitLab project's path or None, ``notes``
    grows by what is to be told, and ``complete`` says at the end whether all that is there was
    listed: only then is what was not listed gone.
    """

    @property
    def spec(self) -> str:
        """:return: its name."""

    @property
    def project(self) -> str | None:
        """:return: the GitLab project's full path."""

    @property
    def notes(self) -> list[Skipped]:
        """:return: what is to be told."""

    @property
    def complete(self) -> bool:
        """:return: whether all of it was listed."""

    async def begin(self) -> int:
        """
        Look at it.

        :return: how many files there are.
        :raise Unreachable: it cannot be read.
        """

    async def some(self, limit: int) -> Sequence[FoundFile]:
        """
        :param limit: how many at most.
        :return: the next files; none: that was all.
        """

    async def read(self, files: Sequence[FoundFile]) -> Sequence[Contents]:
        """
        :param files: of this source, at least one.
        :return: the first one or more of them, read: as many as are in memory at once.
        """


def blob_id(data: bytes) -> str:
    """
    :param data: a file's bytes.
    :return: what Git calls them (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).
    """
    header = b"blob %d\0" % len(data)
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


def content_hash(file: FoundFile, blob: str) -> bytes:
    """
    Tell one state of a document from another.

    :param file: which.
    :param blob: Git's id of its bytes.
    :return: a hash of them, of what callers see as its name, and of the rules it is cut by.
    """
    text = f"{CUT_VERSION}\0{file.format.value}\0{file.name}\0{blob}"
    return hashlib.sha256(text.encode()).digest()
