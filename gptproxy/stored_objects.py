"""
The ownership room as the daemon uses it: its file opened, its threads made.

May import the ownership, API and config rooms and Twisted.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from gptproxy.api import Objects, Turns
from gptproxy.config import ConfigurationError, Problem, Settings
from gptproxy.http import IReactor
from gptproxy.ownership import ObjectTable, Ownership, UnusableTable
from gptproxy.threads import BoundedThreads

__all__ = ["object_table", "stored_objects"]

_log = Logger()

THREADS: Final = 1
"""SQLite lets one write at a time, and a look-up takes 20 microseconds."""

MAX_JOBS: Final = 1000
"""Questions that run or wait; at a millisecond or two for a write, the last is answered in two seconds."""


def stored_objects(
    settings: Settings, reactor: IReactor, table: ObjectTable | None = None
) -> Objects | None:
    """
    :param settings: where the file is.
    :param reactor: whose thread the answers come to.
    :param table: the file, opened already; None: it is opened now.
    :return: what the routes ask, whose ``ownership`` is a service; None where all callers bring a key of their own.
    :raise ConfigurationError: the file cannot be used.
    """
    if not settings.upstreams:
        return None
    if settings.access.objects is None:
        _log.info(
            "who made which stored object is forgotten at the end: no [access] objects is set"
        )
    pool = ThreadPool(0, THREADS, "ownership")
    threads = BoundedThreads(reactor, pool, MAX_JOBS)
    return Objects(Ownership(table or object_table(settings), threads, time.time), Turns(reactor))


def object_table(settings: Settings) -> ObjectTable:
    """
    Open the file. It blocks.

    :param settings: where it is.
    :return: it.
    :raise ConfigurationError: it cannot be used.
    """
    path = settings.access.objects
    try:
        if path is not None and path.exists() and not path.is_file():
            # SQLite would wait for whoever writes to a pipe, for ever.
            raise UnusableTable("it is no file")
        return ObjectTable(path or Path(":memory:"))
    except (UnusableTable, OSError) as error:
        problem = Problem(settings.source, "access.objects", f"{path} cannot be used: {error}")
        raise ConfigurationError([problem]) from error
