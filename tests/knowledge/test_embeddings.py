"""An embeddings answer is read in both encodings, or refused."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.knowledge.embeddings import read_embeddings, unit_rows
from gptproxy.knowledge.errors import KnowledgeError, MalformedEmbeddings

_cheap = settings(max_examples=100, deadline=None)


def _base64(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, dtype="<f4").tobytes()).decode()


def _answer(*embeddings: object) -> dict[str, Any]:
    return {
        "data": [
            {"object": "embedding", "index": index, "embedding": embedding}
            for index, embedding in enumerate(embeddings)
        ]
    }


@_cheap
@given(
    st.lists(
        st.lists(st.floats(-100, 100, width=32), min_size=3, max_size=3).filter(any),
        min_size=1,
        max_size=5,
    ),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_both_encodings_in_any_order(rows: list[list[float]], random: Any, as_bytes: bool) -> None:
    """base64 and lists of numbers give the same unit vectors, ordered by index."""
    expected = np.array(rows, dtype=np.float64)
    expected /= np.sqrt((expected**2).sum(axis=1, keepdims=True))
    for encode in (lambda row: _base64(*row), list):
        answer = _answer(*map(encode, rows))
        random.shuffle(answer["data"])
        vectors = read_embeddings(orjson.dumps(answer) if as_bytes else answer, len(rows))
        assert vectors.dtype == np.float32
        assert np.allclose(vectors, expected, atol=1e-6)


def test_whole_numbers_are_numbers() -> None:
    """A server may write 1 where it means 1.0."""
    assert read_embeddings(_answer([3, 4]), 1).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)]
    ]


def test_no_inputs_no_vectors() -> None:
    """An answer to nothing is an empty matrix."""
    assert read_embeddings({"data": []}, 0).shape == (0, 0)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        [],
        None,
        {},
        {"data": {}},
        {"data": []},
        _answer([1.0], [1.0]),
        {"data": [7]},
        {"data": [{"embedding": [1.0]}]},
        {"data": [{"index": True, "embedding": [1.0]}]},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": -1, "embedding": [1.0]}]},
        {"data": [{"index": 0}]},
        _answer("!"),
        _answer("é"),
        _answer(""),
        _answer(base64.b64encode(b"12345").decode()),
        _answer([]),
        _answer({}),
        _answer(["1.0"]),
        _answer([None]),
        _answer([[1.0]]),
        _answer([[1.0], [1.0, 2.0]]),
        _answer([10**400]),
        _answer([1e300]),
        _answer([0.0, 0.0]),
        _answer(_base64(float("nan"), 1.0)),
        _answer(_base64(float("inf"), 1.0)),
        _answer(_base64(0.0, -0.0)),
    ],
)
def test_what_cannot_be_searched_with_is_refused(answer: object) -> None:
    """Each deviation from the API is an error of its own class, never a vector."""
    with pytest.raises(MalformedEmbeddings):
        read_embeddings(answer, 1)


@pytest.mark.parametrize(
    "items",
    [
        [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}],
    ],
)
def test_vectors_belong_together(items: list[object]) -> None:
    """Each index occurs once, and all vectors have one length."""
    with pytest.raises(MalformedEmbeddings):
        read_embeddings({"data": items}, 2)


@_cheap
@given(st.text())
def test_any_text_for_an_embedding_is_refused_or_read(text: str) -> None:
    """Whatever an upstream sends, nothing else is raised."""
    try:
        vectors = read_embeddings(_answer(text), 1)
    except MalformedEmbeddings:
        return
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30, 3e38])
def test_unit_rows_at_the_ends_of_float32(scale: float) -> None:
    """Neither huge nor tiny vectors overflow or vanish on the way to unit length."""
    units = unit_rows(np.array([[scale, 0.0]], dtype=np.float32))
    assert units.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("shape", [(3,), (2, 0), (1, 1, 1)])
def test_unit_rows_wants_a_matrix(shape: tuple[int, ...]) -> None:
    """Another shape is refused; the error is one of this room's."""
    with pytest.raises(KnowledgeError):
        unit_rows(np.ones(shape, dtype=np.float32))
