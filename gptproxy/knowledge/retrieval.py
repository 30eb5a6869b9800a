"""
What do our documents say about a question? The daemon's one way into this room.

A question's vector comes from the embedding call that was given; the search runs in the thread pool
that was given. What a chat gets when either fails is for the caller to decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptproxy.config.knowledge_settings import KnowledgeSettings, TopicSettings
from gptproxy.knowledge.embeddings import unit_rows
from gptproxy.knowledge.errors import MalformedEmbeddings
from gptproxy.knowledge.loaded import LoadedCollections
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.tokens import prefix_within
from gptproxy.knowledge.topics import question_of
from gptproxy.threads import Threads

__all__ = ["Embed", "Knowledge"]

Embed: TypeAlias = Callable[[Sequence[str]], "Deferred[NDArray[np.float32]]"]
"""Turns n texts into vectors; its Deferred fires with shape (n, d). Cancelled, it ends the call."""

# The embedding models take 8,192 tokens, and no text has more tokens than bytes.
_QUESTION_BYTES = 8192
# About as many passages as a long context is worth; augmentation takes from these what fits.
_CANDIDATES = 20
# What points away from the question, or stands square to it, is not about it, whatever the model.
_SCORE_FLOOR = 0.05


class Knowledge:
    """
    Finds passages for chats.

    :param settings: the database, and the model that it was embedded with.
    :param embed: embeds texts with that model.
    :param threads: where the database is read and searched.
    :param clock: tells when a changed collection is read again.
    """

    def __init__(
        self, settings: KnowledgeSettings, embed: Embed, threads: Threads, clock: IReactorTime
    ) -> None:
        self._model = settings.embedding_model
        self._embed = embed
        self._threads = threads
        self._collections = LoadedCollections(settings.database, clock.seconds)

    def consult(self, topic: TopicSettings, messages: object) -> Deferred[tuple[Passage, ...]]:
        """
        Find what a topic's documents say about the last message of a chat.

        :param topic: whose collection is searched.
        :param messages: the parsed ``messages`` of a chat completion, of any shape; what is asked
            is embedded up to 8,192 bytes.
        :return: fires with passages by falling score; with none where nothing is asked. Fails with
            :class:`~gptproxy.knowledge.errors.UnknownCollection`,
                :class:`~gptproxy.knowledge.errors.OtherModel`,
            :class:`~gptproxy.knowledge.errors.MalformedEmbeddings` or another
            :class:`~gptproxy.knowledge.errors.KnowledgeError`; with
                :class:`~gptproxy.threads.TooBusy`;
            or with whatever the embedding call fails with. Cancelled, it cancels the embedding call
            and drops what the thread returns.
        """
        return Deferred.fromCoroutine(self._consult(topic.documents, question_of(messages)))

    async def _consult(self, collection: str, question: str) -> tuple[Passage, ...]:
        asked = prefix_within(question, _QUESTION_BYTES)
        if not asked.strip():
            return ()  # the API answers 400 to an empty input
        await self._threads.run(self._collections.prepare, collection, self._model)
        vectors = unit_rows(await self._embed([asked]))
        if len(vectors) != 1:
            raise MalformedEmbeddings(f"{len(vectors)} vectors for one question")
        return await self._threads.run(
            self._collections.search, collection, self._model, vectors[0], _CANDIDATES, _SCORE_FLOOR
        )
