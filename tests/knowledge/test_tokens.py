"""A text's tokens are bounded from its bytes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.knowledge.tokens import estimated_tokens, prefix_within, token_bound

_cheap = settings(max_examples=100, deadline=None)


# Tokens in cl100k, counted with the encoding.
_COUNTED = {
    "The net module opens sockets; a socket's read gives a Buffer and blocks its fiber alone.": 19,
    "def read(self, size: int = -1) -> bytes:\n    return self._file.read(size)\n": 22,
    "Der Verschlüsselungsschlüssel wird in der Konfigurationsdatei hinterlegt.": 22,
    "[0.8444218515250481, 0.7579544029403025, 0.420571580830845]": 29,
    "aGVsbG8gd29ybGQgdGhpcyBpcyBhIHRlc3Qgb2YgYmFzZTY0IGVuY29kaW5n": 44,
    "数据库连接池的大小可以在配置文件中设置。": 13,
    "Размер пула соединений задаётся в файле конфигурации.": 25,
    "d41d8cd98f00b204e9800998ecf8427e": 19,
}


@pytest.mark.parametrize(("text", "tokens"), _COUNTED.items())
def test_no_real_text_has_more_tokens(text: str, tokens: int) -> None:
    """Of each kind of text; and the bound is not much more than there are."""
    assert tokens <= token_bound(text) <= 4 * tokens


def test_english_prose_is_bounded_closely() -> None:
    """It is what documentation is made of: a bound far off would leave most passages out."""
    text = (
        "Use the list of the first section when you want to set the value of a key. It is used by "
        "default if the file that is read has no such name, and each of the objects can be called."
    )
    assert 43 <= token_bound(text) <= 1.3 * 43


@_cheap
@given(st.text())
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    """And the display's estimate is bytes / 3.5, rounded up."""
    size = len(text.encode())
    assert min(size, 1) <= token_bound(text) <= size
    assert estimated_tokens(text) == math.ceil(size * 2 / 7)


@_cheap
@given(st.text(), st.integers(0, 40))
def test_a_prefix_is_the_longest_that_fits(text: str, limit: int) -> None:
    """A cut never splits a character and wastes none."""
    prefix = prefix_within(text, limit)
    assert text.startswith(prefix)
    assert len(prefix.encode()) <= limit
    assert prefix == text or len(text[: len(prefix) + 1].encode()) > limit
