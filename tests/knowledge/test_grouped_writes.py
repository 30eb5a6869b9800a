"""Several batches are written in one transaction, and none waits for long."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.knowledge.grouped_writes import GROUP_BATCHES, GroupedWrites
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.putting import Document


def _document(name: str, passages: int = 1) -> Document:
    excerpts = tuple(Excerpt("", f"{name} {number}") for number in range(passages))
    return Document(name, name, "", b"", excerpts)


class GroupedWritesTests(SynchronousTestCase):
    """Over a database in memory, which writes when it is told to."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.put: list[tuple[list[str], dict[str, bytes]]] = []
        self.writing: list[Deferred[None]] = []
        self.groups = GroupedWrites(self._put, self.clock)

    def _put(self, documents: Sequence[Document], vectors: Mapping[str, bytes]) -> Deferred[None]:
        self.put.append(([one.name for one in documents], dict(vectors)))
        self.writing.append(Deferred())
        return self.writing[-1]

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def write(self, name: str, passages: int = 1) -> Deferred[None]:
        return self.groups.write([_document(name, passages)], {name: name.encode()})

    def test_a_full_group_is_written_at_once(self) -> None:
        """With the vectors of all; each of its batches is told."""
        names = [f"d{number}" for number in range(GROUP_BATCHES)]
        done = [self.write(name) for name in names[:-1]]
        self.assertEqual(self.put, [])
        done.append(self.write(names[-1]))
        self.assertEqual(self.put, [(names, {name: name.encode() for name in names})])
        for one in done:
            self.assertNoResult(one)
        self.writing[0].callback(None)
        self.assertEqual([self.successResultOf(one) for one in done], [None] * GROUP_BATCHES)

    def test_many_passages_are_a_group(self) -> None:
        """However few batches they are: what waits is bounded."""
        self.write("a", 799)
        self.assertEqual(self.put, [])
        self.write("b")
        self.assertEqual(self.put[0][0], ["a", "b"])

    def test_nothing_waits_for_long(self) -> None:
        """For others: the embedding of the next batch may take minutes."""
        first = self.write("a")
        self.clock.advance(0.4)
        self.write("b")
        self.clock.advance(0.1)
        self.assertEqual([names for names, _ in self.put], [["a", "b"]])
        # What comes while it is written is the next group, when its own time has passed.
        self.write("c")
        self.clock.advance(0.5)
        self.assertEqual(len(self.put), 1)
        self.writing[0].callback(None)
        self.successResultOf(first)
        self.assertEqual([names for names, _ in self.put], [["a", "b"], ["c"]])

    def test_a_full_group_behind_another(self) -> None:
        """Is written when that is; one that is not full waits on."""
        self.write("a", 800)
        self.write("b", 800)
        self.writing[0].callback(None)
        self.assertEqual(self.put[1][0], ["b"])
        self.write("c")
        self.writing[1].callback(None)
        self.assertEqual(len(self.put), 2)
        self.clock.advance(0.5)
        self.assertEqual(self.put[2][0], ["c"])

    def test_at_the_end_nothing_waits(self) -> None:
        """Neither what is there nor what comes still."""
        self.groups.hurry()
        self.assertEqual(self.put, [])
        self.write("a")
        self.write("b")
        self.writing[0].callback(None)
        self.assertEqual([names for names, _ in self.put], [["a"], ["b"]])

    def test_a_failure_is_told_to_all(self) -> None:
        """Of its group, and to no other."""
        first, second = self.write("a"), self.write("b", 800)
        third = self.write("c")
        self.groups.hurry()
        self.writing[0].errback(ZeroDivisionError())
        for one in (first, second):
            self.failureResultOf(one, ZeroDivisionError)
        self.assertNoResult(third)
        self.writing[1].callback(None)
        self.successResultOf(third)

    def test_a_failure_that_cancels_the_others(self) -> None:
        """As the first batch that fails does with all that are under way: nobody is told twice."""
        first, second = self.write("a"), self.write("b")
        told = first.addErrback(lambda _: second.cancel())
        self.groups.hurry()
        self.writing[0].errback(ZeroDivisionError())
        self.successResultOf(told)
        self.failureResultOf(second, CancelledError)
        gc.collect()  # then Twisted tells of what nobody has taken
        self.assertEqual(self.flushLoggedErrors(), [])
        third = self.write("c")
        self.writing[1].callback(None)
        self.successResultOf(third)

    def test_what_nobody_waits_for_is_not_written(self) -> None:
        """Of a group that is being written the writing ends with the last who waits."""
        gone = self.write("a")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        two = [self.write("b"), self.write("c")]
        lost = self.write("d")
        lost.cancel()
        self.failureResultOf(lost, CancelledError)
        self.groups.hurry()
        self.assertEqual(self.put[0][0], ["b", "c"])
        for one in two:
            self.assertFalse(self.writing[0].called)
            one.cancel()
            self.failureResultOf(one, CancelledError)
        self.assertTrue(self.writing[0].called)
