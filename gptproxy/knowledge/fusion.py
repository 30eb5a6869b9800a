"""
Rankings made one: a weighted sum of their scores, each put between 0 and 1.

Pure: imports nothing of Twisted. A cosine and a BM25 score have no common measure, so each is counted from what a
passage that is not in its ranking has at most, up to its ranking's best. Bruch, Gai and Ingber, "An Analysis of Fusion
Functions for Hybrid Retrieval", ACM TOIS 42(1), 2023, on why that finds more than reciprocal ranks, with one weight to
choose. Ranks forget by how much the first one is ahead; where one ranking finds less than the other, as vectors
of a small model do, it then spoils the other's first hits (docs/knowledge.md has the figures).
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

__all__ = ["Ranking", "fused"]


@frozen
class Ranking:
    """
    One ranking.

    :param weight: how much it counts beside others.
    :param hits: ids and scores over 0, each id once, by falling score.
    """

    weight: float
    hits: Sequence[tuple[int, float]]


def fused(depth: int, *rankings: Ranking) -> list[tuple[int, float]]:
    """
    Fuse rankings.

    :param depth: how many hits of each count. A ranking that has fewer has all that there are: what it has not scores
        0. One that has so many has others, which score its last hit's at most.
    :param rankings: any number.
    :return: every id that occurs and its score, up to the weights' sum, by falling score; of one score in the order
        of the rankings.
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        hits = ranking.hits[:depth]
        if not hits:
            continue
        best = hits[0][1]
        least = hits[-1][1] if len(hits) == depth else 0.0
        for one, score in hits:
            share = max(0.0, score - least) / (best - least) if best > least else 1.0
            scores[one] = scores.get(one, 0.0) + ranking.weight * share
    return sorted(scores.items(), key=lambda item: -item[1])
