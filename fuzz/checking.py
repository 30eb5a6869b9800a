"""
What holds for everything that reads bytes: the same result in any split, and a cost that grows as the input does.

Pure but for the CPU's clock; knows nothing of what is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from attrs import frozen

__all__ = ["Finding", "Target"]

_CUTS: Final = 6
_SMALL_BYTES: Final = 4_096
_GROWTH: Final = 4
_PIECE_BYTES: Final = 31
_COST_CHECKS_ONE_IN: Final = 32

_SUSPICIOUS_S: Final = 0.05
"""What reads 16 KiB in less is not looked at: a linear reader takes a few milliseconds."""

_SUPERLINEAR: Final = 2.5
"""Four times the input may cost ten times as much before it counts: a quadratic reader takes sixteen times."""


class Finding(AssertionError):
    """An input that shows a bug."""


@frozen
class Target:
    """
    One thing to be fuzzed. Call it with an input.

    :param name: as the command line has it.
    :param read: ours alone: the pieces that arrive in, what they were read as out, comparable by ``==``.
    :param compare: what else must hold of a whole input: an oracle agrees, or ours is stricter with a reason.
    :param incremental: whether pieces make a difference.
    :raise Finding: the input shows a bug. What else is raised shows one, too.
    """

    name: str
    read: Callable[[Sequence[bytes]], object]
    compare: Callable[[bytes], None]
    incremental: bool = True

    def __call__(self, data: bytes) -> None:
        # Splits and places come from the input's hash: so the input alone tells what was done with it.
        digest = blake2b(data).digest()
        if self.incremental:
            whole = self.read([data])
            for pieces in (_split(data, digest), _byte_by_byte(data)):
                in_pieces = self.read(pieces)
                if in_pieces != whole:
                    raise Finding(f"{pieces!r} is read as {in_pieces!r}, as a whole as {whole!r}")
        self.compare(data)
        if digest[-1] % _COST_CHECKS_ONE_IN == 0:
            self._check_cost(data, digest)

    def _check_cost(self, data: bytes, digest: bytes) -> None:
        """Repeat a part of the input in its place, more and more often."""
        a, b = sorted(int.from_bytes(digest[i : i + 2]) % (len(data) + 1) for i in (40, 42))
        if a == b:
            return

        def cost_s(size: int, piece_bytes: int) -> float:
            pumped = data[:a] + data[a:b] * (size // (b - a)) + data[b:]
            pieces = [pumped[i : i + piece_bytes] for i in range(0, len(pumped), piece_bytes)]
            start = time.process_time()
            self.read(pieces)
            return time.process_time() - start

        large = _SMALL_BYTES * _GROWTH
        for piece_bytes in (2 * large + len(data), _PIECE_BYTES)[: 1 + self.incremental]:
            if cost_s(large, piece_bytes) < _SUSPICIOUS_S:
                continue
            ratio = min(cost_s(large, piece_bytes) for _ in range(3)) / max(
                min(cost_s(_SMALL_BYTES, piece_bytes) for _ in range(3)), 1e-6
            )
            if ratio > _GROWTH * _SUPERLINEAR:
                raise Finding(f"{_GROWTH} times as much of input[{a}:{b}] costs {ratio:.0f} times")


def _split(data: bytes, digest: bytes) -> list[bytes]:
    places = sorted(
        int.from_bytes(digest[2 * i : 2 * i + 2]) % (len(data) + 1) for i in range(_CUTS)
    )
    return [data[a:b] for a, b in pairwise([0, *places, len(data)]) if a < b]


def _byte_by_byte(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]
