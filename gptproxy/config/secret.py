"""
A key or token that shows itself only where it is asked to.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

__all__ = ["Secret"]


@frozen(repr=False)
class Secret:
    """
    A key or token. Its text comes out only by :meth:`reveal`, never by ``repr``, ``str`` or a traceback.

    :param text: the secret itself, not empty.
    :param origin: the file that it was read from; None where it came otherwise. No part of what it is.
    """

    _text: str
    origin: Path | None = field(default=None, eq=False)

    def reveal(self) -> str:
        """:return: the secret as text, for the one place that puts it on the wire."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"
