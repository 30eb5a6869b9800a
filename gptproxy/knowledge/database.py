"""
The SQLite file of the knowledge room: made whole or not at all, opened for writing or for reading.

Blocking: for pool threads and commands, never for the reactor thread. Everything that SQLite says
becomes a KnowledgeError that names the file. https://sqlite.org/wal.html,
https://sqlite.org/uri.html
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from gptproxy.knowledge.errors import KnowledgeError
from gptproxy.knowledge.migration import migrate

__all__ = ["exclusively", "naming_errors", "open_for_reading", "open_for_writing"]

_SCHEMA_VERSION = 2
# A vector of 1,536 float32 and its row's head: one page each, read at once.
_PAGE_BYTES = 8192
# In pages: fewer, larger checkpoints than the default of 1,000, each of which waits for the disk.
_CHECKPOINT_PAGES = 4000
# A writer's transaction is a few documents, so it waits for another writer for milliseconds; a
# reader in WAL mode only waits while the file is recovered after a kill.
_BUSY_WRITING_S = 30.0
_BUSY_READING_S = 1.0
# The part of an extended result code that https://sqlite.org/rescode.html calls primary.
_PRIMARY = 0xFF


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """
    Turn what SQLite and the file system raise into a KnowledgeError that names the file.

    :param path: the database file.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise KnowledgeError(f"{path}: {error}") from error


def open_for_writing(path: Path) -> sqlite3.Connection:
    """
    Open the database, made on the spot where there is none.

    :param path: the file; its folder must exist.
    :return: a connection without implicit transactions, which any thread may use, one at a time.
    :raise KnowledgeError: the file is no knowledge database, or cannot be made or opened.
    """
    with naming_errors(path):
        if not path.exists():
            _create(path)
        _check_kind(path)
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY_WRITING_S,
            isolation_level=None,
            check_same_thread=False,
        )
        with _closing_on_error(connection):
            migrate(connection, _schema())
            _check_version(connection, path)
            connection.execute("PRAGMA foreign_keys = ON")
            # In WAL mode NORMAL loses the last transactions when the machine loses power, never the
            # file's integrity.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES:d}")
        return connection


def open_for_reading(path: Path) -> tuple[sqlite3.Connection, bool]:
    """
    Open the database so that nothing can be written through it.

    :param path: the file.
    :return: a connection in a transaction (all reads see one state), and whether it was opened as
        an immutable file: in a folder that we may not write to, SQLite cannot read a WAL database
        in any other way, and takes no locks.
    :raise KnowledgeError: there is no such file, or it is no knowledge database, or cannot be read.
    """
    with naming_errors(path):
        if not path.exists():
            raise KnowledgeError(
                f"{path}: there is no such knowledge database; `gptproxy docs add` makes it"
            )
        _check_kind(path)
        try:
            return _begin_reading(path, "mode=ro"), False
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY not in (
                sqlite3.SQLITE_READONLY,
                sqlite3.SQLITE_CANTOPEN,
            ):
                raise
            if _has_content(path.with_name(f"{path.name}-wal")):
                raise  # the newest transactions are in there, an immutable file would miss them
        return _begin_reading(path, "mode=ro&immutable=1"), True


@contextmanager
def exclusively(path: Path) -> Iterator[None]:
    """
    Be the only command that writes to a database. Readers are not kept out; a process that is
    killed lets go.

    :param path: the database file.
    :raise KnowledgeError: another command is writing to it, or there is no such folder.
    """
    lock = path.with_name(f"{path.name}.lock")
    with naming_errors(path):
        if not path.parent.is_dir():
            raise KnowledgeError(f"{path.parent}: there is no such folder: make it first")
        # A link is not followed: root would make a file wherever the folder's owner lets it lead.
        flags = os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(lock, flags, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise KnowledgeError(
                f"{path}: another `gptproxy docs` command is writing to it: wait for its end"
            ) from taken
        yield
    finally:
        os.close(descriptor)


def _begin_reading(path: Path, parameters: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{parameters}",
        uri=True,
        timeout=_BUSY_READING_S,
        isolation_level=None,
    )
    with _closing_on_error(connection):
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        _check_version(connection, path)
    return connection


def _check_kind(path: Path) -> None:
    """SQLite would wait for whoever writes to a pipe, for ever."""
    if not path.is_file():
        raise KnowledgeError(f"{path}: is no file")


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if 0 < version < _SCHEMA_VERSION:
        raise KnowledgeError(
            f"{path}: it was made by an earlier gptproxy; `gptproxy docs sync` brings it up to date"
        )
    if version != _SCHEMA_VERSION:
        raise KnowledgeError(
            f"{path}: this is no knowledge database of version {_SCHEMA_VERSION},"
            f" its user_version is {version}"
        )


def _create(path: Path) -> None:
    """Make an empty database beside the path and give it its name when it is complete."""
    if not path.parent.is_dir():
        raise KnowledgeError(f"{path.parent}: there is no such folder: make it first")
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor):
            if os.geteuid() == 0:
                # Fed by root, read by the daemon's user: the folder's owner is whom it is for. By the open file: its
                # name is his to give to another one.
                owner = path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        connection = sqlite3.connect(name, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size = {_PAGE_BYTES:d}")
            # Nobody sees the file before it has its name, so it need not be safe at every statement.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {_schema()} COMMIT;")
        finally:
            connection.close()
        _flush(name)
        _give_name(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _flush(name: str) -> None:
    """Wait until a file is on the disk."""
    descriptor = os.open(name, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _schema() -> str:
    return resources.files("gptproxy.knowledge").joinpath("schema.sql").read_text("utf-8")


def _give_name(name: str, path: Path) -> None:
    """Link, not rename: of two that make the database at once the second must not replace it."""
    try:
        os.link(name, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        Path(name).replace(path)


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


@contextmanager
def _closing_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise
