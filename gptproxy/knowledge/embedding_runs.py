"""
Passages get their vectors: those that are being written, and those that have none of a new model.

May import Twisted. Calls are within the API's bounds, so many of them at once at most; each does
its own retrying, at the pace that the server asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from twisted.internet.defer import Deferred, DeferredSemaphore, FirstError, gatherResults

from gptproxy.knowledge.embeddings import unit_rows
from gptproxy.knowledge.errors import MalformedEmbeddings
from gptproxy.knowledge.inputs import CALL_INPUTS, calls, embedding_input
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.knowledge.vector_sets import EmbeddingModel, Unembedded, VectorSet
from gptproxy.threads import Threads

__all__ = ["Embed", "Embedding", "EmbeddingRun"]

Embed = Callable[[Sequence[str]], "Deferred[NDArray[np.float32]]"]
"""Turns n texts into vectors; its Deferred fires with shape (n, d). Cancelled, it ends the call."""


@frozen
class Embedding:
    """
    How passages get their vectors.

    :param embed: embeds texts, at most 100 and 100,000 tokens a call; it does its own retrying.
    :param model: what it embeds with.
    :param batches_in_flight: calls at once at most.
    """

    embed: Embed = field(repr=False)
    model: EmbeddingModel
    batches_in_flight: int = 4


class EmbeddingRun:
    """
    The embedding of one run.

    :param store: the database.
    :param embedding: how.
    :param threads: where the database is worked on.
    """

    def __init__(self, store: KnowledgeStore, embedding: Embedding, threads: Threads) -> None:
        self._store = store
        self._embedding = embedding
        self._threads = threads
        self._room = DeferredSemaphore(embedding.batches_in_flight)
        self._dimensions: dict[int, int] = {}

    async def ready_set(self, collection_id: int, tell: Callable[[int, int], None]) -> VectorSet:
        """
        Bring a collection's vectors up to the wanted model: whatever passage has none gets one, and
        then the set takes the place of the active one.

        :param collection_id: the collection's.
        :param tell: called with the passages that are done, and how many there are.
        :return: the active set.
        """
        vectors = self._store.vectors
        found = await self._threads.run(vectors.wanted, collection_id, self._embedding.model)
        total = await self._threads.run(vectors.count_unembedded, found)
        done = after = 0
        while some := await self._threads.run(
            vectors.unembedded, found, after, CALL_INPUTS * self._embedding.batches_in_flight
        ):
            await self._fill(found, some)
            after = some[-1].passage_id
            done += len(some)
            tell(done, total)
        if not found.active:
            found = await self._threads.run(vectors.activate, found)
        return found

    async def vectors(self, found: VectorSet, inputs: Mapping[str, str]) -> dict[str, bytes]:
        """
        Embed texts.

        :param found: the set that the vectors are for.
        :param inputs: texts by their hashes.
        :return: unit vectors by hash, little-endian float32.
        :raise OtherModel: they are of another length than the set's.
        :raise MalformedEmbeddings: not one usable vector for each text.
        """
        parts = list(calls(inputs.values()))
        under_way = [Deferred.fromCoroutine(self._call(part)) for part in parts]
        try:
            matrices = await gatherResults(under_way, consumeErrors=True)
        except FirstError as first:
            for one in under_way:
                one.cancel()
            first.subFailure.raiseException()
        rows = [row for matrix in matrices for row in matrix]
        if rows:
            lengths = {matrix.shape[1] for matrix in matrices}
            if len(lengths) != 1:
                raise MalformedEmbeddings("the vectors of two embedding calls differ in length")
            await self._fix_dimensions(found, lengths.pop())
        return {hashed: row.tobytes() for hashed, row in zip(inputs, rows, strict=True)}

    async def _fill(self, found: VectorSet, some: Sequence[Unembedded]) -> None:
        inputs = {one.input_hash: embedding_input(one.heading, one.text) for one in some}
        by_hash = await self.vectors(found, inputs)
        of_passages = {one.passage_id: by_hash[one.input_hash] for one in some}
        await self._threads.run(self._store.vectors.fill, found, of_passages)

    async def _call(self, texts: Sequence[str]) -> NDArray[np.float32]:
        await self._room.acquire()
        try:
            matrix = unit_rows(await self._embedding.embed(texts))
        finally:
            self._room.release()
        if len(matrix) != len(texts):
            raise MalformedEmbeddings(f"{len(matrix)} vectors for {len(texts)} inputs")
        return matrix.astype("<f4", copy=False)

    async def _fix_dimensions(self, found: VectorSet, dimensions: int) -> None:
        if self._dimensions.get(found.set_id) != dimensions:
            await self._threads.run(self._store.vectors.fix_dimensions, found, dimensions)
            self._dimensions[found.set_id] = dimensions
