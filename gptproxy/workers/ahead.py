"""
One process that is started before a worker is missing, so that the next one is there at once.

May import Twisted and this room's own modules.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gptproxy.workers.child import Child

__all__ = ["AGAIN_SECONDS", "Ahead"]

AGAIN_SECONDS: Final = 30.0
"""After one that ended, or could not be started. Nobody is served by it: it must not take time from who is."""


class Ahead:
    """
    Has at most one.

    :param clock: for the next try.
    :param start: starts one, which calls what it is given when it has ended; gives None where there can be none.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        start: Callable[[Callable[[int | None, int | None], None]], Child | None],
    ) -> None:
        self._clock = clock
        self._start = start
        self._child: Child | None = None
        self._again: IDelayedCall | None = None
        self._stopped = False

    def provide(self) -> None:
        """Have one, unless there is one, or the last try is not long ago."""
        if self._child is not None or self._again is not None or self._stopped:
            return
        try:
            self._child = self._start(self._ended)
        except Exception:  # noqa: BLE001 - no process, no descriptor: there may be some in a while
            self._log.failure("no worker can be started ahead")
            self._try_later()

    def take(self) -> Child | None:
        """:return: the one there is, which is somebody else's business from now on; None: there is none."""
        child, self._child = self._child, None
        return child

    def stop(self) -> None:
        """End it, and have no other."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._child is not None:
            # It has begun nothing.
            self._child.signal(signal.SIGKILL)

    def _ended(self, status: int | None, by: int | None) -> None:
        self._child = None
        if not self._stopped:
            self._log.warn(
                "the worker that was started ahead has ended (status {status}, signal {by})",
                status=status,
                by=by,
            )
            self._try_later()

    def _try_later(self) -> None:
        self._again = self._clock.callLater(AGAIN_SECONDS, self._try)

    def _try(self) -> None:
        self._again = None
        self.provide()
