"""
Which rows of a matrix are nearest to a vector: exact top-k by dot product.

Pure: numpy only, nothing of gptproxy and nothing of Twisted. All vectors have unit length, so the
dot product is the cosine. The matrix is read once, block by block, which is what bounds the time
(memory bandwidth); a block's scores are compared with the worst hit so far while they are in the
processor's cache, so that selecting costs next to nothing. No call into numpy is longer than a
block: numpy lets go of the interpreter while it multiplies, but not while it selects.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

__all__ = ["Neighbour", "nearest", "nearest_rows"]

_BLOCK_BYTES: Final = 2**24
"""16 MiB: one or two milliseconds of reading, beside which the calls themselves do not count."""


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
    found, scores = nearest_rows(matrix, ids, question, limit, floor)
    return [Neighbour(*hit) for hit in zip(found.tolist(), scores.tolist(), strict=True)]


def nearest_rows(
    matrix: NDArray[np.float32],
    ids: NDArray[np.int64],
    question: NDArray[np.float32],
    limit: int,
    floor: float = -math.inf,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """
    Find what :func:`nearest` finds: of hundreds of hits, the objects would cost more than the finding.

    :return: ids and scores, shape (hits,) each, in its order.
    """
    kept_ids = np.empty(0, dtype=np.int64)
    kept_scores = np.empty(0, dtype=np.float32)
    if limit <= 0:
        return kept_ids, kept_scores
    block = max(1, _BLOCK_BYTES // max(1, 4 * matrix.shape[1]))
    least = floor
    for start in range(0, len(ids), block):
        scores: NDArray[np.float32] = matrix[start : start + block] @ question
        # Equal scores stay in until the ids decide.
        found = np.flatnonzero(scores >= least)
        if not len(found):
            continue
        kept_ids = np.concatenate((kept_ids, ids[start + found]))
        kept_scores = np.concatenate((kept_scores, scores[found]))
        if len(kept_ids) > limit:
            # Partitioning chooses freely among equal scores, so it only tells the last hit's.
            place = len(kept_scores) - limit
            least = float(np.partition(kept_scores, place)[place])
            still = kept_scores >= least
            kept_ids, kept_scores = kept_ids[still], kept_scores[still]
    order = np.lexsort((kept_ids, -kept_scores))[:limit]
    return kept_ids[order], kept_scores[order]
