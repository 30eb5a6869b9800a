"""
Keeps Python's garbage collector from looking at what was there when the daemon began to serve, again and again.

May import Twisted. Some 65,000 objects of modules and settings stay as long as the process does. A full collection that
looks at all of them takes 23 to 35 ms (measured; three times that on a busy machine), and nobody is served meanwhile;
where calls are refused it comes every six seconds. Without them it takes 2 ms. An interpreter that ends looks through
them once more, for 85 ms; at a restart, clients wait for that.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["CollectedStart"]

SETTLED_SECONDS = 1.0
"""After which what a start makes is made, and nobody waits for the start."""


def _collect_and_freeze() -> None:
    # Frozen garbage would never be found.
    gc.collect()
    gc.freeze()


class CollectedStart(Service):
    """
    Takes what there is shortly after its start out of the collector's sight (:func:`gc.freeze`). What of it is replaced
    later, by a reload, is freed as ever when nothing refers to it; of cycles among it one generation stays.

    :param clock: knows when.
    :param settle: does so.
    """

    def __init__(
        self, clock: IReactorTime, settle: Callable[[], None] = _collect_and_freeze
    ) -> None:
        self._clock = clock
        self._settle = settle
        self._call: IDelayedCall | None = None

    def startService(self) -> None:
        """Nobody has called yet."""
        super().startService()  # type: ignore[no-untyped-call]  # Twisted has no types here
        self._call = self._clock.callLater(SETTLED_SECONDS, self._run)

    def stopService(self) -> None:
        """The process ends; what is frozen stays so."""
        super().stopService()  # type: ignore[no-untyped-call]  # as above
        if self._call is not None:
            self._call.cancel()

    def _run(self) -> None:
        self._call = None
        self._settle()
