"""
The header fields that say which topics a caller wants, and which documents an answer rests on.

Pure: imports the types of fields and passages only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from gptproxy.http import Fields
from gptproxy.knowledge import Passage

__all__ = ["MAX_SOURCES_BYTES", "named_topics", "sources_value"]

MAX_SOURCES_BYTES: Final = 2_048
"""Of the header that names the sources: a quarter of what many clients and proxies take for one answer's head."""

_TOPIC: Final = b"x-gptproxy-topic"


def named_topics(fields: Fields) -> frozenset[str] | None:
    """
    :param fields: a request's.
    :return: the topics that the caller names, parted by commas and percent-encoded where need be; None: it names none.
    """
    values = [value for name, value in fields if name == _TOPIC]
    if not values:
        return None
    names = b",".join(values).decode("utf-8", "replace").split(",")
    return frozenset(unquote(name.strip()) for name in names if name.strip())


def sources_value(passages: Iterable[Passage]) -> bytes:
    """
    :param passages: in their order.
    :return: their sources' names, each once, percent-encoded and parted by commas, as many as there is room for.
    """
    room = MAX_SOURCES_BYTES
    names = []
    for name in dict.fromkeys(quote(passage.source, safe="/") for passage in passages):
        room -= len(name) + 2
        if room < 0:
            break
        names.append(name)
    return ", ".join(names).encode()
