"""
A request's target, parsed once: what routing, access, the log and the upstream's address all use.

Pure: imports :mod:`gptproxy.http.grammar` only. Two readings of one path are how requests slip past a check, so paths
that can be read in two ways (dot segments, doubled slashes, backslashes, encoded once or twice) are refused.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gptproxy.http.grammar import MalformedMessage

__all__ = ["Target", "parse_target"]

CACHED_TARGET_BYTES = 128
"""Targets no longer than this are parsed once: callers use few routes. 256 of them are kept, 32 KiB in all."""

_CONTROL_OR_BACKSLASH = re.compile(rb"[\x00-\x1f\x7f\\]")
# What would become a dot, a slash, a backslash, a percent sign or a control character if somebody decoded once more.
_ENCODED_TWICE = re.compile(rb"%(?:2[5EeFf]|5[Cc]|[01][0-9A-Fa-f]|7[Ff])")


class Target(NamedTuple):
    """
    :param path: as sent, percent-encodings and all.
    :param query: what stands behind the question mark, as sent; empty where there is none.
    :param segments: the path's segments, each decoded once, valid UTF-8; one trailing slash is not a segment.
    """

    path: bytes
    query: bytes
    segments: tuple[bytes, ...]


def parse_target(target: bytes) -> Target:
    """
    :param target: in origin-form, as the grammar accepts it.
    :raise MalformedMessage: the path has an ambiguous spelling.
    """
    # A query may hold a secret, which is not to stay in memory.
    known = len(target) <= CACHED_TARGET_BYTES and b"?" not in target
    return _known_target(target) if known else _parsed(target)


def _parsed(target: bytes) -> Target:
    path, _, query = target.partition(b"?")
    raw_segments = path[1:].split(b"/")
    if raw_segments[-1] == b"":
        raw_segments.pop()
    segments = tuple(map(unquote_to_bytes, raw_segments)) if b"%" in path else tuple(raw_segments)
    for segment in segments:
        # A decoded slash is fine inside of a name (model ids have them), a path hidden behind it is not.
        if any(part in (b"", b".", b"..") for part in segment.split(b"/")):
            raise MalformedMessage("the path has an empty or a dot segment")
        if _CONTROL_OR_BACKSLASH.search(segment):
            raise MalformedMessage("the path has a control character or a backslash")
        if _ENCODED_TWICE.search(segment):
            raise MalformedMessage("the path is percent-encoded twice")
        if not segment.isascii() and not _is_utf8(segment):
            # Overlong encodings of dots and slashes are among these.
            raise MalformedMessage("the path is not UTF-8")
    return Target(path, query, segments)


_known_target = lru_cache(maxsize=256)(_parsed)


def _is_utf8(segment: bytes) -> bool:
    try:
        segment.decode()
    except UnicodeDecodeError:
        return False
    return True
