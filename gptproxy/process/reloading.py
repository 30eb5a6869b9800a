"""
SIGHUP: take what has changed, and tell the service manager before and after.

May import Twisted and this room.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable
from types import FrameType

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from gptproxy.process.notification import Notifier

__all__ = ["ReloadOnHangup"]


class ReloadOnHangup(Service):
    """
    Calls ``reload`` in the loop's turn after each SIGHUP, one at a time: those that come meanwhile make one more.

    :param reload: takes what has changed, all or nothing; what it raises is told in the log and changes nothing.
    :param reactor: in whose turn.
    :param notifier: tells the service manager.
    """

    _log = Logger()

    def __init__(
        self,
        reload: Callable[[], Awaitable[None]],
        reactor: IReactorFromThreads,
        notifier: Notifier,
    ) -> None:
        self._reload = reload
        self._reactor = reactor
        self._notifier = notifier
        self._reloading = False
        self._again = False

    def startService(self) -> None:
        """Catch the signal: not caught, it ends the process."""
        super().startService()
        signal.signal(signal.SIGHUP, self._caught)

    def stopService(self) -> None:
        """
        Ignore the signal from now on: one that comes while running calls are finished must not end them.
        """
        super().stopService()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def reload(self) -> None:
        """Take what has changed."""
        self._again = True
        if not self._reloading:
            self._reloading = True
            # It logs whatever goes wrong itself.
            Deferred.fromCoroutine(self._one_after_the_other())

    async def _one_after_the_other(self) -> None:
        while self._again and self.running:
            self._again = False
            await self._reload_once()
        self._reloading = False

    async def _reload_once(self) -> None:
        # sd_notify(3): with RELOADING=1 comes the time of the monotonic clock, by which the manager tells its reloads
        # apart.
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            await self._reload()
        except Exception as error:  # noqa: BLE001 - whatever it is, the daemon goes on with what it had
            reason = " ".join(str(error).split()) or type(error).__name__
            self._log.error("not reloaded, everything stays as it was: {reason}", reason=reason)
            status = f"STATUS=not reloaded: {reason[:200]}"
        else:
            self._log.info("reloaded")
            status = "STATUS=reloaded"
        if self.running:
            # After STOPPING=1 it would say the opposite.
            self._notifier.tell("READY=1", status)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.reload)
