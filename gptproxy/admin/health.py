"""
Can a known caller be served?

Pure: imports nothing of gptproxy and nothing of Twisted. Whoever knows something hands in a probe; a probe reads what
is known already and asks nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from attrs import frozen

__all__ = ["Condition", "Health", "Probe", "State"]


class State(IntEnum):
    """How something is."""

    GOOD = 0
    """as it should be"""
    WARNING = 1
    """callers are served, but somebody ought to look"""
    FAILED = 2
    """callers cannot be served"""


@frozen
class Condition:
    """
    :param name: what was looked at, for example ``upstreams``.
    :param state: how it is.
    :param detail: for the operator; nothing secret.
    """

    name: str
    state: State
    detail: str = ""


Probe = Callable[[], Condition]


class Health:
    """What all probes say together."""

    def __init__(self) -> None:
        self._probes: list[Probe] = []

    def add(self, probe: Probe) -> None:
        """
        :param probe: asked whenever somebody wants to know.
        """
        self._probes.append(probe)

    def conditions(self) -> list[Condition]:
        """:return: what each probe says, in the order they were added."""
        return [probe() for probe in self._probes]

    @staticmethod
    def ready(conditions: list[Condition]) -> bool:
        """
        :param conditions: what was said.
        :return: whether none has failed.
        """
        return all(condition.state is not State.FAILED for condition in conditions)
