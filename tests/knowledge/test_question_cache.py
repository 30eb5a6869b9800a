"""A question that was asked before costs no call."""

from __future__ import annotations

import numpy as np

from gptproxy.knowledge.question_cache import QuestionCache

_VECTOR = np.ones(3, dtype=np.float32)


def test_by_collection_model_and_text() -> None:
    """Another collection, model, length or text is another question."""
    cache = QuestionCache()
    cache.keep("c", ("m", None), "q", _VECTOR)
    assert cache.vector("c", ("m", None), "q") is _VECTOR
    for asked in (
        ("d", ("m", None), "q"),
        ("c", ("n", None), "q"),
        ("c", ("m", 3), "q"),
        ("c", ("m", None), "r"),
    ):
        assert cache.vector(*asked) is None


def test_the_longest_unasked_leaves_first() -> None:
    """In each collection for itself."""
    cache = QuestionCache(2)
    for text in "ab":
        cache.keep("c", ("m", None), text, _VECTOR)
    cache.vector("c", ("m", None), "a")
    cache.keep("c", ("m", None), "x", _VECTOR)
    cache.keep("d", ("m", None), "b", _VECTOR)
    held = [text for text in "abx" if cache.vector("c", ("m", None), text) is not None]
    assert held == ["a", "x"]


def test_collections_have_a_bound() -> None:
    """Names are the operator's, but none is kept for ever."""
    cache = QuestionCache()
    for number in range(300):
        cache.keep(f"c{number}", ("m", None), "q", _VECTOR)
    assert cache.vector("c0", ("m", None), "q") is None
    assert cache.vector("c299", ("m", None), "q") is not None
