"""The pool takes a bounded number of jobs, and stops when the last has ended."""

from __future__ import annotations

import contextlib  # trial takes a module's own `suppress` for warnings
import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gptproxy.threads import BoundedThreads, TooBusy


class _SameThread:
    """What a reactor does with calls from threads, at once."""

    def callFromThread(self, f: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        f(*args, **kwargs)


class _ByHand(ThreadPool):
    """A pool whose jobs are run by the test."""

    def __init__(self) -> None:
        super().__init__(0, 1)
        self.jobs: list[tuple[Callable[[bool, Any], None], Callable[[], Any]]] = []
        self.log: list[str] = []

    def start(self) -> None:
        self.log.append("start")

    def stop(self) -> None:
        self.log.append("stop")

    def callInThreadWithCallback(
        self, onResult: Any, func: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        self.jobs.append((onResult, func))

    def run_one(self) -> None:
        done, work = self.jobs.pop(0)
        try:
            result = work()
        except (ArithmeticError, CancelledError):
            done(False, Failure())
        else:
            done(True, result)


class BoundedThreadsTests(SynchronousTestCase):
    """The bound, cancelling and stopping, with jobs run by hand."""

    def setUp(self) -> None:
        self.pool = _ByHand()
        self.threads = BoundedThreads(_SameThread(), self.pool, 2)  # type: ignore[arg-type]  # one method is used
        self.threads.startService()

    def test_a_result_comes_back(self) -> None:
        """Arguments go in, the returned value comes out."""
        result = self.threads.run(divmod, 7, 2)
        self.assertNoResult(result)
        self.pool.run_one()
        self.assertEqual(self.successResultOf(result), (3, 1))

    def test_an_error_comes_back(self) -> None:
        """What the function raises is what the Deferred fails with."""
        result = self.threads.run(divmod, 7, 0)
        self.pool.run_one()
        self.failureResultOf(result, ZeroDivisionError)

    def test_over_the_bound_it_fails_at_once(self) -> None:
        """Running and waiting jobs count; one that has ended makes room for its own callback."""
        first = self.threads.run(int)
        self.threads.run(int)
        self.failureResultOf(self.threads.run(int), TooBusy)
        first.addCallback(lambda _: self.threads.run(str, 5))
        self.pool.run_one()
        self.pool.run_one()
        self.pool.run_one()
        self.assertEqual(self.successResultOf(first), "5")

    def test_a_cancelled_job_that_waits_is_not_run(self) -> None:
        """It counts until the pool has dropped it."""
        called: list[int] = []
        result = self.threads.run(called.append, 1)
        self.threads.run(int)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.failureResultOf(self.threads.run(int), TooBusy)
        self.pool.run_one()
        self.assertEqual(called, [])
        self.assertNoResult(self.threads.run(int))

    def test_a_cancelled_job_that_runs_is_dropped(self) -> None:
        """What it returns goes nowhere, what it raises goes into the log."""
        results: list[Deferred[object]] = []

        def job(outcome: int) -> object:
            results[-1].cancel()
            return 1 // outcome

        for outcome in (1, 0):
            results.append(self.threads.run(job, outcome))
            self.pool.run_one()
            self.failureResultOf(results[-1], CancelledError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopping_waits_for_the_jobs(self) -> None:
        """No new job is taken, waiting ones are dropped, the pool is stopped at the end."""
        waiting = self.threads.run(int)
        stopped = self.threads.stopService()
        self.failureResultOf(self.threads.run(int), TooBusy)
        self.assertEqual(self.pool.log, ["start"])
        self.pool.run_one()
        self.failureResultOf(waiting, CancelledError)
        self.successResultOf(stopped)
        self.assertEqual(self.pool.log, ["start", "stop"])

    def test_stopping_when_the_last_result_arrives(self) -> None:
        """The job whose result stops the service has ended already."""
        result = self.threads.run(int)
        result.addCallback(lambda _: self.threads.stopService())
        self.pool.run_one()
        self.successResultOf(result)
        self.assertEqual(self.pool.log, ["start", "stop"])

    def test_stopping_without_jobs(self) -> None:
        """There is nothing to wait for."""
        self.successResultOf(self.threads.stopService())
        self.assertEqual(self.pool.log, ["start", "stop"])


class RealThreadsTests(TestCase):
    """The same with a reactor and threads."""

    async def test_work_leaves_the_reactor_thread(self) -> None:
        """A job runs in the pool, its result arrives here, the pool ends with the service."""
        from twisted.internet import reactor

        threads = BoundedThreads(reactor, ThreadPool(0, 1), 5)  # type: ignore[arg-type]  # it is a module
        threads.startService()
        thread = await threads.run(threading.current_thread)
        self.assertIsNot(thread, threading.current_thread())
        waiting = threads.run(int)
        await threads.stopService()
        self.assertFalse(thread.is_alive())
        with contextlib.suppress(CancelledError):  # where it had not begun
            self.assertEqual(await waiting, 0)
