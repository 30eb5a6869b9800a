"""
An event stream read in the plainest way: the whole text at once, line by line, as the HTML standard words it.

May import nothing of gptproxy.
"""

from __future__ import annotations

import re

__all__ = ["between_events", "events_of"]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _lines(stream: bytes) -> list[bytes]:
    """:return: the lines; the last is what has no line end yet, perhaps empty."""
    return re.split(rb"\r\n|\n|\r", stream.removeprefix(_BYTE_ORDER_MARK))


def events_of(stream: bytes) -> tuple[list[tuple[bytes, bytes]], bytes, int | None]:
    """
    :return: the events as pairs of type and data, the last event id, and the time to reconnect.
    """
    events: list[tuple[bytes, bytes]] = []
    data_lines: list[bytes] = []
    event_type = pending_id = last_id = b""
    retry: int | None = None
    for line in _lines(stream)[:-1]:
        if line == b"":
            last_id = pending_id
            if data_lines:
                events.append((event_type or b"message", b"\n".join(data_lines)))
            data_lines, event_type = [], b""
            continue
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            data_lines.append(value)
        elif name == b"event":
            event_type = value
        elif name == b"id" and b"\x00" not in value:
            pending_id = value
        elif name == b"retry" and re.fullmatch(rb"[0-9]{1,15}", value):
            retry = int(value)
    return events, last_id, retry


def between_events(stream: bytes) -> bool:
    """:return: nothing but comments stands behind the last empty line."""
    if stream in (_BYTE_ORDER_MARK[:1], _BYTE_ORDER_MARK[:2]):
        return False
    *lines, tail = _lines(stream)
    if tail:
        return False
    for line in reversed(lines):
        if line == b"":
            return True
        if not line.startswith(b":"):
            return False
    return True
