"""
What a look found.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

__all__ = ["Finding", "Level"]


class Level(IntEnum):
    """How bad it is."""

    GOOD = 0
    """as it should be"""
    WARNING = 1
    """it runs, but somebody ought to look"""
    ERROR = 2
    """it does not run, or not safely"""


@frozen
class Finding:
    """
    :param level: how bad it is.
    :param subject: the file, key, host or upstream that was looked at.
    :param message: what there is, and where it is bad what to do. Nothing secret.
    """

    level: Level
    subject: str
    message: str

    def __str__(self) -> str:
        name = {Level.GOOD: "ok", Level.WARNING: "warning", Level.ERROR: "error"}[self.level]
        line = f"{name:7} {self.subject}: {self.message}"
        # A file may be called anything, and a server may say anything: neither steers a terminal.
        return "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
            for each in line
        )
