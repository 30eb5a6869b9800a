"""
Documents gathered to batches that fit an embedding call, some of which are under way at once.

May import Twisted. A document that would carry a batch over a bound begins the next one; only a
document that is too large by itself makes a batch of several calls. So many batches are under way
at most, and whoever adds a document waits where they are: memory stays flat.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from types import TracebackType
from typing import Self

from attrs import Factory, define
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.python.failure import Failure

from gptproxy.knowledge.inputs import CALL_INPUTS, CALL_TOKENS, embedding_input, input_tokens
from gptproxy.knowledge.putting import Document

__all__ = ["Batch", "Batches"]

# Of documents without passages, or whose vectors are known.
_DOCUMENTS_MOST = 200


@define
class Batch:
    """
    Documents that are written together.

    :param documents: no location twice.
    """

    documents: list[Document] = Factory(list)
    _inputs: int = 0
    _tokens: int = 0

    def takes(self, document: Document) -> bool:
        """:return: whether there is room for it; it is added where there is."""
        inputs = self._inputs + len(document.excerpts)
        tokens = self._tokens + sum(
            input_tokens(one.heading) + input_tokens(one.text) + 2 for one in document.excerpts
        )
        full = (
            inputs > CALL_INPUTS or tokens > CALL_TOKENS or len(self.documents) == _DOCUMENTS_MOST
        )
        if self.documents and full:
            return False
        self.documents.append(document)
        self._inputs, self._tokens = inputs, tokens
        return True

    def hashes(self) -> list[str]:
        """:return: those of all passages."""
        return [hashed for one in self.documents for hashed in one.hashes]

    def inputs(self, known: Container[str]) -> dict[str, str]:
        """
        :param known: hashes of inputs that need no embedding.
        :return: the other inputs by their hashes, each once.
        """
        return {
            hashed: embedding_input(excerpt.heading, excerpt.text)
            for one in self.documents
            for excerpt, hashed in zip(one.excerpts, one.hashes, strict=True)
            if hashed not in known
        }


class Batches:
    """
    In an ``async with`` statement: at its end everything is written, or what is under way is
    cancelled and awaited.

    :param write: writes a batch; its Deferred, cancelled, ends the call it waits for.
    :param at_once: batches under way at most.
    """

    def __init__(self, write: Callable[[Batch], Deferred[None]], at_once: int) -> None:
        self._write = write
        self._room = DeferredSemaphore(at_once)
        self._at_once = at_once
        self._batch = Batch()
        self._under_way: set[Deferred[None]] = set()
        self._failure: Failure | None = None

    async def __aenter__(self) -> Self:
        """:return: itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what is left, or drop it."""
        try:
            if error is not None:
                self._cancel()
            else:
                await self._begin()
                await self._all_ended()
        except BaseException:
            self._cancel()
            raise
        finally:
            await self._all_ended()
        self._raise_failure()

    async def add(self, document: Document) -> None:
        """
        Add a document, when there is room.

        :param document: of a location that was not added before.
        :raise Exception: whatever a batch before it has failed with.
        """
        self._raise_failure()
        if not self._batch.takes(document):
            await self._begin()
            self._batch.takes(document)

    async def _begin(self) -> None:
        batch, self._batch = self._batch, Batch()
        if not batch.documents:
            return
        await self._room.acquire()
        if self._failure is not None:
            self._room.release()
            self._raise_failure()
        writing = self._write(batch)
        self._under_way.add(writing)
        writing.addErrback(self._failed)
        writing.addBoth(self._ended, writing)

    async def _all_ended(self) -> None:
        """Wait until no batch is under way."""
        held = 0
        try:
            while held < self._at_once:
                await self._room.acquire()
                held += 1
        finally:
            for _ in range(held):
                self._room.release()

    def _failed(self, failure: Failure) -> None:
        if self._failure is None and not failure.check(CancelledError):
            self._failure = failure
            self._cancel()

    def _ended(self, _: object, writing: Deferred[None]) -> None:
        self._under_way.discard(writing)
        self._room.release()

    def _cancel(self) -> None:
        for writing in tuple(self._under_way):
            writing.cancel()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._failure.raiseException()
