"""
The vectors of questions that were asked before.

Pure: imports nothing of Twisted. A chat that goes on, a tool that calls back, and a question that
many ask cost one embedding call. In memory only: questions are not written anywhere.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gptproxy.knowledge.searching import Model

__all__ = ["QuestionCache"]

_QUESTIONS: Final = 512
"""For each collection: 3 MiB of vectors with 1,536 dimensions."""

_COLLECTIONS: Final = 256
"""More than topics are configured."""


class QuestionCache:
    """
    For each collection the vectors of the last questions, the one longest unasked leaving first.

    :param questions: for each collection at most.
    """

    def __init__(self, questions: int = _QUESTIONS) -> None:
        self._questions = questions
        self._held: OrderedDict[str, OrderedDict[bytes, NDArray[np.float32]]] = OrderedDict()

    def vector(self, collection: str, model: Model, question: str) -> NDArray[np.float32] | None:
        """
        :param collection: that is asked.
        :param model: that the vector is of.
        :param question: the text.
        :return: its vector, shape (dimensions,); None where it is not held.
        """
        held = self._held.get(collection)
        key = _key(model, question)
        if held is None or key not in held:
            return None
        held.move_to_end(key)
        return held[key]

    def keep(
        self, collection: str, model: Model, question: str, vector: NDArray[np.float32]
    ) -> None:
        """
        :param collection: that was asked.
        :param model: that the vector is of.
        :param question: the text.
        :param vector: shape (dimensions,).
        """
        held = self._held.setdefault(collection, OrderedDict())
        self._held.move_to_end(collection)
        held[_key(model, question)] = vector
        if len(held) > self._questions:
            held.popitem(last=False)
        if len(self._held) > _COLLECTIONS:
            self._held.popitem(last=False)


def _key(model: Model, question: str) -> bytes:
    """:return: of a fixed length, so that long questions cost no more memory than short ones."""
    name, dimensions = model
    return hashlib.blake2b(f"{name}\0{dimensions}\0{question}".encode(), digest_size=16).digest()
