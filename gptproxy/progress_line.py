"""
How far a command is: a bar with rate and time left on a terminal, plain lines in a log.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

__all__ = ["ProgressLine"]

_BAR = 24
# A terminal need not be written to more often than it is looked at.
_REDRAW_SECONDS = 0.1
# In a log: every tenth part, but what is done at once needs no ten lines, and what takes long still shows that it
# goes on.
_LOG_LEAST_SECONDS = 1.0
_LOG_SECONDS = 60.0


class ProgressLine:
    """
    :param output: where to.
    :param seconds: a monotonic clock.
    """

    def __init__(self, output: TextIO, seconds: Callable[[], float]) -> None:
        self._output = output
        self._seconds = seconds
        self._terminal = output.isatty()
        self._began_at = self._told_at = seconds()
        self._phase = ""
        self._begun_with = 0
        self._done = 0
        self._tenths_told = 0

    def tell(self, phase: str, done: int, total: int, more: str, *, what: str = "") -> None:
        """
        Say how far it is.

        :param phase: what is done; with another one, rate and time begin anew.
        :param done: how many are done.
        :param total: of how many.
        :param more: what else is to be told.
        :param what: of it, what is worked on just now.
        """
        now = self._seconds()
        if phase != self._phase or done < self._done:
            self._phase, self._begun_with, self._began_at = phase, done, now
            self._tenths_told = 0
            self._told_at = now - (_REDRAW_SECONDS if self._terminal else 0)
        self._done = done
        if self._terminal:
            if now - self._told_at >= _REDRAW_SECONDS or done >= total:
                self._told_at = now
                self._output.write(f"\r\x1b[K{self._bar(done, total, more, now)}  {_short(what)}")
                self._output.flush()
            return
        tenths = done * 10 // total if total else 10
        waited = now - self._told_at
        if (
            tenths > self._tenths_told and (waited >= _LOG_LEAST_SECONDS or done >= total)
        ) or waited >= _LOG_SECONDS:
            self._tenths_told, self._told_at = tenths, now
            self._output.write(f"{phase}: {done}/{total}, {more}{self._pace(done, total, now)}\n")
            self._output.flush()

    def end(self) -> None:
        """Leave the line, so that what follows stands alone."""
        if self._terminal:
            self._output.write("\r\x1b[K")
            self._output.flush()

    def _bar(self, done: int, total: int, more: str, now: float) -> str:
        full = _BAR * done // total if total else _BAR
        bar = "#" * full + "." * (_BAR - full)
        return f"{self._phase} [{bar}] {done}/{total}, {more}{self._pace(done, total, now)}"

    def _pace(self, done: int, total: int, now: float) -> str:
        """:return: the rate since the phase began, and the time that the rest takes at it."""
        elapsed, made = now - self._began_at, done - self._begun_with
        if elapsed <= 0 or made <= 0:
            return ""
        rate = made / elapsed
        left = round((total - done) / rate)
        minutes, seconds = divmod(left, 60)
        hours, minutes = divmod(minutes, 60)
        time = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        return f", {rate:.0f}/s, {time} left" if rate >= 10 else f", {rate:.1f}/s, {time} left"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"…{text[-39:]}"
