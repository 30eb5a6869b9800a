"""
The line that is written of every call: what is in it, how it is worded, and where it goes.

May import Twisted, the call's record, and of gptproxy this room. There is one line for every call, so what a line costs
every call costs: through Twisted's publisher and its text observer one took an eighth of a relayed call. So where that
observer would write to the standard output, the line goes there by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import orjson
from twisted.logger import LogLevel, formatTime, globalLogPublisher

from gptproxy.call_record import CallRecord
from gptproxy.logs.journal import IDENTIFIER
from gptproxy.logs.redaction import redaction

__all__ = [
    "NAMESPACE",
    "AccessLog",
    "access_log",
    "forget_names",
    "journal_line",
    "json_line",
    "text_line",
]

NAMESPACE = "gptproxy.access"

_LONGEST_NAME = 128


class Sink(Protocol):
    """Takes lines."""

    def put(self, line: bytes) -> None:
        """:param line: with its line end."""
        ...  # pragma: no cover - a protocol's method has no body to run


Form = Callable[[CallRecord], bytes]
"""A record to its line, line end and all."""


@lru_cache(maxsize=2048)
def _name(name: str) -> str:
    """:return: a name of somebody's own, looked through once: nothing in it begins a line or a field, or is a key."""
    return re.sub(r"\s", "_", redaction.redacted(name[:_LONGEST_NAME]))


forget_names = _name.cache_clear
"""Look through all names anew: other secrets are known."""


def text_line(record: CallRecord) -> bytes:
    """
    :param record: what to say.
    :return: the line as Twisted's text observer would have written it.
    """
    text = f"{_stamp(int(record.ended))} [{NAMESPACE}#info] {_words(record)}\n"
    return text.encode("utf-8", "backslashreplace")


def json_line(record: CallRecord) -> bytes:
    """
    :param record: what to say.
    :return: one JSON object; what is not known is null.
    """
    return orjson.dumps(
        {
            "time": f"{_utc(int(record.ended))}.{int(record.ended % 1 * 1000):03d}+00:00",
            "level": "info",
            "namespace": NAMESPACE,
            **_facts(record),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def journal_line(record: CallRecord) -> bytes:
    """
    :param record: what to say.
    :return: an entry in the form of systemd's journal: the text, and each of its parts as a field. No part has a line
        end in it, so the entry is written in one go.
    """
    first, tokens = record.first_byte_seconds, record.prompt_tokens
    more = ""
    if record.caller != "-":
        more += f"GPTPROXY_CALLER={_name(record.caller)}\n"
    if record.model != "-":
        more += f"GPTPROXY_MODEL={_name(record.model)}\n"
    if record.upstream != "-":
        more += f"GPTPROXY_UPSTREAM={record.upstream}\n"
    if first is not None:
        more += f"GPTPROXY_FIRST_BYTE_SECONDS={first:.6f}\n"
    if tokens is not None:
        more += f"GPTPROXY_TOKENS_IN={tokens}\nGPTPROXY_TOKENS_OUT={record.completion_tokens}\n"
    if record.topics != "-":
        more += f"GPTPROXY_TOPICS={_name(record.topics)}\nGPTPROXY_PASSAGES={record.passages}\n"
    if record.error != "-":
        more += f"GPTPROXY_ERROR={record.error}\n"
    entry = (
        f"SYSLOG_IDENTIFIER={IDENTIFIER}\nMESSAGE={_words(record)}\nPRIORITY=6\n"
        f"GPTPROXY_NAMESPACE={NAMESPACE}\nGPTPROXY_REQUEST_ID={record.request_id}\n"
        f"GPTPROXY_METHOD={record.method}\nGPTPROXY_ROUTE={record.route}\n"
        f"GPTPROXY_ATTEMPTS={record.attempts}\nGPTPROXY_STATUS={record.status}\n"
        f"GPTPROXY_BYTES={record.sent}\nGPTPROXY_SECONDS={record.seconds:.6f}\n{more}"
    )
    return entry.encode("utf-8", "backslashreplace")


@lru_cache(maxsize=1)
def _stamp(second: int) -> str:
    """:return: the local time, worded once however many lines a second has."""
    return formatTime(second)


@lru_cache(maxsize=1)
def _utc(second: int) -> str:
    """:return: the same, as other lines of JSON have it."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _words(record: CallRecord) -> str:
    words = (
        f"{record.request_id} {_name(record.caller)} {record.method} {record.route} {_name(record.model)} "
        f"{record.upstream} attempts={record.attempts} "
        f"status={record.status} bytes={record.sent} seconds={record.seconds:.3f}"
    )
    if record.first_byte_seconds is not None:
        words += f" first={record.first_byte_seconds:.3f}"
    if record.prompt_tokens is not None:
        words += f" tokens_in={record.prompt_tokens} tokens_out={record.completion_tokens}"
    if record.topics != "-":
        words += f" topics={_name(record.topics)} passages={record.passages}"
    return words if record.error == "-" else f"{words} error={record.error}"


def _facts(record: CallRecord) -> dict[str, object]:
    """:return: the record's parts by their names in the log; None for what is not known."""
    first = record.first_byte_seconds
    return {
        "request_id": record.request_id,
        "caller": _known(record.caller),
        "method": record.method,
        "route": record.route,
        "model": _known(record.model),
        "upstream": record.upstream if record.upstream != "-" else None,
        "attempts": record.attempts,
        "status": record.status,
        "bytes": record.sent,
        "seconds": round(record.seconds, 6),
        "first_byte_seconds": None if first is None else round(first, 6),
        "tokens_in": record.prompt_tokens,
        "tokens_out": record.completion_tokens,
        "topics": _known(record.topics),
        "passages": record.passages,
        "error": record.error if record.error != "-" else None,
    }


def _known(name: str) -> str | None:
    return None if name == "-" else _name(name).encode("utf-8", "replace").decode()


def _publish(record: CallRecord) -> None:
    """The way through Twisted's publisher: an observer may read the fields there."""
    globalLogPublisher(
        {
            **_facts(record),
            "log_level": LogLevel.info,
            "log_namespace": NAMESPACE,
            "log_source": None,
            "log_time": record.ended,
            # The text itself: a format without fields takes half the time. Braces would be taken for some.
            "log_format": _words(record).replace("{", "{{").replace("}", "}}"),
        }
    )


class AccessLog:
    """Where access lines go: through Twisted's log, until a sink is named."""

    def __init__(self) -> None:
        self._sink: Sink | None = None
        self._form: Form = text_line

    def use(self, sink: Sink | None, form: Form = text_line) -> None:
        """
        :param sink: takes the lines from now on; None: Twisted's log.
        :param form: how a line is worded.
        """
        self._sink = sink
        self._form = form

    def write(self, record: CallRecord) -> None:
        """
        Write one line now; a :data:`~gptproxy.call_record.CallObserver`.

        :param record: what is known of the call.
        """
        if self._sink is None:
            _publish(record)
        else:
            self._sink.put(self._form(record))


access_log = AccessLog()
"""The process's own, as there is one standard output and one publisher of Twisted's."""
