"""
The organisation's documents and the topics they answer: the keys of ``[knowledge]`` and ``[[topic]]``.

Pure but for the files that secrets are fetched from; imports nothing of gptproxy but this room's own modules, and
nothing of Twisted.
"""

from __future__ import annotations

from attrs import evolve

from gptproxy.config.access_schema import ALLOW
from gptproxy.config.addresses import guarded_address
from gptproxy.config.checks import (
    choice,
    file_path,
    flag,
    free_text,
    matching,
    printable,
    seconds,
    share,
    whole,
    words,
)
from gptproxy.config.fields import Key, Place, Section, Table, TableList
from gptproxy.config.knowledge_settings import (
    CollectionSettings,
    KnowledgeSettings,
    TopicSettings,
)
from gptproxy.config.making import plain
from gptproxy.config.secrets import LONGEST_KEY, LONGEST_TOKEN, secret

__all__ = ["KNOWLEDGE", "TOPIC"]

# Which models they may use is nothing to a collection.
_READERS = evolve(ALLOW, keys=tuple(key for key in ALLOW.keys if key.name != "models"))

COLLECTION = Section(
    keys=(
        Key("name", printable, required=True),
        Key("allow", TableList(_READERS)),
        Key("members_only", flag),
    ),
    make=plain(CollectionSettings),
)


def _key_has_its_server(table: Table, place: Place) -> None:
    if "embedding_key" in table.written and "embedding_url" not in table.written:
        place.at("embedding_key").note(
            "is for embedding_url, which is missing; an upstream has its own key"
        )


def _make_knowledge(values: dict[str, object], place: Place) -> KnowledgeSettings:
    if "embedding_url" in values:
        values = {**values, "embedding_url": str(values["embedding_url"])}
    return plain(KnowledgeSettings)(values, place)


KNOWLEDGE = Section(
    keys=(
        Key("database", file_path, required=True),
        Key("embedding_model", matching("[!-~]{1,256}", "a model's name")),
        Key("embedding_dimensions", whole(1, 65_536)),
        Key("embedding_upstream", printable),
        Key("embedding_url", guarded_address),
        Key("embedding_key", secret(LONGEST_KEY)),
        Key("batches_in_flight", whole(1, 64)),
        Key("gitlab_token", secret(LONGEST_TOKEN)),
        Key("search_seconds", seconds),
        Key("required", flag),
        Key(
            "collection",
            TableList(COLLECTION, distinct=("name", lambda collection: collection.name)),
            attribute="collections",
        ),
    ),
    make=_make_knowledge,
    rules=(_key_has_its_server,),
)

_CHOOSING = ("words", "models", "name", "always")


def _is_chosen(table: Table, place: Place) -> None:
    """A topic that nothing chooses is a slip of the pen."""
    if not any(table.written.get(name) for name in _CHOOSING) and "words" not in table.written:
        place.note(f"nothing chooses this topic: it needs one of {', '.join(_CHOOSING)}")


def _always_has_a_score(table: Table, place: Place) -> None:
    """Without one every chat of the organisation would get this topic's nearest passages, however far."""
    if table.written.get("always") and not table.written.get("min_score"):
        place.at("min_score").note("missing; with always it says how near a passage must be")


TOPIC = Section(
    keys=(
        Key("name", printable),
        Key("words", words),
        Key("match", choice("first-or-last", "any")),
        Key("models", words),
        Key("always", flag),
        Key("min_score", share),
        Key("documents", printable, required=True),
        Key("prompt", free_text),
        Key("preamble", free_text),
        Key("max_tokens", whole(1, 1_000_000)),
        Key("cite", flag),
    ),
    make=plain(TopicSettings),
    rules=(_is_chosen, _always_has_a_score),
)
