"""What tests of this room give in place of threads and of an embedding call."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase

_P = ParamSpec("_P")
_T = TypeVar("_T")

DIMENSIONS = 64


def folder_of(test: SynchronousTestCase) -> Path:
    """:return: an empty folder that goes with the test."""
    folder = Path(tempfile.mkdtemp())
    test.addCleanup(shutil.rmtree, folder)
    return folder


class SameThread:
    """Runs each job where it is asked for."""

    def run(self, f: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """:return: has fired already."""
        return maybeDeferred(f, *args, **kwargs)


def vectors_of(texts: Sequence[str]) -> NDArray[np.float32]:
    """:return: shape (n, 64): how often words of the text occur, by a hash of each."""
    matrix = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in zip(matrix, texts, strict=True):
        for word in text.casefold().split():
            row[hashlib.sha256(word.encode()).digest()[0] % DIMENSIONS] += 1
    return matrix


class Embedding:
    """An embedding call that answers at once, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Deferred[NDArray[np.float32]]:
        self.calls.append(list(texts))
        return succeed(vectors_of(texts))
