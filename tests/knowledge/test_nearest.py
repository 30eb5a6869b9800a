"""The nearest rows are exactly those that sorting all of them finds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gptproxy.knowledge.nearest import Neighbour, nearest


def _by_sorting(
    scores: NDArray[np.float32], ids: NDArray[np.int64], limit: int, floor: float
) -> list[Neighbour]:
    everything = [Neighbour(int(one), float(score)) for one, score in zip(ids, scores, strict=True)]
    eligible = [hit for hit in everything if hit.score >= floor]
    return sorted(eligible, key=lambda hit: (-hit.score, hit.passage_id))[: max(limit, 0)]


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_it_agrees_with_sorting_everything(data: st.DataObject) -> None:
    """Any matrix, with many equal scores: the same hits in the same order as brute force."""
    count = data.draw(st.integers(0, 40))
    dimensions = data.draw(st.integers(1, 4))
    numbers = st.sampled_from([-1.0, -0.5, -0.0, 0.0, 0.5, 1.0])
    rows = data.draw(
        st.lists(
            st.lists(numbers, min_size=dimensions, max_size=dimensions),
            min_size=count,
            max_size=count,
        )
    )
    matrix = np.array(rows, dtype=np.float32).reshape(count, dimensions)
    order = data.draw(st.permutations(range(1, count + 1)))
    ids = np.array(order, dtype=np.int64)
    question = np.array(
        data.draw(st.lists(numbers, min_size=dimensions, max_size=dimensions)), dtype=np.float32
    )
    limit = data.draw(st.integers(-1, count + 2))
    floor = data.draw(st.sampled_from([-math.inf, 0.0, 0.25, 2.0]))
    expected = _by_sorting(matrix @ question, ids, limit, floor)
    assert nearest(matrix, ids, question, limit, floor) == expected


def test_an_empty_matrix_has_no_neighbours() -> None:
    """A collection without passages is no error."""
    nothing = np.empty((0, 3), dtype=np.float32)
    question = np.array([1, 0, 0], dtype=np.float32)
    assert nearest(nothing, np.empty(0, dtype=np.int64), question, 5) == []


def test_equal_rows_come_in_the_order_of_their_ids() -> None:
    """Ties at the limit are decided by the id, not by chance."""
    matrix = np.ones((1000, 1), dtype=np.float32)
    ids = np.arange(1000, 0, -1, dtype=np.int64)
    hits = nearest(matrix, ids, np.ones(1, dtype=np.float32), 3)
    assert [hit.passage_id for hit in hits] == [1, 2, 3]


@pytest.mark.parametrize("floor", [-math.inf, -5.0])
def test_a_score_that_is_no_number_is_no_hit(floor: float) -> None:
    """NaN never reaches the answer, whatever the floor."""
    matrix = np.array([[math.nan], [0.5]], dtype=np.float32)
    ids = np.array([1, 2], dtype=np.int64)
    hits = nearest(matrix, ids, np.ones(1, dtype=np.float32), 5, floor)
    assert hits == [Neighbour(2, 0.5)]
