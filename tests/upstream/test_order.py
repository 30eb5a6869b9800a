"""In which order the upstreams of a call are asked."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.upstream import Target
from gptproxy.upstream.order import in_order
from tests.upstream.examples import PRIMARY


def target(name: str, tier: int | None, weight: int = 1) -> Target:
    return Target(evolve(PRIMARY, name=name, tier=tier, weight=weight), "m")


def names(targets: list[Target], chance: float = 0.0) -> list[str]:
    return [each.upstream.name for each in in_order(targets, lambda: chance)]


def test_tiers() -> None:
    """The lowest first; one without has its place in the list."""
    rising = [target("a", 1), target("b", 2), target("c", 5)]
    assert in_order(rising, lambda: 0.0) is rising
    assert names([target("a", None), target("b", None)]) == ["a", "b"]
    assert names([target("a", 3), target("b", None), target("c", 1)]) == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("chance", "order"), [(0.0, "abc"), (0.24, "abc"), (0.26, "bac"), (0.99, "cba"), (1.0, "cba")]
)
def test_weights(chance: float, order: str) -> None:
    """Each place is drawn by weight among those that are left; one of a later tier stays behind."""
    given_ = [target("a", 1), target("b", 1), target("c", 1, 2), target("z", 9)]
    assert "".join(names(given_, chance)) == f"{order}z"


def test_shares() -> None:
    """Over many calls each has its part."""
    chance = random.Random(7)  # noqa: S311 - the test's chance, not a secret
    targets = [target("a", 1, 3), target("b", 1, 1)]
    first = Counter(in_order(targets, chance.random)[0].upstream.name for _ in range(4000))
    assert first["a"] == pytest.approx(3000, abs=120)


@settings(max_examples=100, deadline=None)
@given(
    upstreams=st.lists(
        st.tuples(st.none() | st.integers(1, 3), st.integers(1, 5)), min_size=1, max_size=6
    ),
    chances=st.lists(st.floats(0, 1), min_size=6, max_size=6),
)
def test_any(upstreams: list[tuple[int | None, int]], chances: list[float]) -> None:
    """Each once, no tier before a lower one."""
    targets = [target(str(at), tier, weight) for at, (tier, weight) in enumerate(upstreams)]
    drawn = iter(chances)
    ordered = in_order(targets, lambda: next(drawn))
    assert sorted(each.upstream.name for each in ordered) == sorted(
        each.upstream.name for each in targets
    )
    tiers = [each.upstream.tier or targets.index(each) + 1 for each in ordered]
    assert tiers == sorted(tiers)
