"""
What do our documents say about a question? The daemon's one way into this room.

A question's vectors come from the embedding calls that were given; everything that blocks or
computes runs in the thread pool that was given. What a chat gets when nothing can be found is for
the caller to decide.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gptproxy.config.knowledge_settings import KnowledgeSettings
from gptproxy.figures import NOBODY, Figures
from gptproxy.knowledge.embeddings import unit_rows
from gptproxy.knowledge.errors import MalformedEmbeddings, SearchOverdue, UnknownCollection
from gptproxy.knowledge.loaded import LoadedCollections
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.question_cache import QuestionCache
from gptproxy.knowledge.reading import KnowledgeReader, Source
from gptproxy.knowledge.searching import Asking, Model, search
from gptproxy.knowledge.tokens import prefix_within
from gptproxy.threads import Threads

__all__ = ["Embed", "EmbedFor", "Knowledge", "MayRead"]

_R = TypeVar("_R")

Embed: TypeAlias = Callable[[Sequence[str]], "Deferred[NDArray[np.float32]]"]
"""Turns n texts into vectors; its Deferred fires with shape (n, d). Cancelled, it ends the call."""

EmbedFor: TypeAlias = Callable[[str, "int | None"], Embed]
"""The call for a model, and the dimensions that are asked of it. Raises where nobody has the model."""

MayRead: TypeAlias = "Callable[[str, Source], Awaitable[bool]]"
"""Whether the caller may read what a collection has from a source."""

# The embedding models take 8,192 tokens, and no text has more tokens than bytes.
_QUESTION_BYTES: Final = 8192
_EMBEDDING_SHARE: Final = 0.6
"""Of the time for a search: what is left is enough to search by words alone."""


@frozen
class _Prepared:
    """A collection that can be searched: the model of its vectors, if any, and its sources."""

    model: Model | None
    sources: tuple[Source, ...]


class Knowledge:
    """
    Finds passages for chats.

    :param settings: the database, and how long a search may take.
    :param embed_for: embeds texts.
    :param threads: where the database is read and searched.
    :param clock: for the time a search may take; tells when a changed collection is read again.
    :param figures: told how long it took, and whether a question's vector was at hand.
    """

    _log = Logger()

    def __init__(
        self,
        settings: KnowledgeSettings,
        embed_for: EmbedFor,
        threads: Threads,
        clock: IReactorTime,
        figures: Figures = NOBODY,
    ) -> None:
        self._figures = figures
        self._seconds = settings.search_seconds
        self._embed_for = embed_for
        self._threads = threads
        self._clock = clock
        self._collections = LoadedCollections(settings.database, clock.seconds)
        self._questions = QuestionCache()

    def find(self, collection: str, question: str) -> Deferred[tuple[Passage, ...]]:
        """
        Find what a collection says, for the operator, who may read everything.

        :param collection: its name.
        :param question: what is asked.
        :return: as :meth:`consult`.
        """
        return self.consult([Asking(collection)], question, None, lambda passages: passages)

    def consult(
        self,
        askings: Sequence[Asking],
        question: str,
        may_read: MayRead | None,
        use: Callable[[tuple[Passage, ...]], _R],
    ) -> Deferred[_R]:
        """
        Find what collections say about a question.

        :param askings: each collection once; what is permitted is found out here.
        :param question: embedded up to 8,192 bytes; blank, nothing is found.
        :param may_read: asked for each source of each collection; None: everything may be read.
        :param use: what to make of the passages; runs in the thread that found them.
        :return: fires with what ``use`` made of the passages of all collections, by falling score.
            Where embeddings cannot be had, they are found by words alone, and the log says so. Fails
            with :class:`~gptproxy.knowledge.errors.SearchOverdue` after the time that the settings
            give; with another :class:`~gptproxy.knowledge.errors.KnowledgeError`; with
            :class:`~gptproxy.threads.TooBusy`. Cancelled, it cancels the embedding calls and drops
            what the thread returns.
        """
        began = self._clock.seconds()
        deadline = began + self._seconds
        asked = prefix_within(question, _QUESTION_BYTES)
        outcome = "none"

        def used(passages: tuple[Passage, ...]) -> _R:
            nonlocal outcome
            if passages:
                outcome = "found"
            return use(passages)

        consulting = Deferred.fromCoroutine(self._consult(askings, asked, may_read, used, deadline))

        def overdue(value: _R | Failure, seconds: float) -> _R | Failure:
            raise SearchOverdue(f"the search took longer than {seconds} s")

        def tell(result: _R | Failure) -> _R | Failure:
            told = outcome
            if isinstance(result, Failure):
                if result.check(CancelledError):
                    return result
                told = "late" if result.check(SearchOverdue) else "failed"
            self._figures.observe("retrieval_seconds", self._clock.seconds() - began, told)
            return result

        consulting.addTimeout(self._seconds, self._clock, onTimeoutCancel=overdue)
        return consulting.addBoth(tell)

    async def _consult(
        self,
        askings: Sequence[Asking],
        question: str,
        may_read: MayRead | None,
        use: Callable[[tuple[Passage, ...]], _R],
        deadline: float,
    ) -> _R:
        if not question.strip():
            # The API answers 400 to an empty input, and no word is none to look for.
            return await self._threads.run(use, ())
        prepared = await self._threads.run(self._prepare, [one.collection for one in askings])
        permitted = []
        for asking in askings:
            if asking.collection not in prepared:
                self._log.warn(
                    "there is no collection {collection}: the others are searched",
                    collection=asking.collection,
                )
                continue
            if may_read is not None:
                # The search sees a later state: of sources that are not among these it takes nothing.
                readable = [
                    source
                    for source in prepared[asking.collection].sources
                    if await may_read(asking.collection, source)
                ]
                asking = evolve(asking, permitted=frozenset(readable))
            permitted.append(asking)
        vectors = await self._vectors(prepared, question, deadline)
        clock = self._clock

        def found() -> _R:
            overdue = clock.seconds
            passages = search(
                self._collections, permitted, question, vectors, lambda: overdue() >= deadline
            )
            return use(passages)

        return await self._threads.run(found)

    def _prepare(self, names: Sequence[str]) -> dict[str, _Prepared]:
        """Load collections before money is spent on a question's vector; one at least. Blocking."""
        prepared: dict[str, _Prepared] = {}
        unknown = None
        with KnowledgeReader(self._collections.path) as reader:
            for name in names:
                try:
                    collection = self._collections.current(reader, name).collection
                except UnknownCollection as error:
                    unknown = error
                    continue
                active = collection.active
                prepared[name] = _Prepared(
                    None if active is None else (active.model, active.dimensions_asked),
                    reader.sources(collection),
                )
        if unknown is not None and not prepared:
            raise unknown
        return prepared

    async def _vectors(
        self, prepared: Mapping[str, _Prepared], question: str, deadline: float
    ) -> dict[Model, NDArray[np.float32]]:
        vectors: dict[Model, NDArray[np.float32]] = {}
        failed: set[Model] = set()
        for name, one in prepared.items():
            model = one.model
            if model is None:
                self._log.warn(
                    "collection {collection} has no vectors: searched by words alone",
                    collection=name,
                )
                continue
            held = vectors.get(model)
            if held is None:
                held = self._questions.vector(name, model, question)
                at_hand = "miss" if held is None else "hit"
                self._figures.count("cache_lookups", "questions", at_hand)
            if held is None and model not in failed:
                held = await self._embedded(model, question, deadline)
            if held is None:
                failed.add(model)
            else:
                vectors[model] = held
                self._questions.keep(name, model, question, held)
        return vectors

    async def _embedded(
        self, model: Model, question: str, deadline: float
    ) -> NDArray[np.float32] | None:
        """:return: the question's vector; None where it cannot be had, which the log says."""
        left = deadline - self._clock.seconds() - (1 - _EMBEDDING_SHARE) * self._seconds
        try:
            if left <= 0:
                raise DeferredTimeout
            call = self._embed_for(*model)([question])
            vectors = unit_rows(await call.addTimeout(left, self._clock))
            if len(vectors) != 1:
                raise MalformedEmbeddings(f"{len(vectors)} vectors for one question")
        except CancelledError:
            raise  # the caller left, or the time is over
        except Exception as trouble:  # noqa: BLE001 - whatever the call fails with, words are left
            self._log.warn(
                "no embedding of a question ({model}): searched by words alone: {trouble}",
                model=model[0],
                trouble=str(trouble) or type(trouble).__name__,
            )
            return None
        vector: NDArray[np.float32] = vectors[0]
        return vector
