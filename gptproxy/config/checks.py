"""
The checks that a single value passes: its type, its range, its form.

Pure: imports nothing of gptproxy but :mod:`gptproxy.config.fields`, whose rules hold here, and
nothing of Twisted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from types import MappingProxyType

from gptproxy.config.fields import Place, Refused, kind_of

__all__ = [
    "choice",
    "file_path",
    "flag",
    "free_text",
    "is_printable",
    "matching",
    "model_names",
    "printable",
    "seconds",
    "share",
    "whole",
    "words",
]

#: A day: above it a time limit is a slip of the pen.
_LONGEST_SECONDS = 86_400


def flag(value: object, place: Place) -> bool:
    """A check: true or false."""
    if isinstance(value, bool):
        return value
    raise Refused(f"must be true or false, not {kind_of(value)}")


def whole(least: int, most: int) -> Callable[[object, Place], int]:
    """:return: a check for whole numbers from ``least`` to ``most``, both included."""

    def check(value: object, place: Place) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Refused(f"must be a whole number, not {kind_of(value)}")
        if not least <= value <= most:
            raise Refused(f"must be from {least} to {most}")
        return value

    return check


def seconds(value: object, place: Place) -> float:
    """A check: a time in seconds, over 0 and at most a day."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Refused(f"must be a number of seconds, not {kind_of(value)}")
    # The range first: a whole number may be too large to be made a float.
    if not 0 < value <= _LONGEST_SECONDS or not isfinite(value):
        raise Refused(f"must be over 0 and at most {_LONGEST_SECONDS} seconds")
    return float(value)


def share(value: object, place: Place) -> float:
    """A check: a number from 0 to 1."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise Refused(f"must be a number, not {kind_of(value)}")
    if not 0 <= value <= 1:
        raise Refused("must be from 0 to 1")
    return float(value)


def choice(*names: str) -> Callable[[object, Place], str]:
    """:return: a check for one of these words."""
    allowed = " or ".join(f'"{name}"' for name in names)

    def check(value: object, place: Place) -> str:
        if isinstance(value, str) and value in names:
            return value
        raise Refused(f"must be {allowed}")

    return check


def free_text(value: object, place: Place) -> str:
    """A check: any text that can be written as UTF-8, without NUL."""
    if not isinstance(value, str):
        raise Refused(f"must be text, not {kind_of(value)}")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise Refused("must be valid Unicode text without NUL")
    return value


def matching(pattern: str, what: str) -> Callable[[object, Place], str]:
    """
    :param pattern: a regular expression that the whole text must match.
    :param what: what follows "must be" in the refusal.
    :return: the check.
    """
    compiled = re.compile(pattern)

    def check(value: object, place: Place) -> str:
        text = free_text(value, place)
        if compiled.fullmatch(text):
            return text
        raise Refused(f"must be {what}")

    return check


def is_printable(text: str) -> bool:
    """:return: whether it is 1 to 256 printable characters without space at the ends, fit for a log's line."""
    return 0 < len(text) <= 256 and text.isprintable() and text == text.strip()


def printable(value: object, place: Place) -> str:
    """A check: text that :func:`is_printable`."""
    text = free_text(value, place)
    if is_printable(text):
        return text
    raise Refused("must be 1 to 256 printable characters without space at the ends")


def file_path(value: object, place: Place) -> Path:
    """A check: a path; a relative one starts at the configuration file."""
    text = free_text(value, place)
    if text and text.isprintable():
        return place.directory / text
    raise Refused("must be a file's path")


def words(value: object, place: Place) -> tuple[str, ...]:
    """A check: a list of at least one text, none blank (a blank one would be in every chat)."""
    if not isinstance(value, list):
        raise Refused(f"must be a list of texts, not {kind_of(value)}")
    if not value:
        raise Refused("must have at least one word")
    found = [place.item(number).attempt(_word, raw) for number, raw in enumerate(value, 1)]
    whole_list = tuple(word for word in found if word is not None)
    if len(whole_list) < len(found):
        raise Refused
    return whole_list


def _word(value: object, place: Place) -> str:
    text = free_text(value, place)
    if text.strip():
        return text
    raise Refused("must not be blank")


_model_name = matching("[!-~]{1,256}", "1 to 256 visible ASCII characters without spaces")


def model_names(value: object, place: Place) -> Mapping[str, str]:
    """A check: a table from OpenAI's model name to the upstream's own, in the order written."""
    if not isinstance(value, Mapping):
        raise Refused(f"must be a table, not {kind_of(value)}")
    names: dict[str, str] = {}
    for model, raw in value.items():
        here = place.at(model)
        known, own = here.attempt(_model_name, model), here.attempt(_model_name, raw)
        if known is not None and own is not None:
            names[known] = own
    if len(names) < len(value):
        raise Refused
    return MappingProxyType(names)
