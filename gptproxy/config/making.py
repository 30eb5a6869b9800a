"""
Settings made of checked values.

Pure: imports nothing of gptproxy but this room's own modules, and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gptproxy.config.fields import Place

__all__ = ["plain"]

T = TypeVar("T")


def plain(settings: Callable[..., T]) -> Callable[[dict[str, object], Place], T]:
    """:return: what makes ``settings`` of the values alone, absent ones taking its defaults."""
    return lambda values, place: settings(**values)
