"""
The organisation's documents and the topics they answer: the settings of ``[knowledge]`` and ``[[topic]]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from gptproxy.config.access_settings import AllowSettings
from gptproxy.config.secret import Secret

__all__ = [
    "CollectionSettings",
    "KnowledgeSettings",
    "TopicSettings",
]


@frozen
class CollectionSettings:
    """
    One ``[[knowledge.collection]]``: who may read a collection. Those without one are for every caller.

    :param name: the collection's.
    :param allow: who may; empty: every caller.
    :param members_only: what is from a GitLab project is for its members only.
    """

    name: str
    allow: tuple[AllowSettings, ...] = ()
    members_only: bool = False


@frozen
class KnowledgeSettings:
    """
    ``[knowledge]``: the organisation's documents.

    :param database: SQLite file that ``gptproxy docs`` fills and the daemon reads.
    :param embedding_model: OpenAI model name that turns passages and questions into vectors.
    :param embedding_dimensions: what is asked of it; None: its own.
    :param embedding_upstream: the upstream that is asked, by name; None: each that has the model, in order.
    :param embedding_url: a server with ``/embeddings`` below this address, asked in the place of the upstreams.
    :param embedding_key: its API key; None where it asks for none.
    :param batches_in_flight: embedding calls at once while documents are fed.
    :param gitlab_token: what repositories and wikis are read with; None: ``[gitlab] service_token``.
    :param search_seconds: how long a chat waits for passages, the question's embedding included.
    :param required: without the database the daemon does not count as ready.
    :param collections: who may read which.
    """

    database: Path
    embedding_model: str = "text-embedding-ada-002"
    embedding_dimensions: int | None = None
    embedding_upstream: str | None = None
    embedding_url: str | None = None
    embedding_key: Secret | None = None
    batches_in_flight: int = 4
    gitlab_token: Secret | None = None
    search_seconds: float = 2.0
    required: bool = False
    collections: tuple[CollectionSettings, ...] = ()


@frozen
class TopicSettings:
    """
    One ``[[topic]]``: questions that are answered from a collection of documents.

    :param words: a chat that contains one of these, in any case, is about the topic.
    :param documents: name of the collection in the knowledge database.
    :param prompt: the operator's instructions, put before the conversation; may be empty.
    :param preamble: what is always told with them; may be empty.
    :param max_tokens: bound on prompt, preamble and passages together, in tokens.
    :param name: what the header ``x-gptproxy-topic`` calls it; empty: as its documents.
    :param match: where the words are looked for: in the first and the last message, or in any.
    :param models: names of models whose every call is about the topic.
    :param always: every call is, if there are passages of ``min_score``.
    :param min_score: the least cosine of a passage and the question.
    :param cite: the model is asked for references, and the answer ends with the list of sources.
    """

    documents: str
    words: tuple[str, ...] = ()
    prompt: str = ""
    preamble: str = ""
    max_tokens: int = 2000
    name: str = ""
    match: Literal["first-or-last", "any"] = "first-or-last"
    models: tuple[str, ...] = ()
    always: bool = False
    min_score: float = 0.0
    cite: bool = False

    @property
    def called(self) -> str:
        """Its name, or its documents'."""
        return self.name or self.documents
