"""
A bound on how many names a label has.

Pure: imports nothing of gptproxy.
"""

from __future__ import annotations

__all__ = ["OTHER", "Names"]

OTHER = "other"
"""What every name beyond the bound is called."""


class Names:
    """
    The first names that come keep their own; Prometheus keeps a series for each for ever.

    :param most: how many.
    """

    __slots__ = ("_known", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def bounded(self, name: str) -> str:
        """
        :param name: a name.
        :return: the name, or :data:`OTHER`.
        """
        if name in self._known:
            return name
        if len(self._known) < self._most:
            self._known.add(name)
            return name
        return OTHER
