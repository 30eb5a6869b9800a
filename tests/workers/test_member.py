"""A worker, and the whole that it is one of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from gptproxy.workers import Member, ParentWatch, member_from
from tests.top.rig import environment, folder_of

COUNTING = """
import sys
from pathlib import Path
from gptproxy.workers import Member, share_metrics
share_metrics(Member(3, 4, 1, Path(sys.argv[1])))
from prometheus_client import Counter, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
Counter("calls", "help", registry=CollectorRegistry()).inc(2)
registry = CollectorRegistry()
MultiProcessCollector(registry, sys.argv[1])
print(generate_latest(registry).decode())
"""


@pytest.mark.parametrize(
    ("environ", "member"),
    [
        ({}, None),
        ({"GPTPROXY_WORKER": "1:2:3"}, None),
        ({"GPTPROXY_WORKER": "1:2", "PROMETHEUS_MULTIPROC_DIR": "/d"}, None),
        ({"GPTPROXY_WORKER": "", "PROMETHEUS_MULTIPROC_DIR": "/d"}, None),
        (
            {"GPTPROXY_WORKER": "12:16:4711", "PROMETHEUS_MULTIPROC_DIR": "/d"},
            Member(12, 16, 4711, Path("/d")),
        ),
    ],
)
def test_told(environ: dict[str, str], member: Member | None) -> None:
    """By its environment; a process that is told nothing is none."""
    assert member_from(environ) == member


class MetricsTests(SynchronousTestCase):
    """In processes of their own: prometheus_client decides once for each."""

    def test_a_successor_goes_on(self) -> None:
        """What a worker has counted its successor counts on; there are as many files as workers."""
        folder = folder_of(self)
        for expected in ("calls_total 2.0", "calls_total 4.0"):
            done = subprocess.run(
                [sys.executable, "-c", COUNTING, str(folder)],
                env=environment(PROMETHEUS_MULTIPROC_DIR=str(folder)),
                capture_output=True,
                text=True,
                check=True,
            )
            self.assertIn(expected, done.stdout)
        self.assertEqual([path.name for path in folder.iterdir()], ["counter_3.db"])


class ParentWatchTests(TestCase):
    """With a pipe."""

    def setUp(self) -> None:
        self.read, self.write = os.pipe()
        self.addCleanup(os.close, self.read)

    async def test_the_parent_is_gone(self) -> None:
        """The pipe ends, and the worker stops, once."""
        stopped: Deferred[None] = Deferred()
        watch = ParentWatch(reactor, lambda: stopped.callback(None), self.read)
        verifyObject(IReadDescriptor, watch)
        watch.startService()
        os.close(self.write)
        await stopped
        self.assertEqual(reactor.getReaders().count(watch), 0)
        watch.stopService()
        watch.connectionLost(Failure(OSError()))

    def test_a_pipe_that_fails(self) -> None:
        """Is one that has ended."""
        self.addCleanup(os.close, self.write)
        stop = mock.Mock()
        watch = ParentWatch(reactor, stop, self.read)
        watch.startService()
        watch.connectionLost(Failure(OSError()))
        stop.assert_called_once_with()
        self.assertEqual(watch.logPrefix(), "parent")
        watch.stopService()

    def test_stopping_is_the_signal(self) -> None:
        """The worker ends as by SIGTERM: it finishes what it has begun."""
        self.addCleanup(os.close, self.write)
        watch = ParentWatch(reactor, descriptor=self.read)
        watch.startService()
        with mock.patch("os.kill") as kill:
            watch.doRead()
        kill.assert_called_once_with(os.getpid(), 15)
        watch.stopService()
