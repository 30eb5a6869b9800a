"""
SIGTERM and SIGINT: an orderly end, with status 0; a second one waits for nothing, and what comes later is not heard.

May import Twisted; nothing of gptproxy.
"""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from twisted.application.service import Service

__all__ = ["EndOnSignal"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class EndOnSignal(Service):
    """
    Stops the reactor at the first signal. Twisted's own answer to it would end the process by the signal itself when
    all is stopped, which only systemd takes for clean. A signal that is ignored when the process starts stays so: it is
    somebody else's.

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
        # In its last moments the interpreter takes its handlers away, and leaves alone what is ignored: a third signal
        # would make it an unclean end.
        atexit.register(_ignore)
        self._reactor.stop()

    def _catch(self) -> None:
        if self.running:
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._caught)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self.end)


def _ignore() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
