"""
What is wrong with a configuration, in lines that an operator can act on.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

__all__ = ["ConfigurationError", "Problem"]


@frozen
class Problem:
    """
    One fault, and where it stands. No field holds a value that was written: it might be a secret.

    :param source: the file as the operator called it, or "the environment".
    :param key: dotted path of the key, tables of a list counted from 1 (``upstream[1].url`` is in
        the first); empty where the fault is the whole file's.
    :param message: what is wrong and, where it is known, what to write instead.
    """

    source: str
    key: str
    message: str

    def __str__(self) -> str:
        parts = (self.source, self.key, self.message) if self.key else (self.source, self.message)
        # A file or key may be called anything; it must neither break the line nor steer a terminal.
        return "".join(_visible(character) for character in ": ".join(parts))


class ConfigurationError(Exception):
    """
    The configuration cannot be used. ``str`` gives a line for each problem: ``FILE: KEY: message``.

    :param problems: every problem that was found, at least one.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")
