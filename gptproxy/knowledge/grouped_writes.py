"""
Batches of documents, gathered so that one transaction writes several.

May import Twisted. A commit, and each statement of a transaction, costs the same for a hundred
passages as for a thousand: FTS5 writes a segment for each and merges them later, and the writing
thread gets the interpreter back from the one that cuts documents after each. What waits here is not
in the database yet, so it is bounded in size and in time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from gptproxy.knowledge.putting import Document

__all__ = ["GROUP_BATCHES", "GroupedWrites"]

GROUP_BATCHES = 8
"""Batches that one transaction writes: of 100 passages of 1,536 dimensions each, some 6 MB."""

_GROUP_PASSAGES = 800
_GROUP_SECONDS = 0.5
"""So much of what was embedded, and paid for, a kill may lose; nobody waits for a commit but the next one."""

_Put = Callable[[Sequence[Document], Mapping[str, bytes]], Awaitable[None]]


class GroupedWrites:
    """
    One group is written at a time; what comes meanwhile is the next one.

    :param put: writes documents, with vectors by their hashes, in one transaction.
    :param clock: for the time that a group waits at most.
    """

    def __init__(self, put: _Put, clock: IReactorTime) -> None:
        self._put = put
        self._clock = clock
        self._waiting: dict[Deferred[None], tuple[Sequence[Document], Mapping[str, bytes]]] = {}
        self._being_written: list[Deferred[None]] = []
        self._writing: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._hurried = False

    def write(self, documents: Sequence[Document], vectors: Mapping[str, bytes]) -> Deferred[None]:
        """
        Write a batch with others.

        :param documents: of locations that were not given before.
        :param vectors: by ``Document.hashes``.
        :return: fires when it is committed; fails with whatever the writing of its group has failed
            with. Cancelled before its group is written, the batch is not written; when nobody waits
            for a group any more its writing is cancelled.
        """
        done: Deferred[None] = Deferred(self._dropped)
        self._waiting[done] = documents, vectors
        if self._timer is None:
            self._timer = self._clock.callLater(_GROUP_SECONDS, self._due)
        if self._hurried or self._is_full():
            self._begin()
        return done

    def hurry(self) -> None:
        """Nothing more is read: what is here, and what comes still, does not wait for others."""
        self._hurried = True
        self._begin()

    def _is_full(self) -> bool:
        passages = sum(len(one.excerpts) for some, _ in self._waiting.values() for one in some)
        return len(self._waiting) >= GROUP_BATCHES or passages >= _GROUP_PASSAGES

    def _due(self) -> None:
        self._timer = None
        self._begin()

    def _begin(self) -> None:
        if self._writing is not None or not self._waiting:
            return
        self._stop_timer()
        waiting, self._waiting = self._waiting, {}
        documents = [one for some, _ in waiting.values() for one in some]
        vectors: dict[str, bytes] = {}
        for _, some in waiting.values():
            vectors |= some
        self._being_written = list(waiting)
        self._writing = writing = Deferred.fromCoroutine(self._written(documents, vectors))
        writing.addBoth(self._ended)

    async def _written(self, documents: Sequence[Document], vectors: Mapping[str, bytes]) -> None:
        await self._put(documents, vectors)

    def _ended(self, result: Failure | None) -> None:
        ended, self._being_written = self._being_written, []
        self._writing = None
        for done in ended:
            if not done.called:  # the first who is told of a failure may have the others cancelled
                done.callback(result)  # of a Failure, it is an errback
        # What came meanwhile goes now, where it is a whole group or its time has passed.
        if self._hurried or self._is_full() or self._timer is None:
            self._begin()

    def _dropped(self, done: Deferred[None]) -> None:
        if self._waiting.pop(done, None) is not None:
            if not self._waiting:
                self._stop_timer()
        elif done in self._being_written:
            self._being_written.remove(done)
            if not self._being_written and self._writing is not None:
                self._writing.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
