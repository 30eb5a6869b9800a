"""
Which rows of a matrix are nearest to a vector: exact top-k by dot product.

Pure: numpy only, nothing of gptproxy and nothing of Twisted. All vectors have unit length, so the
dot product is the cosine. One matrix-vector product reads the matrix once, which is what bounds the
time (memory bandwidth); selecting costs little beside it.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

__all__ = ["Neighbour", "nearest"]


@frozen
class Neighbour:
    """
    One hit.

    :param passage_id: the id of the row.
    :param score: the dot product of the row and the question, -1 to 1 for unit vectors.
    """

    passage_id: int
    score: float


def nearest(
    matrix: NDArray[np.float32],
    ids: NDArray[np.int64],
    question: NDArray[np.float32],
    limit: int,
    floor: float = -math.inf,
) -> list[Neighbour]:
    """
    Find the rows with the highest dot products.

    :param matrix: shape (n, d), unit rows; n may be 0.
    :param ids: shape (n,), the rows' ids, unique.
    :param question: shape (d,), unit length.
    :param limit: hits at most.
    :param floor: a lower score is no hit; neither is NaN.
    :return: the hits by falling score, those of one score by rising id.
    """
    if limit <= 0 or len(ids) == 0:
        return []
    scores: NDArray[np.float32] = matrix @ question
    eligible = np.flatnonzero(scores >= floor)
    if len(eligible) > limit:
        # argpartition chooses freely among equal scores, so it only tells the score of the last
        # hit; every row with that score stays in until the ids decide.
        kept = scores[eligible]
        place = len(kept) - limit
        last = kept[np.argpartition(kept, place)[place]]
        eligible = eligible[kept >= last]
    order = np.lexsort((ids[eligible], -scores[eligible]))[:limit]
    return [Neighbour(int(ids[row]), float(scores[row])) for row in eligible[order]]
