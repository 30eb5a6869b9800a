"""
Places in JSON texts, with two parsers as oracles, and event streams, with the plain reading of the tests as one.

May import :mod:`gptproxy.wire` and the oracles of its tests.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import orjson

from fuzz.checking import Finding, Target
from gptproxy.wire import (
    DuplicateMember,
    Edit,
    EventStreamReader,
    NotAnObject,
    element_spans,
    member_spans,
    splice,
)
from tests.wire.oracles import between_events, events_of

__all__ = ["EVENT_STREAMS", "JSON_MEMBERS"]

_SMALL_LIMIT_BYTES: Final = 40


def _read_members(pieces: Sequence[bytes]) -> object:
    text = b"".join(pieces)
    try:
        spans = member_spans(text)
        for span in spans.values():
            if text[span.start] == ord("["):
                element_spans(text, span)
    except (ValueError, IndexError):
        # What no parser has read before may end so, as long as it ends.
        return None
    return spans


def _compare_members(text: bytes) -> None:
    try:
        top = orjson.loads(text)
    except orjson.JSONDecodeError:
        return
    try:
        spans = member_spans(text)
    except NotAnObject:
        if isinstance(top, dict):
            raise
        return
    except DuplicateMember as duplicate:
        if duplicate.name not in _names_that_occur_twice(text):
            raise
        return
    if not isinstance(top, dict) or list(spans) != list(top) or _names_that_occur_twice(text):
        raise Finding(f"the members are not {list(spans)}")
    for name, span in spans.items():
        value = text[span.start : span.end]
        if orjson.loads(value) != top[name] or value.strip() != value:
            raise Finding(f"{name!r} is not at {span}")
        if isinstance(top[name], list):
            elements = [
                orjson.loads(text[element.start : element.end])
                for element in element_spans(text, span)
            ]
            if elements != top[name]:
                raise Finding(f"the elements of {name!r} are not {elements}")
        edited = splice(text, [Edit(span.start, span.end, b"[]")])
        if orjson.loads(edited) != {**top, name: []}:
            raise Finding(f"an edit of {name!r} changes something else")


def _names_that_occur_twice(text: bytes) -> set[str]:
    members: list[tuple[str, object]] = []

    def keep(pairs: list[tuple[str, object]]) -> None:
        # The outermost object is told last.
        members[:] = pairs

    try:
        json.loads(text, object_pairs_hook=keep)
    except RecursionError:
        return set()
    names = [name for name, _ in members]
    return {name for name in names if names.count(name) > 1}


def _read_stream(pieces: Sequence[bytes]) -> object:
    return [_read_limited(pieces, limit) for limit in (None, _SMALL_LIMIT_BYTES)]


def _read_limited(pieces: Sequence[bytes], limit_bytes: int | None) -> object:
    reader = EventStreamReader(limit_bytes)
    events = [event for piece in pieces for event in reader.receive(piece)]
    return events, reader.last_event_id, reader.retry_ms, reader.between_events, reader.gave_up


def _compare_stream(stream: bytes) -> None:
    expected = (*events_of(stream), between_events(stream), False)
    told = _read_limited([stream], None)
    if told != expected:
        raise Finding(f"read as {told}, plainly as {expected}")


JSON_MEMBERS = Target("json", _read_members, _compare_members, incremental=False)
EVENT_STREAMS = Target("events", _read_stream, _compare_stream)
