"""
The organisation's documents and the topics they answer: the settings of ``[knowledge]`` and ``[[topic]]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

__all__ = [
    "KnowledgeSettings",
    "TopicSettings",
]


@frozen
class KnowledgeSettings:
    """
    ``[knowledge]``: the organisation's documents.

    :param database: SQLite file that ``gptproxy docs`` fills and the daemon reads.
    :param embedding_model: OpenAI model name that turns passages and questions into vectors.
    """

    database: Path
    embedding_model: str = "text-embedding-ada-002"


@frozen
class TopicSettings:
    """
    One ``[[topic]]``: questions that are answered from a collection of documents.

    :param words: a chat whose first or last message contains one of these, in any case, is about the topic.
    :param documents: name of the collection in the knowledge database.
    :param prompt: the operator's instructions, put before the conversation; may be empty.
    :param preamble: what is always told with them; may be empty.
    :param max_tokens: bound on prompt, preamble and passages together, in tokens.
    """

    words: tuple[str, ...]
    documents: str
    prompt: str = ""
    preamble: str = ""
    max_tokens: int = 2000
