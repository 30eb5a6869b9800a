"""
Vectors like embeddings, made anew, the same, as often as they are asked for.

The vectors are clusters in a space whose directions matter less and less (the n-th has 1/n of the first one's
variance), as embeddings are; a question is a vector near to one of them. No random rotation is made: principal
components do not mind in which frame they are found.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 1536
QUESTIONS = 60
SEED = 20_260_101
BLOCK = 10_000


class Vectors:
    """
    Made anew, the same, as often as they are asked for.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        random = np.random.default_rng(SEED)
        self._spread = (1 / np.sqrt(np.arange(1, DIMENSIONS + 1))).astype(np.float32)
        self._spread = self._spread[random.permutation(DIMENSIONS)]
        clusters = max(64, count // 500)
        self._centres = self._draw(random, clusters)
        self.questions = self._questions(random)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """:return: shape (BLOCK, DIMENSIONS) each, unit rows."""
        for start in range(0, self.count, BLOCK):
            yield self._block(start // BLOCK)[: self.count - start]

    def _block(self, number: int) -> NDArray[np.float32]:
        random = np.random.default_rng((SEED, number))
        centres = self._centres[random.integers(len(self._centres), size=BLOCK)]
        return _units(centres + 0.8 * self._draw(random, BLOCK))

    def _questions(self, random: np.random.Generator) -> NDArray[np.float32]:
        known = self._block(0)[random.integers(min(BLOCK, self.count), size=QUESTIONS)]
        return _units(known + 0.6 * _units(self._draw(random, QUESTIONS)))

    def _draw(self, random: np.random.Generator, count: int) -> NDArray[np.float32]:
        return random.standard_normal((count, DIMENSIONS), dtype=np.float32) * self._spread


def _units(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
