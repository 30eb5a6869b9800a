"""Members found by name at any depth, whatever the slices."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.wire import BrokenJSON, NameFinder, NameScan, end_of_value

FINDER = NameFinder(("file_id", "conversation"), ("item_reference",))


def found(text: bytes, step: int = 1 << 20) -> list[tuple[str, int]]:
    scan = NameScan(text, FINDER)
    while not scan.step(step):
        pass
    return [(member.name, member.value) for member in scan.found]


def pairs_of(value: object, pairs: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """All members that are looked for, in the text's order, as a recursive reading finds them."""
    if isinstance(value, list):
        for each in value:
            pairs_of(each, pairs)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name in FINDER.names or (name == "type" and each == "item_reference"):
                pairs.append((name, each))
            pairs_of(each, pairs)
    return pairs


NAMES = st.sampled_from(("file_id", "conversation", "type", "a", "file_id\\", 'x"file_id'))
VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.sampled_from(("item_reference", "file_id", '"file_id":', "\\", 'a"', "x" * 50)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.integers(1, 40), st.sampled_from((None, 1)))
@settings(max_examples=100, deadline=None)
def test_as_a_recursive_reading(value: object, step: int, indent: int | None) -> None:
    """Every slice width finds the same, and where each value begins."""
    text = json.dumps({"top": value}, indent=indent).encode()
    expected = pairs_of({"top": value}, [])
    got = found(text, step)
    assert [name for name, _ in got] == [name for name, _ in expected]
    for (_, start), (_, wanted) in zip(got, expected, strict=True):
        assert json.loads(text[start : end_of_value(text, start)]) == wanted


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_every_spelling(step: int) -> None:
    """Escapes in names, and every one of several members of one name."""
    text = rb'{"file\u005fid":1,"a":{"file_id" : 2,"file_id"' + b"\n:\t3},"
    text += rb'"ty\u0070e":"item\u005freference","b":"\"file_id\":4"}'
    assert [name for name, _ in found(text, step)] == ["file_id"] * 3 + ["type"]


def test_long_strings_and_names() -> None:
    """A string is left and taken up again anywhere; a name longer than any wanted is none."""
    text = json.dumps({"x" * 5000: "y\\" * 5000, "file_id": "z"}).encode()
    for step in (1, 100, 4096):
        assert [name for name, _ in found(text, step)] == ["file_id"]


@pytest.mark.parametrize("text", [b'{"file_id"%b:1}', b'{"file_id":%b1}'])
def test_white_space_has_a_bound(text: bytes) -> None:
    """Nobody writes so much of it, and reading it at once would hold up the others."""
    with pytest.raises(BrokenJSON):
        found(text % (b" " * 70_000))
    assert len(found(text % (b" " * 60_000))) == 1


@pytest.mark.parametrize("text", [b"[1, [2]", b'{"a": "b"', b'{"a": "b', b'"a'])
def test_the_end_of_what_has_none(text: bytes) -> None:
    with pytest.raises(ValueError, match="not a valid JSON text"):
        end_of_value(text, 0)
