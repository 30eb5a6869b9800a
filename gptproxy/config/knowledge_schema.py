"""
The organisation's documents and the topics they answer: the keys of ``[knowledge]`` and ``[[topic]]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.checks import file_path, free_text, matching, printable, whole, words
from gptproxy.config.fields import Key, Section
from gptproxy.config.knowledge_settings import KnowledgeSettings, TopicSettings
from gptproxy.config.making import plain

__all__ = ["KNOWLEDGE", "TOPIC"]

KNOWLEDGE = Section(
    keys=(
        Key("database", file_path, required=True),
        Key("embedding_model", matching("[!-~]{1,256}", "a model's name")),
    ),
    make=plain(KnowledgeSettings),
)

TOPIC = Section(
    keys=(
        Key("words", words, required=True),
        Key("documents", printable, required=True),
        Key("prompt", free_text),
        Key("preamble", free_text),
        Key("max_tokens", whole(1, 1_000_000)),
    ),
    make=plain(TopicSettings),
)
