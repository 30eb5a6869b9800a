"""A text's tokens are bounded from its bytes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.knowledge.tokens import estimated_tokens, prefix_within, token_bound

_cheap = settings(max_examples=100, deadline=None)


@pytest.mark.parametrize(
    ("text", "bound", "estimate"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("a" * 13, 10, 4),
        ("a" * 14, 11, 4),
        ("é" * 7, 11, 4),
        ("日本", 5, 2),
    ],
)
def test_bytes_are_divided_and_rounded_up(text: str, bound: int, estimate: int) -> None:
    """The bound is bytes/1.3, the estimate bytes/3.5, both rounded up."""
    assert (token_bound(text), estimated_tokens(text)) == (bound, estimate)


@_cheap
@given(st.text())
def test_the_bound_is_the_least_whole_number_not_under_it(text: str) -> None:
    """No rounding error of floating point can make the bound too low."""
    size = len(text.encode())
    assert token_bound(text) * 13 >= size * 10 > (token_bound(text) - 1) * 13 or size == 0
    assert estimated_tokens(text) == math.ceil(size * 2 / 7)


@_cheap
@given(st.text(), st.integers(0, 40))
def test_a_prefix_is_the_longest_that_fits(text: str, limit: int) -> None:
    """A cut never splits a character and wastes none."""
    prefix = prefix_within(text, limit)
    assert text.startswith(prefix)
    assert len(prefix.encode()) <= limit
    assert prefix == text or len(text[: len(prefix) + 1].encode()) > limit
