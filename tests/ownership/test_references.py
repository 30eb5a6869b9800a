"""The ids that a request names: none escapes by its spelling or its place."""

from __future__ import annotations

import json

import orjson
import pytest

from gptproxy.ownership import (
    FEW_NAMES,
    NAMES,
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
        ({"messages": [{"role": "assistant", "audio": {"id": "a1"}}]}, {"a1"}),
        ({"audio": {"voice": {"id": "voice_1"}, "format": "wav"}}, {"voice_1"}),
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, set()),
        (b'{"messages":[{"audio":{"id":"theirs","i\\u0064":"mine"}}]}', {"theirs", "mine"}),
        ({"content": [{"type": "input_audio", "input_audio": {"data": "UklG"}}]}, set()),
    ],
)
def test_bodies(body: object, expected: set[str]) -> None:
    """Small or large, in slices of any width."""
    assert ids(body) == expected
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    large = b'{"pad":"' + b"x" * 262_144 + b'",' + text[1:]
    assert ids(large, step=65_536) == expected
    assert ids(b'{"voice":"",' + text[1:], step=3) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"prompt": {"id": "pmpt_1", "version": "2", "variables": {"a": "b"}}}, {"pmpt_1"}),
        ({"prompt": "pmpt_1"}, {"pmpt_1"}),
        ({"session": {"prompt": {"id": "p"}}}, {"p"}),
        ({"workflow": {"id": "wf_1", "state_variables": {"id": "x"}}}, {"wf_1"}),
        (b'{"prompt":{"id":"theirs","id":"mine"},"prompt":{"id":"x"}}', {"theirs", "mine", "x"}),
        (b'{"pr\\u006fmpt":{"id":"p"}}', {"p"}),
        ({"prompt": "A cat that reads"}, set()),
        ({"prompt": ["pmpt_1", [1, 2]]}, set()),
        ({"prompt": None, "workflow": 7}, set()),
        ({"properties": {"prompt": {"type": "string"}}}, set()),
    ],
)
def test_saved_elsewhere(body: object, expected: set[str]) -> None:
    """Told apart from what callers make."""
    text = body if isinstance(body, bytes) else orjson.dumps(body)
    for each, step in ((text, 1 << 20), (b'{"pad":"' + b"x" * 262_144 + b'",' + text[1:], 65_536)):
        scan = ReferenceScan(each)
        while not scan.step(step):
            pass
        assert (scan.saved, scan.ids) == (expected, set())


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
    assert ids({"audio": {"id": "a1"}, "voice": {"id": "v1"}}, finder=FEW_NAMES) == {"a1", "v1"}
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
        ("prompt", "A cat", []),
        ("prompt", "pmpt_1", []),
        ("session", '{"prompt": {"id": "pmpt_1"}}', ["pmpt_1"]),
        ("voice", "alloy", []),
        ('file_id[a"b]', '["f1"]', ["f1"]),
    ],
)
def test_forms(name: str, value: str, expected: list[str]) -> None:
    assert form_references(name, value) == expected


@pytest.mark.parametrize(
    "value",
    [
        '{"file_id":"f1","x":' + "1" * 5000 + "}",
        '{"file_id":"f1","x":' + "[" * 50_000 + "]" * 50_000 + "}",
        r'{"file_id":"\ud800"}',
        r'{"\ud800":"x"}',
        '{"a":{"b":{},"type":"item_reference","id":"x"}}',
    ],
)
def test_forms_that_other_readers_read_otherwise(value: str) -> None:
    """Python bounds a number's digits and a text's levels, and takes half of a pair for a character."""
    with pytest.raises(TooManyReferences):
        form_references("tool", value)


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


def needed(body: object, **options: object) -> bool:
    return ReferenceScan(orjson.dumps(body), **options).needed  # type: ignore[arg-type]  # by name


def test_what_a_glance_shows() -> None:
    """Most bodies need not be looked through: the names, and nothing but the names, say so."""
    said = {"model": "gpt-4o", "input": 'A conversation_id, "video" and container', "call_id": "c"}
    assert not needed(said)
    many = {**said, "x": ["y"] * 2000}
    assert needed({**many, "call_id": "c"}), "too many to be taken apart: by what names have"
    plain = [{"role": "user", "content": "y"}] * 2000
    assert not needed({"model": "gpt-4o", "input": plain})
    assert needed({"model": "gpt-4o", "input": plain, "prompt": {"id": "x"}})
    for name in NAMES - {"model"}:
        for value in ("x", {"id": "x"}, ["x"]):
            assert needed({"model": "gpt-4o", "a": [{name: value}]}), name
    for given in ({"model": "ft:a"}, {"type": "item_reference"}, {"type": "file_id"}):
        assert needed({"a": [given]})
    assert needed(said | {"x": "\u0001"}), "a name may be written with escapes"


@pytest.mark.parametrize(
    ("body", "searched"),
    [({"a": "x"}, False), ({"audio": {"id": "a"}}, True), ({"voice": "x"}, True)],
)
def test_sound_that_is_known(body: object, searched: bool) -> None:
    """Is not searched for; what the caller says is enough."""
    assert needed(body, finder=FEW_NAMES) == searched
    assert not needed(body, finder=FEW_NAMES, sound=False)
    assert needed(body, finder=FEW_NAMES, sound=True)
    assert needed({"x": body, "file_id": "f"}, finder=FEW_NAMES, sound=False)
