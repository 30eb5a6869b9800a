"""Tests of :mod:`gptproxy.check.documents`."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest import mock

import pytest

from gptproxy.check import Level, check_documents
from gptproxy.config import Settings, load_settings
from gptproxy.knowledge import KnowledgeError
from gptproxy.knowledge.database import open_for_writing

BASE = """\
[gitlab]
url = "https://git.example.com"
[[upstream]]
name = "azure"
kind = "azure"
url = "https://gpt1.openai.azure.com"
api_key = "0123456789"
[upstream.deployments]
"text-embedding-ada-002" = "ada"
"gpt-4o" = "gpt-4o"
"""
TOPIC = """\
[[topic]]
words = ["house"]
documents = "handbook"
"""
KNOWLEDGE = '[knowledge]\ndatabase = "k.db"\n'


def settings_of(folder: Path, text: str) -> Settings:
    path = folder / "gptproxy.toml"
    path.write_text(BASE + text)
    return load_settings(path, environ={}, working_directory=folder)


def database(folder: Path, documents: int = 1, model: str = "text-embedding-ada-002") -> Path:
    """:return: one with a collection ``handbook``."""
    path = folder / "k.db"
    with closing(open_for_writing(path)) as connection:
        run = connection.execute
        run("INSERT INTO collections (name) VALUES ('handbook')")
        run("INSERT INTO sources (collection_id, spec) VALUES (1, '/docs')")
        for number in range(documents):
            run(
                "INSERT INTO documents (source_id, location, name, blob_id, content_hash)"
                " VALUES (1, ?, 'a', '', x'')",
                (str(number),),
            )
        run(
            "INSERT INTO embedding_sets (collection_id, model, version, state)"
            " VALUES (1, ?, 1, 'active')",
            (model,),
        )
    return path


def found(settings: Settings) -> list[tuple[Level, str, str]]:
    return [
        (each.level, each.subject.rpartition("/")[2], each.message)
        for each in check_documents(settings)
    ]


def test_without_documents_there_is_nothing(tmp_path: Path) -> None:
    """Nobody configured any."""
    assert found(settings_of(tmp_path, "")) == []


def test_all_is_well(tmp_path: Path) -> None:
    """The file is whole, the collection has documents, an upstream has the model."""
    database(tmp_path, 2)
    assert found(settings_of(tmp_path, KNOWLEDGE + TOPIC)) == [
        (Level.GOOD, "k.db", "opens, and is whole"),
        (Level.GOOD, "collection handbook", "has 2 documents"),
        (Level.GOOD, "embedding model text-embedding-ada-002", "is asked of azure"),
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Chats go up without documents: a warning, that says what makes it."""
    (level, _, message), _ = found(settings_of(tmp_path, KNOWLEDGE))
    assert level is Level.WARNING
    assert "gptproxy docs add" in message
    assert "k.db:" not in message


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    """Is an error."""
    (tmp_path / "k.db").write_text("not a database, " * 100)
    (level, _, message), _ = found(settings_of(tmp_path, KNOWLEDGE))
    assert (level, message) == (Level.ERROR, "file is not a database")


def test_a_damaged_file(tmp_path: Path) -> None:
    """Is an error that says what to do."""
    path = database(tmp_path, 500)
    content = bytearray(path.read_bytes())
    size = 8192
    for page in range(2, len(content) // size):
        content[page * size + 100 : page * size + 4000] = b"\xff" * 3900
    path.write_bytes(content)
    level, _, message = found(settings_of(tmp_path, KNOWLEDGE))[0]
    assert level is Level.ERROR
    assert "damaged" in message or "malformed" in message


def test_a_file_that_fails_to_be_read(tmp_path: Path) -> None:
    """In the middle of it, too."""
    database(tmp_path)
    settings = settings_of(tmp_path, KNOWLEDGE)
    with mock.patch(
        "gptproxy.check.documents._whole", side_effect=sqlite3.OperationalError("disk")
    ):
        assert found(settings)[0] == (Level.ERROR, "k.db", "cannot be read: disk")


@pytest.mark.parametrize("more", ["", '[[knowledge.collection]]\nname = "other"\n'])
def test_a_collection_that_is_not_there(tmp_path: Path, more: str) -> None:
    """A topic's, or one that readers are configured for; what there is is told."""
    database(tmp_path)
    text = KNOWLEDGE + more + TOPIC.replace("handbook", "handbok" if not more else "handbook")
    findings = [each for each in found(settings_of(tmp_path, text)) if each[0] is Level.ERROR]
    ((_, subject, message),) = findings
    assert subject == ("collection other" if more else "collection handbok")
    assert "there are handbook" in message
    assert "gptproxy docs add" in message


def test_an_empty_database(tmp_path: Path) -> None:
    """Has no names to choose from."""
    open_for_writing(tmp_path / "k.db").close()
    _, (level, _, message), _ = found(settings_of(tmp_path, KNOWLEDGE + TOPIC))
    assert level is Level.ERROR
    assert "there are" not in message


def test_a_collection_without_documents(tmp_path: Path) -> None:
    """Is a warning, and so is one whose vectors are another model's."""
    database(tmp_path, 0)
    settings = settings_of(tmp_path, KNOWLEDGE + TOPIC)
    assert found(settings)[1][0::2] == (Level.WARNING, "has no documents")
    (tmp_path / "k.db").unlink()
    database(tmp_path, 1, "ada-001")
    level, _, message = found(settings)[1]
    assert level is Level.WARNING
    assert "has vectors of ada-001" in message


@pytest.mark.parametrize(
    ("chosen", "level"), [("text-embedding-3-small", Level.ERROR), (None, Level.WARNING)]
)
def test_a_model_that_nobody_has(tmp_path: Path, chosen: str | None, level: Level) -> None:
    """One that was chosen is a slip of the pen; without the default one, words alone are searched."""
    database(tmp_path)
    text = KNOWLEDGE + (f'embedding_model = "{chosen}"\n' if chosen else "")
    settings = settings_of(tmp_path, text)
    if chosen is None:
        path = tmp_path / "gptproxy.toml"
        path.write_text(path.read_text().replace('"text-embedding-ada-002" = "ada"\n', ""))
        settings = load_settings(path, environ={}, working_directory=tmp_path)
    assert found(settings)[-1][0] is level


def test_a_pipe_in_its_place(tmp_path: Path) -> None:
    """Nobody waits for what comes out of it, neither to read nor to write."""
    os.mkfifo(tmp_path / "k.db")
    (first, *_) = check_documents(settings_of(tmp_path, KNOWLEDGE))
    assert (first.level, first.message) == (Level.ERROR, "is no file")
    with pytest.raises(KnowledgeError, match="is no file"):
        open_for_writing(tmp_path / "k.db")
