"""
Long work done in short steps, between which the reactor serves the others.

May import Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Cooperator, TaskStopped
from twisted.python.failure import Failure

__all__ = ["Turns"]


class Turns:
    """
    One step per turn of the reactor, whoever's it is: many who wait for their turns stall nobody longer than one.

    :param clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        def soon(call: Callable[[], None]) -> IDelayedCall:
            return clock.callLater(0, call)

        self._cooperator = Cooperator(
            terminationPredicateFactory=lambda: lambda: True, scheduler=soon
        )

    async def run(self, step: Callable[[], bool]) -> None:
        """
        Call a function once a turn; whoever cancels this has it called no more.

        :param step: does a little; says whether it was the last.
        """

        def steps() -> Iterator[None]:
            while not step():
                yield None

        task = self._cooperator.cooperate(steps())
        done: Deferred[None] = Deferred(lambda _: task.stop())

        def end(result: object) -> None:
            if not isinstance(result, Failure):
                done.callback(None)
            elif not result.check(TaskStopped):  # which a cancellation tells by itself
                done.errback(result)

        task.whenDone().addBoth(end)
        await done
