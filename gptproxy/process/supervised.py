"""
The daemon under a service manager: ready when it answers, alive as long as its loop turns, stopping when it stops.

May import Twisted and this room.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gptproxy.process.notification import Notifier

__all__ = ["Supervised"]

RETRY_SECONDS = 1.0
"""Between two looks at our own doors. How many there may be the service manager decides: it ends what is not ready."""


class Supervised(Service):
    """
    Tells the service manager ``READY=1`` once ``check`` has succeeded, ``WATCHDOG=1`` in the loop's own turn, and
    ``STOPPING=1`` at the end. A child that is added last starts last and stops first, which is this one's place.

    :param notifier: tells it.
    :param watchdog_seconds: between two signs of life; None: none is wanted.
    :param clock: the loop's.
    :param check: fires when the daemon has answered itself; fails with the reason why it does not.
    """

    _log = Logger()

    def __init__(
        self,
        notifier: Notifier,
        watchdog_seconds: float | None,
        clock: IReactorTime,
        check: Callable[[], Deferred[None]],
    ) -> None:
        self._notifier = notifier
        self._watchdog_seconds = watchdog_seconds
        self._clock = clock
        self._check = check
        self._next_sign: IDelayedCall | None = None
        self._next_check: IDelayedCall | None = None
        self._checking: Deferred[None] | None = None
        self._told = False

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._sign()
        self._look()

    def stopService(self) -> None:
        """Say that it stops. The signs of life end with it: the manager has another limit for a stop."""
        super().stopService()
        self._notifier.tell("STOPPING=1")
        for call in (self._next_sign, self._next_check):
            if call is not None:
                call.cancel()
        self._next_sign = self._next_check = None
        if self._checking is not None:
            self._checking.cancel()

    def _sign(self) -> None:
        if self._watchdog_seconds is not None:
            self._notifier.tell("WATCHDOG=1")
            self._next_sign = self._clock.callLater(self._watchdog_seconds, self._sign)

    def _look(self) -> None:
        self._next_check = None
        self._checking = self._check()
        self._checking.addCallbacks(self._ready, self._not_yet)

    def _ready(self, _: None) -> None:
        self._checking = None
        self._notifier.tell("READY=1", "STATUS=ready")

    def _not_yet(self, failure: Failure) -> None:
        self._checking = None
        if not self.running or failure.check(CancelledError):
            return
        if not self._told:
            self._told = True
            # Seen with MemoryDenyWriteExecute=: the port is open, and every handshake dies.
            self._log.error(
                "not ready: our own port does not answer: {reason}; trying on",
                reason=failure.getErrorMessage() or repr(failure.value),
            )
        self._next_check = self._clock.callLater(RETRY_SECONDS, self._look)
