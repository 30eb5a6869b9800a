"""Texts of any size, scanned in slices of any size, are read as a parser reads them whole."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gptproxy.wire import (
    BrokenJSON,
    DuplicateMember,
    ElementScan,
    MemberScan,
    NotAnObject,
    Span,
    element_spans,
    member_spans,
)
from gptproxy.wire.json_scan import MAX_DEPTH, MAX_NAME_BYTES
from gptproxy.wire.json_slices import MAX_MEMBERS
from tests.wire.test_json_members import _COMMON, _text, _texts, _values

_sizes = st.integers(1, 12) | st.integers(13, 300)
_NESTED = b'{"a":{"b":[%b]}}'


def members(text: bytes, size: int) -> dict[str, Span]:
    """:return: what the scan finds; no step goes further than it may, or nowhere."""
    scan = MemberScan(text)
    steps = 0
    while not scan.step(size):
        steps += 1
        assert steps <= 70 * (len(text) // size + 1)
    assert scan.step(size)
    return scan.spans


def elements(text: bytes, array: Span, size: int) -> list[Span]:
    """:return: what the scan finds."""
    scan = ElementScan(text, array)
    while not scan.step(size):
        pass
    return scan.found


@_COMMON
@given(_texts(st.dictionaries(_text, _values, max_size=4)), _sizes)
def test_members(spelled: tuple[dict[str, object], bytes], size: int) -> None:
    """Stand where they are found in a text that is parsed whole."""
    _, text = spelled
    assert members(text, size) == member_spans(text)


@_COMMON
@given(_texts(st.fixed_dictionaries({"array": st.lists(_values, max_size=4)})), _sizes)
def test_elements(spelled: tuple[dict[str, list[object]], bytes], size: int) -> None:
    """Likewise."""
    _, text = spelled
    array = members(text, size)["array"]
    assert elements(text, array, size) == element_spans(text, array)


_PIECES = (
    *'{}[]",:\\ 01-.eE+/\n\t\x00é€😀',
    *("true", "null", "false", "nul", '"a"', '"a":', '\\"', "\\u00e9", "\\ud83d\\ude00", "\\ud800"),
    *('"a":1', "[[", "]]", '{"a":{"b":[', "]}}", "[],", "{},", "1,", "Infinity", "\ufeff"),
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from(_PIECES)).map(lambda pieces: "".join(pieces).encode())
    | st.binary(max_size=20),
    st.sampled_from([b"%b", b'{"a":%b}', b'{"a":[%b]}', _NESTED, b'{"a":"%b"}', b'{"%b":1}']),
    _sizes,
)
@example(b"1e999", _NESTED, 5)
@example(b"[1,],", _NESTED, 5)
@example(b'"\xe2\x82', b'{"a":%b', 3)
def test_any_text(inside: bytes, around: bytes, size: int) -> None:
    """Is read as the parser reads it, valid or not; but for numbers that no float holds, which the upstream refuses."""
    text = around.replace(b"%b", inside)
    try:
        expected: object = member_spans(text) if orjson.loads(text) is not None else NotAnObject
    except orjson.JSONDecodeError:
        expected = BrokenJSON
    except (NotAnObject, DuplicateMember) as error:
        expected = type(error)
    try:
        found: object = members(text, size)
    except (BrokenJSON, NotAnObject, DuplicateMember) as error:
        found = type(error)
    if found != expected:
        if expected is BrokenJSON and found in (NotAnObject, DuplicateMember):
            return  # refused for what comes first
        assert "infinity" in _words(text), text


def _words(text: bytes) -> str:
    with pytest.raises(orjson.JSONDecodeError) as caught:
        orjson.loads(text)
    return caught.value.msg


@pytest.mark.parametrize("size", [1, 7, 1_000, 65_536])
@pytest.mark.parametrize(
    ("unit", "last"),
    [
        (b'"' + b"x" * 20_000 + b'",', b"1"),
        (b'"' + b"\\n" * 10_000 + b'",', b"1"),
        (b'"' + b"\\ud83d\\ude00" * 2_000 + b'",', b"1"),
        (b'"' + "€".encode() * 7_000 + b'",', b"1"),
        (b" " * 20_000, b"1"),
        (b"[]," * 7_000, b"{}"),
        (b"[[[[[[]]]]]]," * 1_500, b"{}"),
        (b'{"a":{"b":{"c":{"d":{"":1}}}}},' * 600, b"{}"),
        (b'{"role":"user","content":[{"type":"text","text":"x"}]},' * 400, b"{}"),
        (b"1," * 10_000, b"1"),
        (b"[" * 1_000 + b"1", b"]" * 1_000),
    ],
)
def test_the_number_of_steps_is_linear(unit: bytes, last: bytes, size: int) -> None:
    """Whatever a text is made of, a step gets on."""
    text = _NESTED.replace(b"%b", unit + last)
    orjson.loads(text)
    assert list(members(text, size)) == ["a"]


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_the_depth_is_the_parsers(brackets: tuple[bytes, bytes]) -> None:
    """A text's size does not decide whether it is JSON."""
    begin, end = brackets
    for inner in (b"1", b"[1,1]", b'{"a":1}'):
        for depth in range(MAX_DEPTH - 4, MAX_DEPTH + 3):
            text = b'{"a":' + begin * depth + inner + end * depth + b"}"
            try:
                orjson.loads(text)
            except orjson.JSONDecodeError:
                with pytest.raises(BrokenJSON, match="depth limit exceeded"):
                    members(text, 500)
            else:
                assert len(members(text, 500)) == 1


@pytest.mark.parametrize(
    "text",
    [
        b'{"a" 1}',
        b'{"a":"\x01"}',
        b'{"a":[1,"\xc3\xa9\x01"]}',
        b'{"a":tru}',
        b"{} x",
        b'{"a":1 "b"}',
        b'{"a":[1 2]}',
        b"{1:2}",
        b'{"a":[}',
        b'{"a":1,\n"b":\n[[],\n{"x":oops}]}',
    ],
)
def test_the_fault_is_told_as_the_parser_does(text: bytes) -> None:
    """The same place at any slice size, and the same words where there is one way to say it."""
    with pytest.raises(orjson.JSONDecodeError) as parsers:
        orjson.loads(text)
    for size in (1, 3, 1_000):
        with pytest.raises(BrokenJSON) as ours:
            members(text, size)
        assert (ours.value.line, ours.value.column) == (parsers.value.lineno, parsers.value.colno)


@pytest.mark.parametrize("text", [b'{"a":1,}', b'{"a":[1,]}', b'{"a":[[1,],1]}'])
def test_trailing_commas(text: bytes) -> None:
    """Are told as such, at what comes behind them."""
    for size in (1, 3, 1_000):
        with pytest.raises(BrokenJSON, match="trailing comma") as caught:
            members(text, size)
        assert text[caught.value.column - 1] in b"]}"


@pytest.mark.parametrize("size", [1, 4, 1_000])
@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ('{\n"é€":"é'.encode() + b"\xff" + b'"}', 2, 8),
        (b'{"a":"\xe2\x82"}', 1, 7),
        (b'{"a":"\xed\xa0\x80"}', 1, 7),
        (b'{"a":1}\xff', 1, 8),
    ],
)
def test_what_is_not_utf_8(text: bytes, line: int, column: int, size: int) -> None:
    """Is refused at its place."""
    with pytest.raises(BrokenJSON) as caught:
        members(text, size)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_bounds() -> None:
    """Of what is kept: names by length and by number."""
    name = b"n" * (MAX_NAME_BYTES - 8)
    assert len(members(b'{"%b":1}' % name, 100)) == 1
    assert len(members(b'{"a":{"%b":1}}' % (name * 2), 100)) == 1
    with pytest.raises(BrokenJSON, match="a key of more than"):
        members(b'{"%b":1}' % (name * 2), 100)
    many = [b'"%d":1' % number for number in range(MAX_MEMBERS + 1)]
    assert len(members(b"{" + b",".join(many[1:]) + b"}", 1_000)) == MAX_MEMBERS
    with pytest.raises(BrokenJSON, match="more than"):
        members(b"{" + b",".join(many) + b"}", 1_000)


def test_only_an_array_has_elements() -> None:
    """Whatever else the place holds."""
    for text in (b"{}", b"1", b'"["'):
        with pytest.raises(BrokenJSON, match="an array"):
            elements(text, Span(0, len(text)), 10)


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
    """Nothing goes up that can be read in two ways at the top level."""
    for size in range(1, 30):
        with pytest.raises(DuplicateMember):
            members(text, size)
