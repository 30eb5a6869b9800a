"""
In which order are the upstreams of a call asked?

Pure: imports this room's values; chance is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gptproxy.upstream.call import Target

__all__ = ["in_order"]


def in_order(targets: Sequence[Target], random: Callable[[], float]) -> Sequence[Target]:
    """
    :param targets: upstreams that have the model.
    :param random: a number from 0, included, to 1, excluded.
    :return: the same, those of the lowest tier first. Within a tier each place is drawn by weight among those that are
        left. One without a tier has its place in the list for one.
    """
    tiers: list[int] = []
    rising = True
    for place, target in enumerate(targets, 1):
        tier = target.upstream.tier or place
        rising = rising and (not tiers or tier > tiers[-1])
        tiers.append(tier)
    if rising:
        # The operator gave each its own, in the order written: nearly always so.
        return targets
    ordered: list[Target] = []
    for tier in sorted(set(tiers)):
        left = [target for target, its in zip(targets, tiers, strict=True) if its == tier]
        while left:
            ordered.append(left.pop(_drawn([target.upstream.weight for target in left], random())))
    return ordered


def _drawn(weights: Sequence[int], chance: float) -> int:
    """:return: the index whose part of the sum the chance falls into."""
    point = chance * sum(weights)
    for index, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return index
    return len(weights) - 1
