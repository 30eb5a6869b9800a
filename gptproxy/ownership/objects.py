"""
The table of stored objects: one SQLite file, one row for each object.

Blocking: called in threads only, but for the opening at the start. Imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["LONGEST_ID", "ObjectTable", "StoredObject", "UnusableTable"]

LONGEST_ID: Final = 256
"""In characters; OpenAI's longest have about 90, Azure's 200. What is longer is no id."""

_A_MONTH: Final = 31 * 86_400

LIFETIMES: Final = {
    **dict.fromkeys(
        ("chat_completion", "chatkit_session", "container", "item", "response", "run"), _A_MONTH
    ),
    "spoken": 2 * 3600,
}
"""In seconds. The upstream itself forgets these: after 30 days at most, a spoken answer after an hour."""

_FORGOTTEN_AT_ONCE: Final = 10_000
"""Rows deleted in one go, so that no go holds the table for long."""

_BUSY_SECONDS: Final = 5.0
"""How long one process waits for another's write; each takes a millisecond or two."""

_FOR_NOW: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
"""Primary result codes of a disk that is full or does not answer: what may be mended while the daemon serves."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS object (
    id TEXT PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    upstream TEXT NOT NULL,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS object_by_owner ON object (owner, kind, upstream);
CREATE INDEX IF NOT EXISTS object_by_age ON object (kind, created);
"""


class UnusableTable(Exception):
    """The file cannot be opened or is no table of objects; says why."""


@frozen
class StoredObject:
    """
    One object that an upstream keeps.

    :param id: as the upstream says it.
    :param kind: for example ``file``.
    :param owner: who made it: a caller's ``owner``.
    :param upstream: the name of the upstream that keeps it.
    :param created: Unix time.
    """

    id: str
    kind: str
    owner: str
    upstream: str
    created: int


class ObjectTable:
    """
    :param path: the file; made where there is none. Where the disk is full it is opened by the first call that finds
        room; until then each call raises :exc:`sqlite3.OperationalError`.
    :raise UnusableTable: it cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._opened: sqlite3.Connection | None = None
        try:
            self._opened = self._open()
        except sqlite3.Error as error:
            # https://sqlite.org/rescode.html: the lower eight bits are the primary code.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _FOR_NOW:
                raise UnusableTable(str(error)) from error

    @property
    def _connection(self) -> sqlite3.Connection:
        """With the lock held."""
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _open(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            # Several worker processes write; a crash of the machine may cost the last rows, never the file.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(_SCHEMA)
            self._check(connection)
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return connection

    def find(self, ids: Iterable[str]) -> list[StoredObject]:
        """
        :param ids: any number.
        :return: those that there are.
        """
        found: list[StoredObject] = []
        with self._lock, closing(self._connection.cursor()) as cursor:
            for each in ids:
                cursor.execute(
                    "SELECT id, kind, owner, upstream, created FROM object WHERE id = ?", (each,)
                )
                found += (StoredObject(*row) for row in cursor)
        return found

    def record(self, objects: Sequence[StoredObject]) -> list[StoredObject]:
        """
        Keep objects. What is kept already stays as it is: nobody takes over another's.

        :param objects: new ones.
        :return: what is kept under their ids now.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(
                    "INSERT INTO object (id, kind, owner, upstream, created) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (id) DO NOTHING",
                    [
                        (each.id, each.kind, each.owner, each.upstream, each.created)
                        for each in objects
                    ],
                )
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")
        return self.find(each.id for each in objects)

    def forget(self, ids: Sequence[str]) -> None:
        """
        :param ids: of objects that are gone.
        """
        with self._lock:
            self._connection.executemany(
                "DELETE FROM object WHERE id = ?", [(each,) for each in ids]
            )

    def places(self, owner: str, kind: str) -> dict[str, int]:
        """
        :param owner: whose.
        :param kind: of which kind.
        :return: the upstreams that keep some, and how many.
        """
        with self._lock, closing(self._connection.cursor()) as cursor:
            cursor.execute(
                "SELECT upstream, COUNT(*) FROM object WHERE owner = ? AND kind = ? GROUP BY upstream",
                (owner, kind),
            )
            return dict(cursor.fetchall())

    def owned_models(self, owner: str) -> list[StoredObject]:
        """
        :param owner: whose.
        :return: the models that were made by fine-tuning.
        """
        with self._lock, closing(self._connection.cursor()) as cursor:
            cursor.execute(
                "SELECT id, kind, owner, upstream, created FROM object "
                "WHERE owner = ? AND kind = 'model' ORDER BY created, id LIMIT 1000",
                (owner,),
            )
            return [StoredObject(*row) for row in cursor]

    def forget_old(self, now: float) -> int:
        """
        Forget what the upstreams have forgotten.

        :param now: Unix time.
        :return: how many rows went, a bounded number.
        """
        gone = 0
        for kind, lifetime in LIFETIMES.items():
            with self._lock:
                cursor = self._connection.execute(
                    "DELETE FROM object WHERE id IN "
                    "(SELECT id FROM object WHERE kind = ? AND created < ? LIMIT ?)",
                    (kind, int(now) - lifetime, _FORGOTTEN_AT_ONCE),
                )
                gone += cursor.rowcount
        return gone

    def close(self) -> None:
        """Let the file go."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()

    def _check(self, connection: sqlite3.Connection) -> None:
        """Write access is needed, and found out now: SQLite opens a file that it cannot write to."""
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("DELETE FROM object WHERE id = ''")
        connection.execute("COMMIT")
