"""What stays is not looked at by the garbage collector."""

from __future__ import annotations

import gc

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.garbage import SETTLED_SECONDS, CollectedStart


class CollectedStartTests(SynchronousTestCase):
    """From its start on."""

    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)
        self.clock = Clock()

    def test_what_is_there_shortly_after_the_start(self) -> None:
        """Is kept from the collector; what comes later is not."""
        there = [{}]
        before = gc.get_freeze_count()
        service = CollectedStart(self.clock)
        service.startService()
        self.assertEqual(gc.get_freeze_count(), before)
        self.clock.advance(SETTLED_SECONDS)
        self.assertGreater(gc.get_freeze_count(), before + 1000)
        later = [{}]
        seen = {id(each) for each in gc.get_objects()}
        self.assertIn(id(later), seen)
        self.assertNotIn(id(there), seen)
        service.stopService()

    def test_garbage_is_not_frozen(self) -> None:
        """It would stay for ever."""
        seen: list[object] = []

        class Node:
            def __del__(self) -> None:
                seen.append(self.__class__)

        node = Node()
        node.me = node  # type: ignore[attr-defined]  # a cycle
        del node
        CollectedStart(self.clock).startService()
        self.clock.advance(SETTLED_SECONDS)
        self.assertEqual(seen, [Node])

    def test_a_daemon_that_ends_at_once(self) -> None:
        """Leaves nothing to be called."""
        service = CollectedStart(self.clock, lambda: self.fail("nobody serves any more"))
        service.startService()
        service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
