"""
SIGTERM and SIGINT: an orderly end, with status 0; a second one waits for nothing.

May import Twisted; nothing of gptproxy.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service

__all__ = ["EndOnSignal"]


class EndOnSignal(Service):
    """
    Stops the reactor at the first signal. Twisted's own answer to it would end the process by the signal itself when
    all is stopped, which only systemd takes for clean.

    :param reactor: is stopped; :class:`~twisted.internet.interfaces.IReactorCore` and IReactorFromThreads.
    :param hurry: called at every further signal.
    """

    def __init__(self, reactor: Any, hurry: Callable[[], None]) -> None:  # no one type says both
        self._reactor = reactor
        self._hurry = hurry
        self._caught_one = False

    def startService(self) -> None:
        """Catch the signals, when the reactor has set its own answer to them."""
        super().startService()
        self._reactor.callWhenRunning(self._catch)

    def end(self) -> None:
        """A signal has come."""
        if self._caught_one or not self.running:
            self._hurry()
            return
        self._caught_one = True
        self._reactor.stop()

    def _catch(self) -> None:
        if self.running:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._caught)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.end)
