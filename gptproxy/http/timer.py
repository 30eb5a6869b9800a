"""
Timers for one thing at a time.

May import Twisted; nothing of gptproxy.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["DeadlineTimer", "Timer"]


class Timer:
    """
    A delayed call that is set, put off and cancelled, and forgotten when it has run.

    :param clock: what it runs by.
    """

    __slots__ = ("_call", "_clock")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    def set(self, seconds: float, run: Callable[[], None]) -> None:
        """
        Run something later; what was set before is cancelled.

        :param seconds: from now.
        :param run: what to call.
        """
        self.cancel()
        self._call = self._clock.callLater(seconds, self._run, run)

    def put_off(self, seconds: float) -> None:
        """
        Count anew, if anything is set.

        :param seconds: from now.
        """
        if self._call is not None:
            self._call.reset(seconds)

    def cancel(self) -> None:
        """Forget what was set, if anything."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _run(self, run: Callable[[], None]) -> None:
        self._call = None
        run()


class DeadlineTimer:
    """
    A timer for what nearly always is set and cancelled again, such as a connection's: that costs two assignments.

    One delayed call is kept outstanding. When it comes it looks whether anything is due, and if not, comes again then;
    so it is late by nothing, and early looks are one in each period and not one for each request. :meth:`stop` ends it
    for good.

    :param clock: what it runs by.
    """

    __slots__ = ("_call", "_clock", "_deadline", "_due", "_run")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        # When the outstanding call comes, and when what was set is to be run.
        self._due = 0.0
        self._deadline = 0.0
        self._run: Callable[[], None] | None = None

    def set(self, seconds: float, run: Callable[[], None]) -> None:
        """
        Run something later, in place of what was set before.

        :param seconds: from now.
        :param run: what to call.
        """
        self._run = run
        self._deadline = deadline = self._clock.seconds() + seconds
        if self._call is None:
            self._due = deadline
            self._call = self._clock.callLater(seconds, self._look)
        elif deadline < self._due:
            self._due = deadline
            self._call.reset(seconds)

    def put_off(self, seconds: float) -> None:
        """
        Count anew, if anything is set.

        :param seconds: from now.
        """
        if self._run is not None:
            self.set(seconds, self._run)

    def cancel(self) -> None:
        """Forget what was set, if anything."""
        self._run = None

    def stop(self) -> None:
        """Forget it, and look no more until something is set again."""
        self._run = None
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _look(self) -> None:
        self._call = None
        run = self._run
        if run is None:
            return
        left = self._deadline - self._clock.seconds()
        # A float's sum may miss the deadline by its last digits.
        if left > 1e-6:
            self._due = self._deadline
            self._call = self._clock.callLater(left, self._look)
            return
        self._run = None
        run()
