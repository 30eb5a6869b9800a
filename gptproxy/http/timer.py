"""
One timer for one thing at a time.

May import Twisted; nothing of gptproxy.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Timer"]


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
