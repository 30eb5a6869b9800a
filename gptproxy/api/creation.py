"""
The ids that an answer tells, read before the caller sees any of it.

May import the HTTP and wire rooms, this room, and Twisted. What is read ahead stays in the response, and is relayed in
its turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import orjson
from twisted.internet.defer import Deferred

from gptproxy.api.json_call import SLICE_BYTES, WHOLE_BYTES
from gptproxy.api.turns import Turns
from gptproxy.http import Response
from gptproxy.wire import BrokenJSON, DuplicateMember, EventStreamReader, MemberScan, NotAnObject

__all__ = ["Found", "claimed_in", "claims_of", "first_event_of", "head_of", "made_in"]

Found = list[tuple[str, str]]
"""Ids and kinds."""

AHEAD_BYTES: Final = 4_194_304
"""Of a JSON answer that makes something; only images in it make one longer, and then its first member tells the id."""

EVENTS_BYTES: Final = 262_144
"""Of a stream until the event that tells the id, which is the first; it repeats the call's instructions and tools."""

_FIRST_MEMBER = re.compile(rb'\s*+\{\s*+"id"\s*+:\s*+"([^"\\]{1,256})"')


async def head_of(response: Response, limit_bytes: int = AHEAD_BYTES) -> bytes:
    """
    :param response: its body has not been taken.
    :param limit_bytes: how much is read.
    :return: the body, or its beginning. Cancelling this drops the answer.
    """
    if response.end is None:
        await _ahead(response, limit_bytes, lambda: len(response.waiting) >= limit_bytes)
    return response.waiting


async def made_in(body: bytes, creates: str, turns: Turns) -> Found:
    """
    :param body: a JSON answer, or the beginning of a long one.
    :param creates: kind of object; empty: none is looked for.
    :param turns: in which a large one is read.
    :return: the new object.
    """
    if not creates:
        return []
    first = _FIRST_MEMBER.match(body)
    if first is not None:
        return [(first.group(1).decode("utf-8", "replace"), creates)]
    if len(body) <= WHOLE_BYTES:
        content = _loaded(body)
        identity = content.get("id") if isinstance(content, dict) else None
    else:
        identity = await _large_id(body, turns)
    return [(identity, creates)] if isinstance(identity, str) and identity else []


def claimed_in(body: bytes, claims: tuple[tuple[str, str], ...]) -> Found:
    """
    :param body: a JSON answer about an object of the caller's; a large one is not looked into.
    :param claims: see :class:`~gptproxy.api.route_table.Operation`.
    :return: the objects that the upstream made for them.
    """
    if not claims or len(body) > WHOLE_BYTES:
        return []
    return claims_of(_loaded(body), claims)


def claims_of(content: object, claims: tuple[tuple[str, str], ...]) -> Found:
    """
    :param content: an answer, parsed.
    :param claims: see :class:`~gptproxy.api.route_table.Operation`.
    :return: the objects that the upstream made for its owner.
    """
    found: Found = []
    for place, kind in claims:
        values = [content]
        for step in place.split("."):
            name = step.removesuffix("[]")
            values = [value.get(name) for value in values if isinstance(value, dict)]
            if step.endswith("[]"):
                values = [each for value in values if isinstance(value, list) for each in value]
        found += [(value, kind) for value in values if isinstance(value, str) and value]
    return found


async def first_event_of(response: Response, creates: str) -> Found:
    """
    :param response: a stream of events; its body has not been taken.
    :param creates: kind of object; empty: none is looked for.
    :return: the new object, as the first event that knows it tells. Cancelling this drops the answer.
    """
    if not creates:
        return []
    reader = EventStreamReader()
    read = 0
    found: Found = []

    def enough() -> bool:
        nonlocal read
        new = response.waiting[read:]
        read += len(new)
        for event in reader.receive(new):
            found.extend(_of_event(event.data, creates))
        return bool(found) or read >= EVENTS_BYTES

    if not enough() and response.end is None:
        await _ahead(response, EVENTS_BYTES - read, enough)
    return found


def _of_event(data: bytes, creates: str) -> Found:
    content = _loaded(data)
    if not isinstance(content, dict):
        return []
    inner = content.get("response")
    told = inner if isinstance(inner, dict) else content
    identity = told.get("id")
    found = [(identity, creates)] if isinstance(identity, str) and identity else []
    thread = told.get("thread_id")
    if creates == "run":
        # The first event is about the thread, which is new as well.
        found = [(thread, "thread"), *found] if isinstance(thread, str) else []
    conversation = told.get("conversation")
    if isinstance(conversation, dict) and isinstance(conversation.get("id"), str):
        found.append((conversation["id"], "conversation"))
    return found


async def _ahead(response: Response, limit_bytes: int, enough: Callable[[], bool]) -> None:
    """Read on until it is enough, or there is no more."""
    done: Deferred[None] = Deferred(lambda _: response.abandon())

    def watch(piece: bytes | None) -> None:
        if not done.called and (enough() or piece is None or response.end is not None):
            done.callback(None)

    response.read_ahead(limit_bytes, watch)
    if response.end is not None:
        watch(None)
    await done


async def _large_id(body: bytes, turns: Turns) -> object:
    scan = MemberScan(body)
    # Its end is missing, or it is no JSON: what was passed tells all the same.
    with suppress(BrokenJSON, DuplicateMember, NotAnObject):
        await turns.run(lambda: scan.step(SLICE_BYTES))
    span = scan.spans.get("id")
    return _loaded(body[span.start : span.end]) if span is not None else None


def _loaded(text: bytes) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
