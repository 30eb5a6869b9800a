"""
Looks, again and again, how late the event loop is and how much memory the process has.

May import the limits room and Twisted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gptproxy.limits import Overload

__all__ = ["LoopWatch", "resident_bytes"]

LOOK_SECONDS: Final = 0.05
"""Between two looks, each of which takes 20 microseconds."""

_STATM: Final = Path("/proc/self/statm")

QUIET_SECONDS: Final = 10.0
"""Between two lines of the log: an overload that comes and goes must not fill it."""


def resident_bytes() -> int:
    """:return: memory that the process has in use (proc_pid_statm(5)); 0 where that cannot be told."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # not Linux, or no /proc in a container
        return 0


class LoopWatch(Service):
    """
    :param overload: is told.
    :param clock: the loop's.
    :param memory: bytes in use.
    :param shed: called with how many calls were refused since the last look, where there were any.
    """

    _log = Logger()

    def __init__(
        self,
        overload: Overload,
        clock: IReactorTime,
        memory: Callable[[], int] = resident_bytes,
        shed: Callable[[int], None] = lambda number: None,
    ) -> None:
        self._overload = overload
        self._clock = clock
        self._memory = memory
        self._shed = shed
        self._next: IDelayedCall | None = None
        self._looked = 0.0
        self._counted = self._told = 0
        self._quiet_until = 0.0

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._await_look()

    def stopService(self) -> None:
        """End."""
        super().stopService()
        following, self._next = self._next, None
        if following is not None:
            following.cancel()

    def _await_look(self) -> None:
        self._looked = self._clock.seconds()
        self._next = self._clock.callLater(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        overload = self._overload
        now = self._clock.seconds()
        passed = max(now - self._looked, LOOK_SECONDS)
        overload.look(passed - LOOK_SECONDS, self._memory(), now, passed)
        if overload.shed > self._counted:
            self._shed(overload.shed - self._counted)
            self._counted = overload.shed
        self._tell()
        self._await_look()

    def _tell(self) -> None:
        overload, now = self._overload, self._clock.seconds()
        if overload.shed == self._told or now < self._quiet_until:
            return
        self._quiet_until = now + QUIET_SECONDS
        self._log.warn(
            "more to do than can be done: {shed} calls were answered 503; the event loop is {lag:.0f} ms late, "
            "{memory} MiB are in use",
            shed=overload.shed - self._told,
            lag=overload.lag * 1000,
            memory=overload.memory >> 20,
        )
        self._told = overload.shed
