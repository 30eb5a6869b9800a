"""Two rankings become one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.knowledge.fusion import Ranking, fused

_hits = st.lists(st.tuples(st.integers(0, 9), st.floats(-1, 1)), unique_by=lambda hit: hit[0]).map(
    lambda hits: sorted(hits, key=lambda hit: -hit[1])
)


def test_in_both_comes_before_in_one() -> None:
    """What words and vectors both find is likelier to answer than what one of them finds."""
    near = Ranking(0.5, [(1, 0.9), (2, 0.8), (3, 0.1)])
    worded = Ranking(0.5, [(4, 9.0), (2, 8.0), (5, 1.0)])
    assert fused(50, near, worded)[0][0] == 2
    assert [one for one, _ in fused(50, near)] == [1, 2, 3]
    assert fused(50) == fused(50, Ranking(1, [])) == []


def test_a_score_is_counted_from_what_others_have() -> None:
    """What a short ranking has not is worth 0; what one that is cut off has not, as much as its last."""
    near = Ranking(0.5, [(1, 0.8), (2, 0.6), (3, 0.4)])
    assert fused(4, near) == [(1, 0.5), (2, pytest.approx(0.375)), (3, 0.25)]
    assert fused(3, near) == [(1, 0.5), (2, pytest.approx(0.25)), (3, 0.0)]
    assert fused(2, near) == [(1, 0.5), (2, 0.0)]
    assert fused(1, near) == [(1, 0.5)]


def test_a_first_that_is_far_ahead_stays_first() -> None:
    """However many passages are in both rankings."""
    near = Ranking(0.4, [(number, 0.5 - number / 1000) for number in range(1, 50)])
    worded = Ranking(0.6, [(99, 30.0), *((number, 5 - number / 100) for number in range(1, 49))])
    assert fused(49, near, worded)[0][0] == 99


@settings(max_examples=100, deadline=None)
@given(_hits, _hits, st.integers(1, 10))
def test_nothing_is_lost_and_the_order_of_one_is_kept(
    first: list[tuple[int, float]], second: list[tuple[int, float]], depth: int
) -> None:
    """Every id once; what is before another in both rankings is before it."""
    order = [one for one, _ in fused(depth, Ranking(0.4, first), Ranking(0.6, second))]
    first, second = first[:depth], second[:depth]
    assert sorted(order) == sorted({one for one, _ in [*first, *second]})
    one, other = [one for one, _ in first], [one for one, _ in second]
    for a in set(one) & set(other):
        for b in set(one) & set(other):
            if one.index(a) < one.index(b) and other.index(a) < other.index(b):
                assert order.index(a) < order.index(b)
