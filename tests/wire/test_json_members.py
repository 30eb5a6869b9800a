"""Places in a JSON text agree with what a parser reads, and edits leave every other byte alone."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.wire import (
    DuplicateMember,
    Edit,
    NotAnObject,
    Span,
    element_spans,
    member_spans,
    splice,
)

_COMMON = settings(max_examples=100, deadline=None)
_text = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/{}[],: \t\n\r\x00'), max_size=6
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=8,
)
_space = st.text(" \t\n\r", max_size=2)


@st.composite
def _spelled(draw: st.DrawFn, value: object) -> str:
    """A JSON text of the value with whitespace wherever it may stand, and escapes where they need not."""

    def space() -> str:
        return draw(_space)

    if isinstance(value, dict):
        members = [
            f"{space()}{draw(_spelled(name))}{space()}:{space()}{draw(_spelled(member))}{space()}"
            for name, member in value.items()
        ]
        return "{" + (",".join(members) or space()) + "}"
    if isinstance(value, list):
        elements = [f"{space()}{draw(_spelled(element))}{space()}" for element in value]
        return "[" + (",".join(elements) or space()) + "]"
    if isinstance(value, str) and draw(st.booleans()):
        units = value.encode("utf-16-be")
        codes = [units[i : i + 2].hex() for i in range(0, len(units), 2)]
        return '"' + "".join(f"\\u{code}" for code in codes) + '"'
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


@st.composite
def _texts(draw: st.DrawFn, values: st.SearchStrategy[object]) -> tuple[object, bytes]:
    value = draw(values)
    text = f"{draw(_space)}{draw(_spelled(value))}{draw(_space)}"
    return value, text.encode()


@_COMMON
@given(_texts(st.dictionaries(_text, _values, max_size=4)))
def test_members_stand_where_a_parser_finds_them(spelled: tuple[dict[str, object], bytes]) -> None:
    value, text = spelled
    assert orjson.loads(text) == json.loads(text) == value
    spans = member_spans(text)
    assert list(spans) == list(value)
    for name, span in spans.items():
        assert json.loads(text[span.start : span.end]) == value[name]
        assert text[span.start : span.end].strip() == text[span.start : span.end]


@_COMMON
@given(_texts(st.fixed_dictionaries({"array": st.lists(_values, max_size=4)})))
def test_elements_stand_where_a_parser_finds_them(
    spelled: tuple[dict[str, list[object]], bytes],
) -> None:
    value, text = spelled
    spans = element_spans(text, member_spans(text)["array"])
    assert [json.loads(text[span.start : span.end]) for span in spans] == value["array"]


@_COMMON
@given(_texts(st.dictionaries(_text, _values, min_size=1, max_size=4)), st.data())
def test_a_replaced_member_is_the_only_difference(
    spelled: tuple[dict[str, object], bytes], data: st.DataObject
) -> None:
    value, text = spelled
    name = data.draw(st.sampled_from(sorted(value)))
    span = member_spans(text)[name]
    edited = splice(text, [Edit(span.start, span.end, b'"new"')])
    assert json.loads(edited) == {**value, name: "new"}
    assert edited[: span.start] == text[: span.start]
    assert edited[span.start + 5 :] == text[span.end :]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        (b"{}", {}),
        (b" {\n} ", {}),
        (b'{"a":1}', {"a": Span(5, 6)}),
        (b'{"":{}}', {"": Span(4, 6)}),
        (b'{"a":-1.5e+3,"b":"}"}', {"a": Span(5, 12), "b": Span(17, 20)}),
        (b'{"\\u0061":"\\\\"}', {"a": Span(10, 14)}),
        (b'{"a":"\\"]","b":[["]"],{}]}', {"a": Span(5, 10), "b": Span(15, 25)}),
    ],
)
def test_places_by_example(text: bytes, spans: dict[str, Span]) -> None:
    assert member_spans(text) == spans


@pytest.mark.parametrize("text", [b"[]", b"1", b'"{}"', b" null", b""])
def test_only_an_object_has_members(text: bytes) -> None:
    with pytest.raises(NotAnObject):
        member_spans(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":1,"x":2,"mod\\u0065l":1}',
        b'{"\\uD83D\\uDE00":1,"\xf0\x9f\x98\x80":2}',
        b'{"":1,"":1}',
    ],
)
def test_a_name_that_occurs_twice_is_refused_however_it_is_spelled(text: bytes) -> None:
    """RFC 8259 section 4: two parsers may read two requests."""
    with pytest.raises(DuplicateMember) as caught:
        member_spans(text)
    assert caught.value.name in str(caught.value) or not caught.value.name


def test_a_name_may_occur_again_further_inside() -> None:
    assert set(member_spans(b'{"a":{"a":1,"b":2},"b":[{"a":1}]}')) == {"a", "b"}


@pytest.mark.parametrize(
    ("edits", "result"),
    [
        ([], b"0123456789"),
        ([Edit(2, 4, b"x")], b"01x456789"),
        ([Edit(8, 9, b"b"), Edit(0, 1, b"a")], b"a1234567b9"),
        ([Edit(3, 3, b"a"), Edit(3, 3, b"b")], b"012ab3456789"),
        ([Edit(3, 5, b"c"), Edit(3, 3, b"a"), Edit(5, 5, b"d")], b"012acd56789"),
        ([Edit(10, 10, b"!")], b"0123456789!"),
        ([Edit(0, 10, b"")], b""),
    ],
)
def test_edits_are_applied_in_any_order(edits: list[Edit], result: bytes) -> None:
    assert splice(b"0123456789", edits) == result


@pytest.mark.parametrize(
    "edits",
    [[Edit(2, 5, b""), Edit(4, 6, b"")], [Edit(2, 5, b""), Edit(3, 3, b"")], [Edit(5, 2, b"")]],
)
def test_edits_that_overlap_are_refused(edits: list[Edit]) -> None:
    with pytest.raises(ValueError, match="overlap"):
        splice(b"0123456789", edits)


@pytest.mark.parametrize(
    "text", [b'{"a"', b'{"a":', b'{"a":[', b'{"a":"x', b'{"a":}', b"{", b"{[]:1}", b"{{}:1}"]
)
def test_a_text_that_no_parser_has_read_before_is_no_endless_loop(text: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        member_spans(text)


def test_deep_nesting_takes_no_stack_and_one_pass() -> None:
    text = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b',"b":"' + b'\\"' * 100_000 + b'"}'
    spans = member_spans(text)
    assert spans["a"] == Span(5, 200_005)
    assert spans["b"].end == len(text) - 1
