"""
Blocking work runs in a pool of threads, a bounded number of jobs at a time.

Twisted's own pool queues without a bound, and blocks the reactor when it is stopped while a job
runs. Here a job over the bound is refused at once, and the pool is stopped when its last job has
ended. May import Twisted; nothing of gptproxy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

__all__ = ["BoundedThreads", "Threads", "TooBusy"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class TooBusy(Exception):
    """The pool has as many jobs as it takes, or does not run."""


class Threads(Protocol):
    """What a room needs of threads."""

    def run(self, f: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """
        Call a function in a thread.

        :param f: it may block; it must not touch the reactor.
        :return: fires with what the function returns or raises; fails with :class:`TooBusy` where
            it is not called. Cancelled, it fails with ``CancelledError`` at once and drops what the
            function returns; a function that was not begun is not called, one that was runs to its
            end.
        """


class BoundedThreads(Service):
    """
    A service that owns a pool of threads.

    :param reactor: whose thread the results come to.
    :param pool: not started; nobody else uses it.
    :param max_jobs: running and waiting jobs at most.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads, pool: ThreadPool, max_jobs: int) -> None:
        self._reactor = reactor
        self._pool = pool
        self._max_jobs = max_jobs
        self._jobs = 0
        self._idle: Deferred[None] | None = None

    def startService(self) -> None:
        """Start the threads."""
        super().startService()
        self._pool.start()

    def stopService(self) -> Deferred[None]:
        """
        Take no more jobs, drop those that wait, and stop the threads when the running ones have
        ended.

        :return: fires with None when the threads are gone.
        """
        super().stopService()
        idle: Deferred[None] = succeed(None)
        if self._jobs:
            idle = self._idle = Deferred()
        return idle.addCallback(lambda _: self._pool.stop())

    def run(self, f: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """
        Call a function in a thread; see :meth:`Threads.run`.

        :param f: it may block; it must not touch the reactor.
        :return: fires with what the function returns or raises, or fails with :class:`TooBusy`.
        """
        if not self.running:
            return fail(TooBusy("the threads are not running"))
        if self._jobs >= self._max_jobs:
            return fail(TooBusy(f"{self._jobs} jobs run or wait already"))
        self._jobs += 1
        dropped = False

        def drop(_: Deferred[_T]) -> None:
            nonlocal dropped
            dropped = True

        result: Deferred[_T] = Deferred(drop)

        def work() -> _T:
            if dropped or not self.running:
                raise CancelledError
            return f(*args, **kwargs)

        def ended(success: bool, value: _T | Failure) -> None:
            self._reactor.callFromThread(arrive, success, value)

        def arrive(success: bool, value: _T | Failure) -> None:
            self._jobs -= 1
            if not dropped:
                result.callback(value)  # of a Failure, it is an errback
            elif isinstance(value, Failure) and not isinstance(value.value, CancelledError):
                self._log.failure("a job failed that nobody waits for any more", failure=value)
            if self._idle is not None and not self._jobs:
                idle, self._idle = self._idle, None
                idle.callback(None)

        self._pool.callInThreadWithCallback(ended, work)
        return result
