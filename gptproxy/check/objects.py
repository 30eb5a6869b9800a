"""
The file of who made which stored object: can the daemon keep it there?

Reads the file; imports the config room. It is opened as one that nobody changes: a look leaves no files beside it,
which would be the looker's and not the daemon's.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from gptproxy.check.files import is_missing
from gptproxy.check.finding import Finding, Level
from gptproxy.config import Settings

__all__ = ["check_objects"]


def check_objects(settings: Settings) -> list[Finding]:
    """
    :param settings: what names the file.
    :return: what there is to say of it; nothing where there is none to be.
    """
    path = settings.access.objects
    # Without upstreams all callers bring a key of their own, and what they make is their key's.
    return [] if path is None or not settings.upstreams else [_look(path)]


def _look(path: Path) -> Finding:
    subject = str(path)
    if not path.parent.is_dir():
        message = f"cannot be made: there is no folder {path.parent}"
        return Finding(Level.ERROR, subject, message)
    there = not is_missing(path)
    if there:
        if not path.is_file():
            return Finding(Level.ERROR, subject, "is no file")
        try:
            _read(path)
        except sqlite3.Error as error:
            return Finding(Level.ERROR, subject, f"cannot be used: {error}")
    # SQLite makes files beside it.
    needed = [path.parent, path] if there else [path.parent]
    shut = [str(each) for each in needed if not os.access(each, os.R_OK | os.W_OK)]
    if shut:
        message = f"you may not write to {' and '.join(shut)}; the daemon's user must"
        return Finding(Level.WARNING, subject, message)
    return Finding(Level.GOOD, subject, "can be used" if there else "is made at the start")


def _read(path: Path) -> None:
    # https://sqlite.org/uri.html
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        connection.execute("SELECT name FROM sqlite_schema").fetchall()
