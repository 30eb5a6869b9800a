"""
The knowledge database: does it open, is it whole, has it what the topics name, and who gives its embeddings?

May import the config, knowledge and upstream rooms. It blocks, for as long as SQLite reads the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

from attrs import fields

from gptproxy.check.files import is_missing
from gptproxy.check.finding import Finding, Level
from gptproxy.config import KnowledgeSettings, Settings
from gptproxy.embedding_place import embedding_upstreams
from gptproxy.knowledge import KnowledgeError
from gptproxy.knowledge.database import open_for_reading
from gptproxy.upstream import targets_for
from gptproxy.wire import Refusal

__all__ = ["check_documents"]

MOST_FAULTS: Final = 5
"""Lines of quick_check that are shown: one alone says that the file must be fed anew."""


def check_documents(settings: Settings) -> list[Finding]:
    """
    :param settings: what names the database, the topics and the embedding model.
    :return: what there is to say of them; nothing where there are no documents.
    """
    knowledge = settings.knowledge
    if knowledge is None:
        return []
    return [*_database(settings, knowledge), _embeddings(settings, knowledge)]


def _database(settings: Settings, knowledge: KnowledgeSettings) -> list[Finding]:
    subject = str(knowledge.database)
    try:
        connection, _ = open_for_reading(knowledge.database)
    except KnowledgeError as error:
        # A daemon without its documents serves: chats go up without them.
        level = Level.WARNING if is_missing(knowledge.database) else Level.ERROR
        return [Finding(level, subject, str(error).removeprefix(f"{subject}: "))]
    try:
        return [_whole(connection, subject), *_collections(connection, settings, knowledge)]
    except sqlite3.Error as error:
        return [Finding(Level.ERROR, subject, f"cannot be read: {error}")]
    finally:
        connection.close()


def _whole(connection: sqlite3.Connection, subject: str) -> Finding:
    # https://sqlite.org/pragma.html#pragma_quick_check: the word ok, or a line for each fault.
    # (Of what is in its brackets, some releases of SQLite make a table's name where it is bound: it has none.)
    rows = connection.execute("PRAGMA quick_check").fetchmany(MOST_FAULTS)
    faults = [str(row[0]) for row in rows]
    if faults == ["ok"]:
        return Finding(Level.GOOD, subject, "opens, and is whole")
    told = "; ".join(" ".join(fault.split()) for fault in faults)
    return Finding(Level.ERROR, subject, f"is damaged ({told}): remove it and feed it anew")


def _collections(
    connection: sqlite3.Connection, settings: Settings, knowledge: KnowledgeSettings
) -> list[Finding]:
    rows = connection.execute(
        "SELECT collections.name, (SELECT count(*) FROM sources JOIN documents USING (source_id)"
        " WHERE sources.collection_id = collections.collection_id), model"
        " FROM collections LEFT JOIN embedding_sets"
        " ON embedding_sets.collection_id = collections.collection_id AND state = 'active'"
        " ORDER BY collections.name"
    ).fetchall()
    there = {str(name): (int(documents), model) for name, documents, model in rows}
    wanted: dict[str, str] = {}
    for topic in settings.topics:
        wanted.setdefault(topic.documents, f"topic {topic.called}")
    for collection in knowledge.collections:
        wanted.setdefault(collection.name, "[[knowledge.collection]]")
    findings = []
    for name, whose in wanted.items():
        subject = f"collection {name}"
        if name not in there:
            known = f" (there are {_listed(there)})" if there else ""
            message = (
                f"is not in the database{known}; {whose} names it: gptproxy docs add {name} SOURCE"
            )
            findings.append(Finding(Level.ERROR, subject, message))
            continue
        documents, model = there[name]
        if not documents:
            findings.append(Finding(Level.WARNING, subject, "has no documents"))
        elif model not in (None, knowledge.embedding_model):
            message = f"has vectors of {model}, not yet of {knowledge.embedding_model}: gptproxy docs sync {name}"
            findings.append(Finding(Level.WARNING, subject, message))
        else:
            findings.append(Finding(Level.GOOD, subject, f"has {documents} documents"))
    return findings


def _embeddings(settings: Settings, knowledge: KnowledgeSettings) -> Finding:
    model = knowledge.embedding_model
    subject = f"embedding model {model}"
    upstreams = embedding_upstreams(settings, knowledge)
    try:
        targets = targets_for(upstreams, model, settings.unknown_model)
    except Refusal as refusal:
        if model == fields(KnowledgeSettings).embedding_model.default:
            message = f"{refusal.message} Documents are searched by words alone."
            return Finding(Level.WARNING, subject, message)
        return Finding(Level.ERROR, subject, refusal.message)
    names = _listed(target.upstream.name for target in targets)
    return Finding(Level.GOOD, subject, f"is asked of {names}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
