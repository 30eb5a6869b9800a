"""
An event of Twisted's log as a line of JSON, or as an entry of the journal.

Pure: imports of gptproxy this room, and of Twisted what words an event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import orjson
from twisted.logger import LogEvent, eventAsText, formatEventAsClassicLogText

from gptproxy.logs.journal import datagram

__all__ = ["journal_event", "json_event", "level_of", "text_event", "told"]

_PRIORITIES: Final = {
    "debug": "7",
    "info": "6",
    "warn": "4",
    "error": "3",
    "critical": "2",
}
"""syslog(3)'s, which the journal has too."""

_OURS: Final = frozenset(("time", "level", "namespace", "message", "traceback"))

# What old events have besides their words.
_OLD: Final = frozenset(("format", "isError", "system"))


def level_of(event: LogEvent) -> str:
    """
    :param event: of Twisted's log.
    :return: its level; information where it has none.
    """
    level = event.get("log_level")
    name = getattr(level, "name", "")
    return name if name in _PRIORITIES else "info"


def told(event: LogEvent) -> tuple[str, str]:
    """
    :param event: of Twisted's log.
    :return: its words, and its failure's traceback, if it has one.
    """
    words = eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)
    if "log_failure" not in event:
        return words, ""
    failure = {"log_failure": event["log_failure"], "log_format": ""}
    return words, eventAsText(failure, includeTimestamp=False, includeSystem=False).strip("\n")


def _fields(event: LogEvent) -> dict[str, object]:
    """:return: what the event was told with, as far as it is plain."""
    return {
        name: value
        for name, value in event.items()
        if isinstance(value, str | int | float | bool)
        and not name.startswith("log_")
        and name.isidentifier()
        and name.isascii()
        and name not in _OURS
        and name not in _OLD
    }


def json_event(event: LogEvent) -> bytes:
    """
    :param event: of Twisted's log.
    :return: one JSON object and a line end; nothing where the event has no words.
    """
    words, traceback = told(event)
    if not words and not traceback:
        return b""
    said: dict[str, object] = {
        "time": _time(event).isoformat(timespec="milliseconds"),
        "level": level_of(event),
        "namespace": str(event.get("log_namespace", "-")),
        "message": words,
    }
    if traceback:
        said["traceback"] = traceback
    for name, value in _fields(event).items():
        # orjson takes 64 bits.
        said[name] = value if not isinstance(value, int) or abs(value) < 1 << 63 else str(value)
    return orjson.dumps(_sendable(said), option=orjson.OPT_APPEND_NEWLINE)


def text_event(event: LogEvent) -> bytes:
    """
    :param event: of Twisted's log.
    :return: its line, or lines, as Twisted's own observer words them; nothing where the event has no words.
    """
    text = formatEventAsClassicLogText(event) or ""
    return text.encode("utf-8", "backslashreplace")


def journal_event(event: LogEvent) -> bytes:
    """
    :param event: of Twisted's log.
    :return: an entry; nothing where the event has no words.
    """
    words, traceback = told(event)
    if not words and not traceback:
        return b""
    entry = [
        ("MESSAGE", "\n".join(filter(None, (words, traceback)))),
        ("PRIORITY", _PRIORITIES[level_of(event)]),
        ("GPTPROXY_NAMESPACE", str(event.get("log_namespace", "-"))),
    ]
    # A field of the journal begins with a capital letter, and its name has 64 characters at most.
    entry += [
        (f"GPTPROXY_{name.upper()}"[:64], str(value)) for name, value in _fields(event).items()
    ]
    return datagram(entry)


def _time(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(float(event.get("log_time", 0.0)), UTC)


def _sendable(said: dict[str, object]) -> dict[str, object]:
    """:return: the same without what is no UTF-8, which orjson refuses."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in said.items()
    }
