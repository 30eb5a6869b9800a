"""
The knowledge room put together with the upstreams that give it embeddings: for the daemon and for ``gptproxy docs``.

Imported only where documents are configured, because it brings numpy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache

import numpy as np
from attrs import fields
from numpy.typing import NDArray
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from gptproxy.api.chat_topics import ChatTopics, Readers
from gptproxy.config import KnowledgeSettings, Settings
from gptproxy.embedding_place import embedding_upstreams
from gptproxy.figures import NOBODY, Figures
from gptproxy.http import IReactor, OwnCalls
from gptproxy.knowledge import BoundedThreads, Embed, EmbedFor, Knowledge, read_embeddings
from gptproxy.upstream import Embedder, EntraTokens
from gptproxy.wire import Refusal

__all__ = [
    "PresentEmbedding",
    "Searched",
    "chat_topics",
    "embed_for",
    "embed_with",
    "question_embedding",
    "search_threads",
]

_log = Logger()

THREADS = min(4, max(1, (os.cpu_count() or 1) - 1))
"""
Searches at once: numpy lets go of the interpreter while it multiplies, so they use the cores there are; but one core is
the reactor's, whose thread would wait for it else.
"""

MAX_JOBS = 512
"""
Searches running and waiting; a chat beyond them goes up without documents rather than wait. One takes 1 to 20 ms, so
the last of them waits a few seconds at most, and some hundreds of callers may ask at the same moment.
"""

SWITCH_SECONDS = 0.001
"""
How long a thread may keep the interpreter from one that waits for it. A search lets go of it often, but for moments
that are too short for the reactor's thread to wake up in; Python's own 5 ms would be how late the reactor then is.
"""

QUESTION_SECONDS = 10.0
"""How long a chat waits for its question's embedding at one upstream, retries included."""


def embed_with(
    settings: Settings,
    knowledge: KnowledgeSettings,
    calls: OwnCalls,
    total_seconds: float,
    model: str | None = None,
    dimensions: int | None = None,
    tokens: EntraTokens | None = None,
) -> Embed:
    """
    :param settings: the upstreams.
    :param knowledge: the embedding model.
    :param calls: makes the calls.
    :param total_seconds: bound for each upstream, retries included.
    :param model: another one than the settings'.
    :param dimensions: what is asked of it; None: its own.
    :param tokens: of the upstreams that take no key.
    :return: turns texts into unit vectors.
    :raise gptproxy.wire.Refusal: no upstream has the embedding model.
    :raise gptproxy.embedding_place.UnknownUpstream: the settings name one that is not there.
    """
    embedder = Embedder(
        embedding_upstreams(settings, knowledge),
        settings.unknown_model,
        model or knowledge.embedding_model,
        calls,
        total_seconds,
        tokens=tokens,
        dimensions=dimensions,
    )

    async def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        return read_embeddings(await embedder.answer(texts), len(texts))

    return lambda texts: Deferred.fromCoroutine(vectors(texts))


def embed_for(
    settings: Settings,
    knowledge: KnowledgeSettings,
    calls: OwnCalls,
    total_seconds: float,
    tokens: EntraTokens | None = None,
) -> EmbedFor:
    """
    :param settings: the upstreams.
    :param knowledge: for what the model does not say.
    :param calls: makes the calls.
    :param total_seconds: bound for each upstream, retries included.
    :param tokens: of the upstreams that take no key.
    :return: the call for the model that a collection's vectors are of, which is another than the settings' until all
        of them are made anew. It raises :class:`~gptproxy.wire.Refusal` where no upstream has the model.
    """

    @cache
    def embed(model: str, dimensions: int | None) -> Embed:
        return embed_with(settings, knowledge, calls, total_seconds, model, dimensions, tokens)

    return embed


def search_threads(reactor: IReactor) -> BoundedThreads:
    """
    :param reactor: whose thread the results come to.
    :return: the service that searches run in.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
    return BoundedThreads(reactor, ThreadPool(1, THREADS, "knowledge"), MAX_JOBS)


class PresentEmbedding:
    """
    Embeds as the configuration in force says, so that what is loaded outlives the one that it was loaded under.

    :ivar embed_for: that configuration's.
    """

    def __init__(self, embed_for: EmbedFor) -> None:
        self.embed_for = embed_for

    def __call__(self, model: str, dimensions: int | None) -> Embed:
        """
        :param model: whose vectors are searched.
        :param dimensions: what was asked of it; None: its own.
        :return: turns texts into such vectors.
        :raise gptproxy.wire.Refusal: no upstream has the model.
        """
        return self.embed_for(model, dimensions)


class Searched:
    """
    What is loaded to be searched, and runs.

    :param knowledge: the database.
    :param reactor: whose thread results come to.
    :param embed_for: embeds.
    :param figures: told of searches.
    """

    def __init__(
        self,
        knowledge: KnowledgeSettings,
        reactor: IReactor,
        embed_for: EmbedFor,
        figures: Figures = NOBODY,
    ) -> None:
        self.threads = search_threads(reactor)
        self.embedding = PresentEmbedding(embed_for)
        self.knowledge = Knowledge(knowledge, self.embedding, self.threads, reactor, figures)


def question_embedding(
    settings: Settings,
    knowledge: KnowledgeSettings,
    calls: OwnCalls,
    tokens: EntraTokens | None = None,
) -> EmbedFor:
    """
    :param settings: the upstreams.
    :param knowledge: the embedding model.
    :param calls: makes the calls.
    :param tokens: of the upstreams that take no key.
    :return: embeds callers' questions. Where no upstream has a model for embeddings, and none was chosen, documents are
        found by words alone, and the log says so.
    :raise gptproxy.wire.Refusal: no upstream has the embedding model that the operator chose.
    """
    embed = embed_for(settings, knowledge, calls, QUESTION_SECONDS, tokens)
    try:
        embed(knowledge.embedding_model, knowledge.embedding_dimensions)
    except Refusal as refusal:
        if knowledge.embedding_model != _default_model():
            raise  # one that was chosen, and that nobody has, is a slip of the pen
        _log.warn(
            "[knowledge] embedding_model: {reason}: documents are searched by words alone",
            reason=refusal.message,
        )
    return embed


def chat_topics(
    settings: Settings,
    knowledge: KnowledgeSettings,
    searched: Searched,
    readers: Readers | None = None,
) -> ChatTopics:
    """
    :param settings: topics.
    :param knowledge: who may read which collection.
    :param searched: finds passages.
    :param readers: knows who may read what; None: nobody may read what is not for everybody.
    :return: what puts documents into chats.
    """
    return ChatTopics(settings.topics, searched.knowledge, knowledge.collections, readers)


def _default_model() -> object:
    return fields(KnowledgeSettings).embedding_model.default
