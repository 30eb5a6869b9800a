"""
A call's coroutine carried out.

May import Twisted. :meth:`twisted.internet.defer.Deferred.fromCoroutine` makes a Deferred, copies the context and keeps
books about both; of a call nobody waits for the result, and that took a tenth of it.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

__all__ = ["Running"]


class Running:
    """
    Runs a coroutine that awaits Deferreds, from now to its end.

    :param coroutine: its result is dropped; what it raises is logged.
    :param name: what it is, for the log.
    """

    __slots__ = ("_awaited", "_coroutine", "_name")

    _log = Logger()

    def __init__(self, coroutine: Coroutine[Deferred[Any], Any, None], name: str) -> None:
        self._coroutine = coroutine
        self._name = name
        self._awaited: Deferred[Any] | None = None
        self._go_on(None)

    def cancel(self) -> None:
        """Cancel what is awaited; the coroutine gets what comes of that, mostly a CancelledError."""
        awaited = self._awaited
        if awaited is not None:
            awaited.cancel()

    def _go_on(self, result: object) -> None:
        self._awaited = None
        try:
            if isinstance(result, Failure):
                awaited = result.throwExceptionIntoGenerator(self._coroutine)
            else:
                awaited = self._coroutine.send(result)
        except StopIteration:
            return
        except Exception:  # noqa: BLE001 - nobody else is told of it
            self._log.failure("{name} failed", name=self._name)
            return
        self._awaited = awaited
        awaited.addBoth(self._go_on)
