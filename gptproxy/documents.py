"""
The knowledge room put together with the upstreams that give it embeddings: for the daemon and for ``gptproxy docs``.

Imported only where documents are configured, because it brings numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from gptproxy.api.chat_topics import ChatTopics
from gptproxy.config import KnowledgeSettings, Settings
from gptproxy.http import IReactor, OwnCalls
from gptproxy.knowledge import BoundedThreads, Embed, Knowledge, read_embeddings
from gptproxy.upstream import Embedder

__all__ = ["chat_topics", "embed_with", "search_threads"]

THREADS = 4
"""Searches at once. numpy lets go of the interpreter while it multiplies, so a few threads use the cores there are."""

MAX_JOBS = 512
"""
Searches running and waiting; a chat beyond them goes up without documents rather than wait. One takes 1 to 20 ms, so
the last of them waits a few seconds at most, and some hundreds of callers may ask at the same moment.
"""

QUESTION_SECONDS = 10.0
"""How long a chat waits for its question's embedding at one upstream, retries included."""


def embed_with(
    settings: Settings, knowledge: KnowledgeSettings, calls: OwnCalls, total_seconds: float
) -> Embed:
    """
    :param settings: the upstreams.
    :param knowledge: the embedding model.
    :param calls: makes the calls.
    :param total_seconds: bound for each upstream, retries included.
    :return: turns texts into unit vectors.
    :raise gptproxy.wire.Refusal: no upstream has the embedding model.
    """
    embedder = Embedder(
        settings.upstreams, settings.unknown_model, knowledge.embedding_model, calls, total_seconds
    )

    async def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        return read_embeddings(await embedder.answer(texts), len(texts))

    return lambda texts: Deferred.fromCoroutine(vectors(texts))


def search_threads(reactor: IReactor) -> BoundedThreads:
    """
    :param reactor: whose thread the results come to.
    :return: the service that searches run in.
    """
    return BoundedThreads(reactor, ThreadPool(1, THREADS, "knowledge"), MAX_JOBS)


def chat_topics(
    settings: Settings,
    knowledge: KnowledgeSettings,
    calls: OwnCalls,
    threads: BoundedThreads,
    reactor: IReactor,
) -> ChatTopics:
    """
    :param settings: topics and upstreams.
    :param knowledge: database and embedding model.
    :param calls: makes the embedding calls.
    :param threads: where searches run.
    :param reactor: for the clock.
    :return: what puts documents into chats.
    :raise gptproxy.wire.Refusal: no upstream has the embedding model.
    """
    embed = embed_with(settings, knowledge, calls, QUESTION_SECONDS)
    return ChatTopics(settings.topics, Knowledge(knowledge, embed, threads, reactor))
