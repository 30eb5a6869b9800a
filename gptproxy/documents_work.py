"""
What ``gptproxy docs`` works with, put together: sources, embeddings, the database, the search.

May import the config, HTTP, knowledge and upstream rooms, and the modules that put them together.
"""

from __future__ import annotations

from pathlib import Path
from random import SystemRandom

from attrs import evolve
from twisted.internet.defer import Deferred

from gptproxy.config import KnowledgeSettings, Settings
from gptproxy.documents import embed_for, embed_with
from gptproxy.documents_pace import PacedCalls
from gptproxy.http import Agent, IReactor
from gptproxy.knowledge import Knowledge, KnowledgeError
from gptproxy.knowledge.embedding_runs import Embedding
from gptproxy.knowledge.feeding import Feeding, Progress
from gptproxy.knowledge.gitlab_source import GitLabAccess, GitLabPlace, GitLabSource
from gptproxy.knowledge.local_source import LocalSource
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.sources import Source
from gptproxy.knowledge.vector_sets import EmbeddingModel
from gptproxy.progress_line import ProgressLine
from gptproxy.threads import Threads
from gptproxy.upstream import EntraTokens, read_assertion

__all__ = ["Work"]

EMBEDDING_SECONDS = 600.0
"""How long one batch of embeddings may take at one upstream, retries included: nobody waits in a chat."""

QUESTION_SECONDS = 30.0
"""How long an operator waits for an answer."""

ATTEMPTS = 12
"""Calls for one batch: with the server's Retry-After between them, enough for a quota of tokens a minute."""


class Work:
    """
    :param settings: upstreams and GitLab.
    :param knowledge: database and embeddings.
    :param agent: sends.
    :param threads: where files and database are worked on.
    :param reactor: for the clock.
    """

    def __init__(
        self,
        settings: Settings,
        knowledge: KnowledgeSettings,
        agent: Agent,
        threads: Threads,
        reactor: IReactor,
    ) -> None:
        self._settings = settings
        self._knowledge = knowledge
        self._calls = PacedCalls(agent, reactor, SystemRandom().random, attempts=ATTEMPTS)
        self._tokens = EntraTokens(
            self._calls, reactor, lambda path: threads.run(read_assertion, path)
        )
        self._reactor = reactor
        self.threads = threads

    def source(self, spec: str) -> Source:
        """
        :param spec: a path, or ``gitlab:group/project[@ref][:path]``.
        :return: the source, to be read once.
        :raise KnowledgeError: GitLab is not configured.
        """
        place = GitLabPlace.parsed(spec)
        if place is None:
            return LocalSource(Path(spec), self.threads)
        gitlab = self._settings.gitlab
        if gitlab is None:
            raise KnowledgeError(f"{spec}: {self._settings.source} has no [gitlab] with its url")
        token = self._knowledge.gitlab_token or gitlab.service_token
        headers = {} if token is None else {"authorization": f"Bearer {token.reveal()}"}
        return GitLabSource(place, GitLabAccess(gitlab.url, headers, self._calls))

    def feeding(self, line: ProgressLine, *, embeddings: bool) -> Feeding:
        """
        :param line: where progress is told.
        :param embeddings: ask for vectors.
        :return: what feeds.
        :raise gptproxy.wire.Refusal: no upstream has the embedding model.
        """
        embedding = None
        if embeddings:
            knowledge = self._knowledge
            embed = embed_with(
                self._settings,
                knowledge,
                self._calls,
                EMBEDDING_SECONDS,
                dimensions=knowledge.embedding_dimensions,
                tokens=self._tokens,
            )
            model = EmbeddingModel(knowledge.embedding_model, knowledge.embedding_dimensions)
            embedding = Embedding(embed, model, knowledge.batches_in_flight)

        def tell(progress: Progress) -> None:
            more = f"{progress.passages} passages"
            line.tell(progress.doing, progress.done, progress.total, more)

        return Feeding(self._knowledge.database, embedding, self.threads, tell, self._reactor)

    def found(self, collection: str, question: str) -> Deferred[tuple[Passage, ...]]:
        """
        :param collection: where to look.
        :param question: what to look for.
        :return: fires with passages by falling score.
        """
        embed = embed_for(
            self._settings, self._knowledge, self._calls, QUESTION_SECONDS, self._tokens
        )
        knowledge = Knowledge(
            evolve(self._knowledge, search_seconds=QUESTION_SECONDS),
            embed,
            self.threads,
            self._reactor,
        )
        return knowledge.find(collection, question)
