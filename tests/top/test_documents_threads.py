"""The interpreter and the threads of a command that feeds."""

from __future__ import annotations

import gc
import sys

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy import documents_threads
from gptproxy.documents_threads import command_threads


class CommandThreadsTests(SynchronousTestCase):
    """What is set for the process is put back."""

    def setUp(self) -> None:
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def test_one_writes_while_another_one_cuts(self) -> None:
        """On one core too; and whoever waits for the interpreter does not wait for long."""
        for cores, most in ((1, 2), (4, 4)):
            self.patch(documents_threads, "THREADS", cores)
            threads = command_threads(MemoryReactorClock())
            self.assertEqual(threads._pool.max, most)
        self.assertLess(sys.getswitchinterval(), 0.001)

    def test_objects_of_a_document_are_not_looked_through(self) -> None:
        """They go with it; and what was imported is not looked through at all."""
        command_threads(MemoryReactorClock())
        self.assertGreater(gc.get_threshold()[0], 10_000)
        self.assertGreater(gc.get_freeze_count(), 0)
