"""
Files and folders on this machine, and the tracked files of a Git checkout.

What is read from disk is read in the threads that were given. Folders and files whose names begin
with a dot belong to tools, not to readers, and are passed over, as are files of other kinds; links
are followed as long as they stay inside. Of a folder that is a Git checkout the tracked files are
read, as they stand in the working tree; submodules and links are not.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.formats import FileFormat, format_of
from gptproxy.knowledge.formats.reading import largest_bytes
from gptproxy.knowledge.sources import Contents, FoundFile, Skipped
from gptproxy.threads import Threads

__all__ = ["LocalSource", "printable"]

# What is read at once, and one file more: about two batches of passages, so that cutting goes on beside writing.
_READ_BYTES = 192 * 1024
_GIT_SECONDS = 120
_UNREAD = frozenset({"node_modules", "__pycache__"})


class LocalSource:
    """
    See :class:`~gptproxy.knowledge.sources.Source`.

    :param path: a file or folder.
    :param threads: where it is read.
    """

    project: str | None = None

    def __init__(self, path: Path, threads: Threads) -> None:
        self._path = path.absolute()
        self._threads = threads
        self._files: Iterator[FoundFile] = iter(())
        self.spec = printable(self._path)
        self.notes: list[Skipped] = []
        self.complete = True

    async def begin(self) -> int:
        """See :meth:`~gptproxy.knowledge.sources.Source.begin`."""
        return await self._threads.run(self._begin)

    async def some(self, limit: int) -> Sequence[FoundFile]:
        """See :meth:`~gptproxy.knowledge.sources.Source.some`."""
        return await self._threads.run(lambda: list(islice(self._files, limit)))

    async def read(self, files: Sequence[FoundFile]) -> Sequence[Contents]:
        """See :meth:`~gptproxy.knowledge.sources.Source.read`."""
        return await self._threads.run(_read, files)

    def _begin(self) -> int:
        try:
            root = self._path.resolve(strict=True)
        except (
            OSError,
            RuntimeError,
        ) as error:  # RuntimeError: a loop of links, before Python 3.13
            raise Unreachable(_reason(error)) from error
        if not root.is_dir():
            one_format = format_of(root.name) or FileFormat.PLAIN
            one = FoundFile(printable(root), printable(Path(root.name)), one_format, path=root)
            self._files = iter([one])
            return 1
        if (root / ".git").exists():
            tracked = self._tracked(root)
            if tracked is not None:
                self._files = (_found(root, path) for path in tracked)
                return len(tracked)
        # Walked twice, so that the list of any number of files is never in memory.
        told = len(self.notes)
        total = sum(1 for _ in self._walk(root))
        del self.notes[told:]
        self.complete = True
        self._files = (_found(root, path) for path in self._walk(root))
        return total

    def _tracked(self, root: Path) -> list[Path] | None:
        """:return: a checkout's tracked documents; None where git does not tell."""
        # What a checkout's own configuration would have git run, it does not run.
        command = [
            "git",
            "-C",
            os.fspath(root),
            "-c",
            "core.fsmonitor=false",
            "ls-files",
            "-s",
            "-z",
        ]
        try:
            done = subprocess.run(  # noqa: S603  # fixed arguments, and a path that the operator named
                command,
                capture_output=True,
                check=True,
                timeout=_GIT_SECONDS,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            )
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None) or str(error).encode()
            reason = said.decode("utf-8", "replace").strip().splitlines()[:1]
            self.notes.append(
                Skipped(self.spec, f"read as a folder: git does not list it: {''.join(reason)}")
            )
            return None
        paths = []
        for entry in done.stdout.split(b"\0"):
            # MODE SP OBJECT SP STAGE TAB PATH, https://git-scm.com/docs/git-ls-files
            head, _, name = entry.partition(b"\t")
            path = Path(os.fsdecode(name))
            if head.startswith(b"100") and not _is_passed_over(path) and _format(path):
                paths.append(root / path)
        return list(dict.fromkeys(paths))  # a conflict has a path in several stages

    def _walk(self, root: Path) -> Iterator[Path]:
        """Walk a folder without recursion, names in order, folders after the files beside them."""
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                self.complete = False
                self.notes.append(Skipped(printable(folder), _reason(error)))
                continue
            folders = []
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith(".") or entry.name in _UNREAD:
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                        continue
                    target = _inside(root, path) if entry.is_symlink() else path
                    # A link to a folder inside leads to what is walked anyway.
                    if not _format(target) or target.is_dir():
                        continue
                except (OSError, Unfit, RuntimeError) as error:
                    self.notes.append(Skipped(printable(path), _reason(error)))
                    continue
                yield target
            waiting += reversed(folders)


def printable(path: Path) -> str:
    """
    Write a path as text.

    :param path: any path; names on Linux are bytes.
    :return: the path; bytes that are not UTF-8 as ``\\xNN``.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _found(root: Path, path: Path) -> FoundFile:
    name = printable(Path(root.name, path.relative_to(root)))
    return FoundFile(printable(path), name, _format(path) or FileFormat.PLAIN, path=path)


def _format(path: Path) -> FileFormat | None:
    return format_of(path.name)


def _is_passed_over(path: Path) -> bool:
    return any(part.startswith(".") or part in _UNREAD for part in path.parts)


def _read(files: Sequence[FoundFile]) -> list[Contents]:
    contents = []
    size = 0
    for file in files:
        data: bytes | Unfit | Unreachable
        try:
            data = _data(file)
            size += len(data)
        except (Unfit, Unreachable) as error:
            data = error
        contents.append(Contents(file, data))
        if size >= _READ_BYTES:
            break
    return contents


def _data(file: FoundFile) -> bytes:
    most = largest_bytes(file.format)
    try:
        with open(file.path or file.location, "rb", opener=_open_at_once) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Unfit("not a regular file")
            data = stream.read(most + 1) if status.st_size <= most else None
    except OSError as error:
        raise Unreachable(_reason(error)) from error
    if data is None or len(data) > most:
        raise Unfit(f"larger than {most // 2**20} MiB")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting, as opening a pipe would for its writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _inside(root: Path, link: Path) -> Path:
    """:return: what a link leads to. :raise Unfit: it leads out of the folder that was fed."""
    target = link.resolve(strict=True)
    if not target.is_relative_to(root):
        raise Unfit("a link that leads out of the folder")
    return target


def _reason(error: Exception) -> str:
    """:return: what an operator needs to know; the path stands beside it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
