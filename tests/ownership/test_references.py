"""The ids that a request names: none escapes by its spelling or its place."""

from __future__ import annotations

import json

import orjson
import pytest

from gptproxy.ownership import (
    FEW_NAMES,
    ReferenceScan,
    TooManyReferences,
    form_references,
    query_references,
)


def ids(body: object, *, finder: object = None, step: int = 1 << 20) -> set[str]:
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    scan = ReferenceScan(text, finder)
    while not scan.step(step):
        pass
    return scan.ids


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"previous_response_id": "resp_1"}, {"resp_1"}),
        ({"previous_response_id": None}, set()),
        ({"conversation": "conv_1"}, {"conv_1"}),
        ({"conversation": {"id": "conv_1"}}, {"conv_1"}),
        ({"tools": [{"vector_store_ids": ["vs_1", "vs_2"]}]}, {"vs_1", "vs_2"}),
        ({"tools": [{"container": {"type": "auto", "file_ids": ["f1"]}}]}, {"f1"}),
        ({"tools": [{"container": "cntr_1"}]}, {"cntr_1"}),
        ({"training_file": "f1", "validation_file": "f2"}, {"f1", "f2"}),
        ({"input": [{"content": [{"type": "input_file", "file_id": "f1"}]}]}, {"f1"}),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, {"msg_1"}),
        ({"input": [{"type": "message", "id": "msg_1"}]}, set()),
        ({"source": {"type": "file_id", "id": "f1"}}, {"f1"}),
        ({"tool_resources": {"code_interpreter": {"file_ids": ["f1"]}}}, {"f1"}),
        ({"voice": "alloy"}, set()),
        ({"voice": "voice_1"}, {"voice_1"}),
        ({"voice": {"id": "voice_1"}}, {"voice_1"}),
        ({"video": "https://x/y.mp4"}, set()),
        ({"video": {"id": "v1"}}, {"v1"}),
        ({"characters": [{"id": "c1"}, {"id": "c2"}]}, {"c1", "c2"}),
        ({"metadata": {"file_id": "mine"}}, set()),
        ({"metadata": {"a": {"file_id": "f1"}}}, {"f1"}),
        ({"metadata": {}, "file_id": "f1"}, {"f1"}),
        ({"messages": [{"content": 'file_id "file_id": "f1"'}]}, set()),
        ({"properties": {"file_id": {"type": "string"}}}, set()),
        (b'{"a":[{"file_id":"theirs","file_id":"mine"}]}', {"theirs", "mine"}),
        (b'{"conversation":{"id":"theirs","id":"mine"}}', {"theirs", "mine"}),
        (b'{"file\\u005fid":"f1"}', {"f1"}),
        ({"file_id": 'a"\\'}, {'a"\\'}),
        ({"file_ids": ["f1", 1, None, ["f2"], {"id": "f3"}]}, {"f1", "f3"}),
        ({"criteria": [{"model": "ft:a"}, {"model": "gpt-4o"}]}, {"ft:a"}),
        ({"x": ["ft:a"], "model": {"id": "x"}}, set()),
    ],
)
def test_bodies(body: object, expected: set[str]) -> None:
    """Small or large, in slices of any width."""
    assert ids(body) == expected
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    large = b'{"pad":"' + b"x" * 262_144 + b'",' + text[1:]
    assert ids(large, step=65_536) == expected
    assert ids(b'{"voice":"",' + text[1:], step=3) == expected


def test_an_id_longer_than_any() -> None:
    """Is nobody's; it is not passed over."""
    (found,) = ids({"file_id": "x" * 5000})
    assert found.startswith("xxx")
    assert found.endswith("...")


@pytest.mark.parametrize(
    "body",
    [
        {"file_ids": [f"f{number}" for number in range(5000)]},
        {"conversation": {"id": "c", "more": "x" * 300_000}},
        {"a": {"b": {}, "type": "item_reference", "id": "x"}},
        b'{"a":"{","type":"item_reference","id":"x"}',
    ],
)
def test_what_cannot_be_told(body: object) -> None:
    with pytest.raises(TooManyReferences):
        ids(body)


def test_few_names() -> None:
    """Chats know files and voices only."""
    body = {"file_id": "f1", "previous_response_id": "r1", "metadata": {"file_id": "m"}}
    assert ids(body, finder=FEW_NAMES) == {"f1"}
    assert ids({"messages": []}, finder=FEW_NAMES) == set()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("file_id", "f1", ["f1"]),
        ("file_ids[]", "f1", ["f1"]),
        ("input_reference[file_id]", "f1", ["f1"]),
        ("purpose", "f1", []),
        ("file_ids", '["f1"]', ["f1"]),
        ("video", '{"id": "v1"}', ["v1"]),
        ("tool", '{"file_id": "f1"}', ["f1"]),
        ("prompt", "{not json", []),
        ("voice", "alloy", []),
        ('file_id[a"b]', '["f1"]', ["f1"]),
    ],
)
def test_forms(name: str, value: str, expected: list[str]) -> None:
    assert form_references(name, value) == expected


def test_queries() -> None:
    """Decoded as the upstream decodes them."""
    query = b"limit=1&file%5fid=f%31&include[]=x&thread_id=t&after=a"
    assert query_references(query) == ["f1", "t"]
    assert json.dumps(query_references(b"")) == "[]"


def test_a_file_in_a_references_place() -> None:
    """Not every reader of forms looks at a file's name; a video's and a voice's are files."""
    for name in ("file_id", "file_ids[]", "input_reference[file_id]"):
        with pytest.raises(TooManyReferences):
            form_references(name, "", is_file=True)
    for name in ("file", "video", "voice", "image[]"):
        assert form_references(name, "", is_file=True) == []
