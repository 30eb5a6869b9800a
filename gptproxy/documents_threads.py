"""
The threads that ``gptproxy docs`` works in, and the interpreter as such a command needs it.

May import Twisted and the knowledge room's threads.
"""

from __future__ import annotations

import gc
import sys
from typing import Final

from twisted.python.threadpool import ThreadPool

from gptproxy.documents import MAX_JOBS, THREADS
from gptproxy.http import IReactor
from gptproxy.knowledge import BoundedThreads

__all__ = ["command_threads"]

_LEAST_THREADS: Final = 2
"""One cuts documents while another one writes to SQLite, which lets go of the interpreter; on one core too."""

_SWITCH_SECONDS: Final = 0.0002
"""The one that writes waits so long for the interpreter at each of its statements; by default 5 ms."""

_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
"""
A parser makes some thousand objects for a document and drops them with it, hardly any in a cycle. With Python's own
700 the search for cycles takes a seventh of a feeding's time; garbage of so many objects is some megabytes.
"""


def command_threads(reactor: IReactor) -> BoundedThreads:
    """
    Make the threads of a command, once in a process.

    :param reactor: whose thread the results come to.
    :return: the service that files and database are worked on in.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.freeze()  # what was imported stays, and is not looked through again
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    return BoundedThreads(reactor, ThreadPool(1, max(_LEAST_THREADS, THREADS), "docs"), MAX_JOBS)
