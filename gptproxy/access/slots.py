"""
How many calls to GitLab there are at a time.

May import the access room's values and Twisted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptproxy.access.refusals import GitLabAway

__all__ = ["Slots"]

_Result = TypeVar("_Result")

MOST = 20
"""In flight. At 50 ms a verdict they are 400 new tokens a second."""

WAITING = 1000
"""In the queue: what is served in the seconds that one waits there at most, and some."""

WAIT_SECONDS = 5.0


class Slots:
    """
    Places for calls; who finds none waits in a queue, for a while.

    :param clock: for the wait.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._free = MOST
        self._serving = False
        self._queue: deque[Deferred[None]] = deque()

    async def run(self, call: Callable[[], Awaitable[_Result]]) -> _Result:
        """
        :param call: is made when there is a place for it.
        :return: what it returned.
        :raise GitLabAway: there was no place in time; the call was not made.
        """
        if self._free:
            self._free -= 1
        else:
            await self._turn()
        try:
            return await call()
        finally:
            self._give_back()

    async def _turn(self) -> None:
        if len(self._queue) >= WAITING:
            raise GitLabAway(f"{WAITING} tokens wait to be asked about")
        turn: Deferred[None] = Deferred(self._queue.remove)
        self._queue.append(turn)
        turn.addTimeout(WAIT_SECONDS, self._clock)
        try:
            await turn
        except defer.TimeoutError:
            raise GitLabAway(
                f"{MOST} calls to GitLab were under way for {WAIT_SECONDS:g} s"
            ) from None

    def _give_back(self) -> None:
        self._free += 1
        if self._serving:
            # One who was served below and has ended at once; a thousand of them must not be a stack a thousand deep.
            return
        self._serving = True
        try:
            while self._queue and self._free:
                self._free -= 1
                self._queue.popleft().callback(None)
        finally:
            self._serving = False
