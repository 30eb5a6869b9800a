"""A skeleton is a JSON text with one quotation mark for each string, however the strings are written."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.wire import json_skeleton, member_spans
from gptproxy.wire.json_skeleton import skeleton_of

# The grammar's own string (RFC 8259 7), character by character.
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_texts = st.text(st.sampled_from('\\"ab{}[],:\n'), max_size=12)
_values = st.recursive(
    _texts | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


def expected(text: bytes) -> tuple[bytes, list[int]]:
    """:return: what an expression that reads every character finds."""
    return _STRING.sub(b'"', text), [len(found[1]) for found in _STRING.finditer(text)]


@pytest.mark.parametrize(
    ("text", "skeleton", "lengths"),
    [
        (b"1", b"1", []),
        (b'""', b'"', [0]),
        (b'{"a": "b\\"c", "d\\\\": ["\\\\\\"", ""]}', b'{": ", ": [", "]}', [1, 4, 3, 4, 0]),
        (b'"\\\\"', b'"', [2]),
        ('"ä"'.encode(), b'"', [2]),
    ],
)
def test_what_a_skeleton_is(text: bytes, skeleton: bytes, lengths: list[int]) -> None:
    """Lengths are in bytes, escapes as they stand."""
    assert skeleton_of(text) == (skeleton, lengths)


@settings(max_examples=100, deadline=None)
@given(_values, st.sampled_from((1, 4, 512)))
def test_both_ways_find_the_same(value: object, most_pieces: int) -> None:
    """Whether escaped quotation marks are looked for one by one or all at once."""
    text = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_skeleton, "MOST_PIECES", most_pieces)
        assert skeleton_of(text) == expected(text)
        if isinstance(value, dict):
            spans = member_spans(text)
            assert {n: json.loads(text[start:end]) for n, (start, end) in spans.items()} == value


def test_a_text_made_of_quotes_is_read_in_the_other_way() -> None:
    """It has more pieces than are looked at one by one."""
    text = b'{"a":"' + b'\\"' * 600 + b'","b":["\\\\"]}'
    assert skeleton_of(text) == expected(text)
