"""
Long vectors made short, so that many can be looked through: principal components.

Pure: numpy only, nothing of gptproxy and nothing of Twisted. The components are those of the second
moment, not of the covariance: what is to be kept is the dot product with a question, and the mean is
a part of that. Halko, Martinsson and Tropp, "Finding structure with randomness", 2011, compares
ways to compute them; with at most some thousand dimensions the plain one takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["COMPONENTS", "principal_components"]

COMPONENTS: Final = 256
"""Dimensions that are looked through; a million passages take 1 GiB."""


def principal_components(
    samples: Iterable[NDArray[np.float32]], dimensions: int, components: int = COMPONENTS
) -> NDArray[np.float32]:
    """
    Find the directions in which vectors differ most.

    :param samples: shape (any, dimensions) each: some thousands of the vectors, in pieces.
    :param dimensions: the vectors' length.
    :param components: how many directions at most.
    :return: shape (min(components, dimensions), dimensions), orthonormal rows, the most telling
        first.
    """
    moment = np.zeros((dimensions, dimensions), dtype=np.float64)
    for sample in samples:
        moment += sample.T @ sample
    _, directions = np.linalg.eigh(moment)
    # Rising eigenvalues, one direction a column.
    rows: NDArray[np.float32] = np.ascontiguousarray(
        directions[:, ::-1][:, :components].T, dtype=np.float32
    )
    return rows
