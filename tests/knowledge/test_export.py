"""What is exported and imported again is the same; what is no export is refused, line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from gptproxy.knowledge.errors import KnowledgeError, OtherModel, UnknownCollection
from gptproxy.knowledge.export import export_lines, import_lines
from gptproxy.knowledge.inventory import inventory
from gptproxy.knowledge.passages import Excerpt
from tests.knowledge.content import content
from tests.knowledge.standins import put_document

_VECTORS = np.array([[3, 4], [1, 1]], dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    database = tmp_path / "k.db"
    excerpts = [Excerpt("H", "one"), Excerpt("", "'; DROP TABLE x; --\u2028ü")]
    put_document(database, "c", "m", "docs/a.md", excerpts, _VECTORS)
    put_document(database, "c", "m", "p/b.md", [], None, project="g/p", members_only=True)
    put_document(database, "words", None, "docs/c.md", [Excerpt("", "only words")])
    return database


def test_back_and_forth(path: Path, tmp_path: Path) -> None:
    """Vectors bit by bit, rights and names; again it changes nothing."""
    other = tmp_path / "other.db"
    for name, written in (("c", (2, 2)), ("words", (1, 1))):
        lines = list(export_lines(path, name))
        assert import_lines(other, lines, None) == (name, *written)
        assert import_lines(other, lines, None) == (name, 0, 0)
        assert list(export_lines(other, name)) == lines
    assert content(other) == content(path)
    assert import_lines(other, export_lines(path, "c"), "copy") == ("copy", 2, 2)
    assert [row.name for row, _ in inventory(other)] == ["c", "copy", "words"]


def test_an_import_that_was_interrupted_goes_on(path: Path, tmp_path: Path) -> None:
    """What was read before it stays."""
    lines = list(export_lines(path, "c"))
    other = tmp_path / "other.db"
    with pytest.raises(KnowledgeError, match="line 3"):
        import_lines(other, lines[:4], None)
    assert import_lines(other, lines, None) == ("c", 2, 2)
    assert content(other) == [row for row in content(path) if row[0] == "c"]


def test_vectors_of_another_model_are_refused(path: Path) -> None:
    """Two models do not compare."""
    lines = list(export_lines(path, "c"))
    with pytest.raises(OtherModel, match="another name"):
        import_lines(path, [lines[0].replace(b'"model":"m"', b'"model":"n"'), *lines[1:]], None)


def test_a_collection_that_is_not_there(path: Path) -> None:
    """Cannot be exported."""
    with pytest.raises(UnknownCollection):
        list(export_lines(path, "nothing"))


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (1, b"gptproxy-documents", b"other"),
        (1, b'"version":1', b'"version":2'),
        (1, b'"input_version":1', b'"input_version":0'),
        (1, b'"collection":"c"', b'"collection":7'),
        (1, b'"dimensions":2', b'"dimensions":3'),
        (2, b'"source"', b'"else"'),
        (2, b'"spec":"/docs"', b'"spec":null'),
        (3, b'"content_hash":"', b'"content_hash":"x'),
        (3, b'"passages":2', b'"passages":9'),
        (4, b'"text":"one"', b'"text":1'),
        (4, b'"vector":"', b'"vector":"!'),
        (4, b'"vector":"', b'"vector":"AAAA'),
        (4, b'"vector":"mpk', b'"vector":"mpm'),
        (4, b"{", b""),
        (4, b'{"passage"', b'[] {"passage"'),
    ],
)
def test_what_is_no_export(path: Path, tmp_path: Path, number: int, old: bytes, new: bytes) -> None:
    """The line is named."""
    lines = list(export_lines(path, "c"))
    assert old in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old, new, 1)
    with pytest.raises(KnowledgeError, match=r"line \d"):
        import_lines(tmp_path / "other.db", lines, None)


def test_nothing_at_all(tmp_path: Path) -> None:
    """Is no export."""
    for lines in ([], [b"[]"]):
        with pytest.raises(KnowledgeError, match="line 1"):
            import_lines(tmp_path / "other.db", lines, None)


def test_a_line_is_json(path: Path) -> None:
    """Any program can read it."""
    for line in export_lines(path, "c"):
        assert isinstance(orjson.loads(line), dict)
