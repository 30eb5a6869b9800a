"""
What an answer says for itself: content, the content filter's interception, an error, or nothing yet.

Pure: imports nothing of Twisted. The shapes are those of Azure's "Content filtering" and "Content streaming" pages and
of OpenAI's API reference ("Streaming events"). Nothing here fails: what cannot be read is taken for content, because
then the answer goes to the caller as it is. An element of ``choices`` is never reached by its number: Azure's first
chunk has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import Final

import orjson

from gptproxy.wire import ServerSentEvent

__all__ = ["KINDS", "Kind", "Sign", "is_intercepted", "is_interception", "sign_of"]


class Kind(Enum):
    """The families of answers that are looked at."""

    CHAT = auto()
    COMPLETION = auto()
    RESPONSE = auto()
    IMAGE = auto()


# An enumeration's member is looked up by way of its class's class; this is on every call's way.
_IMAGE, _RESPONSE = Kind.IMAGE, Kind.RESPONSE

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "/chat/completions": Kind.CHAT,
        "/completions": Kind.COMPLETION,
        "/responses": Kind.RESPONSE,
        "/images/generations": Kind.IMAGE,
        "/images/edits": Kind.IMAGE,
        "/images/variations": Kind.IMAGE,
    }
)
"""The routes whose answers are looked at. Azure filters neither speech nor transcriptions; embeddings say nothing."""


class Sign(Enum):
    """What an event of a stream, of which the caller has seen nothing, says."""

    NOTHING = auto()
    """neither content nor an end: what follows decides"""
    CONTENT = auto()
    """from here on the stream is the caller's, whatever it brings"""
    FILTERED = auto()
    """the content filter intercepted"""
    FAILED = auto()
    """an error that may pass"""
    EXHAUSTED = auto()
    """an error that lasts as long as the upstream is this one: its quota is used up"""


EXACT_BYTES: Final = 262_144
"""Up to here an answer is parsed at once, in a millisecond or two; above it, bytes that only a filter writes decide."""

# Of chats, and of images in the spellings of both makers.
_FILTER_CODES = frozenset(
    (
        "ResponsibleAIPolicyViolation",
        "content_filter",
        "contentFilter",
        "content_policy_violation",
        "image_content_policy_violation",
        "moderation_blocked",
    )
)
_QUOTA_CODES = frozenset(("insufficient_quota", "credit_balance_exhausted"))
# The caller's own mistakes: no upstream would say otherwise.
_CALLERS_OWN = re.compile(
    r"invalid_|context_length_exceeded|string_above_max_length|unsupported_|image_|empty_image|failed_to_download|"
    r"vector_store_timeout|model_not_found"
)

_QUOTED_REASON: Final = b'"content_filter"'
_IS_FILTER = re.compile(rb'\s*+:\s*+"content_filter"')
_REASON_IS_FILTER = re.compile(rb'\s*+:\s*+\{\s*+"reason"\s*+:\s*+"content_filter"')
_IS_TRUE = re.compile(rb"\s*+:\s*+true\b")
_MAX_HITS: Final = 1000
"""Choices come in ones and tens; a name that is met more often is not the service's."""

# Of the Responses API: what comes before the model has said anything.
_PRELUDE = frozenset(
    (
        b"keepalive",
        b"response.content_part.added",
        b"response.created",
        b"response.in_progress",
        b"response.output_item.added",
        b"response.queued",
        b"response.reasoning_summary_part.added",
    )
)
_ENDS = frozenset((b"response.completed", b"response.incomplete"))
# An item of any other type is a tool's call.
_WORDLESS_ITEMS = frozenset(("message", "reasoning"))


def is_intercepted(kind: Kind, body: bytes) -> bool:
    """
    :param kind: the answer's family.
    :param body: a whole answer with status 2xx that is no stream.
    :return: the content filter intercepted: any choice ended by it, the prompt or the output blocked, no image made.
    """
    # Between quotes, so that Azure's "content_filter_results", which all its answers have, costs nothing. JSON may
    # spell a letter as \u0063; no service does, and one that hid its filter so would only lose the second try.
    if kind is _IMAGE:
        # One without a picture is short.
        return len(body) <= EXACT_BYTES and b'"error"' in body and _error_is(_object(body))
    filtered = _QUOTED_REASON in body
    if kind is _RESPONSE:
        if not filtered and not _occurs(body, b'"blocked"', _IS_TRUE):
            return False
        if len(body) <= EXACT_BYTES:
            return _response_is(_object(body))
        return filtered and _occurs(body, b'"incomplete_details"', _REASON_IS_FILTER)
    if not filtered:
        return False
    if len(body) <= EXACT_BYTES:
        return any(
            choice.get("finish_reason") == "content_filter" for choice in _choices(_object(body))
        )
    return _occurs(body, b'"finish_reason"', _IS_FILTER)


def is_interception(error: Mapping[str, object]) -> bool:
    """
    :param error: an error object, of an answer's body or of an event.
    :return: it is the content filter's. The inner error has two spellings, and may be missing.
    """
    if not _FILTER_CODES.isdisjoint(_words(error)):
        return True
    inners = (error.get(spelling) for spelling in ("innererror", "inner_error"))
    return any(
        not _FILTER_CODES.isdisjoint(_words(inner)) for inner in inners if isinstance(inner, dict)
    )


def sign_of(kind: Kind, event: ServerSentEvent) -> Sign:
    """
    :param kind: the stream's family.
    :param event: its next event; none before it said anything else than :attr:`Sign.NOTHING`.
    :return: what it says.
    """
    if event.data == b"[DONE]":
        return Sign.CONTENT
    try:
        content = orjson.loads(event.data)
    except orjson.JSONDecodeError:
        return Sign.CONTENT
    if not isinstance(content, dict):
        return Sign.CONTENT
    # Whatever the family: clients raise an error at any event that has one.
    error = content.get("error")
    if error:
        return _error_sign(error)
    if kind is _RESPONSE:
        return _response_sign(event.event, content)
    if content.get("type") == "error":
        return _error_sign(content)
    if kind is _IMAGE:
        return Sign.CONTENT
    return _chunk_sign(kind, content)


def _chunk_sign(kind: Kind, chunk: dict[str, object]) -> Sign:
    """
    A chunk of a chat or a completion. Without content are: Azure's prompt_filter_results, the role, the chunks of its
    asynchronous filter (choices without a delta), content_filter_error, an end for another reason, the usage.
    """
    said = False
    for choice in _choices(chunk):
        # First: of a chunk that has both the caller has seen neither.
        if choice.get("finish_reason") == "content_filter":
            return Sign.FILTERED
        if kind is Kind.COMPLETION:
            said = said or bool(choice.get("text"))
        else:
            delta = choice.get("delta")
            # Text, a tool's call, a refusal, audio, reasoning, and whatever will be invented.
            said = said or (
                isinstance(delta, dict)
                and any(value for name, value in delta.items() if name != "role")
            )
    return Sign.CONTENT if said else Sign.NOTHING


def _response_sign(name: bytes, content: dict[str, object]) -> Sign:
    kind = content.get("type")
    if isinstance(kind, str):
        name = kind.encode()
    if name == b"error":
        return _error_sign(content)
    response = content.get("response")
    if isinstance(response, dict):
        if _response_is(response):
            return Sign.FILTERED
        if name == b"response.failed":
            return _error_sign(response.get("error") or {})
    if name in _ENDS or name not in _PRELUDE:
        return Sign.CONTENT
    item = content.get("item")
    if isinstance(item, dict) and item.get("type") not in _WORDLESS_ITEMS:
        return Sign.CONTENT
    return Sign.NOTHING


def _error_sign(error: object) -> Sign:
    if not isinstance(error, dict):
        return Sign.FAILED
    if is_interception(error):
        return Sign.FILTERED
    words = _words(error)
    if not _QUOTA_CODES.isdisjoint(words):
        return Sign.EXHAUSTED
    if any(_CALLERS_OWN.match(word) for word in words):
        return Sign.CONTENT
    return Sign.FAILED


def _words(error: Mapping[str, object]) -> list[str]:
    """:return: what kind of error it says it is."""
    named = (error.get(member) for member in ("code", "type"))
    return [word for word in named if isinstance(word, str)]


def _response_is(response: Mapping[str, object]) -> bool:
    """:return: a Responses API's response object tells of an interception."""
    details = response.get("incomplete_details")
    if isinstance(details, dict) and details.get("reason") == "content_filter":
        return True
    filters = response.get("content_filters")
    if isinstance(filters, list) and any(
        isinstance(each, dict) and each.get("blocked") is True for each in filters
    ):
        return True
    return _error_is(response)


def _error_is(answer: Mapping[str, object]) -> bool:
    error = answer.get("error")
    return isinstance(error, dict) and is_interception(error)


def _occurs(body: bytes, name: bytes, value: re.Pattern[bytes]) -> bool:
    """
    In valid JSON a quote inside a string has a backslash before it, so these bytes are a member's name and value.

    :param body: JSON.
    :param name: a member's name with its quotes.
    :param value: what has to follow it.
    :return: it is there, at whatever depth.
    """
    at = -1
    for _ in range(_MAX_HITS):
        at = body.find(name, at + 1)
        if at < 0:
            return False
        if value.match(body, at + len(name)) and not body.startswith(b"\\", at - 1):
            return True
    return False


def _choices(content: Mapping[str, object]) -> Iterator[dict[str, object]]:
    choices = content.get("choices")
    if isinstance(choices, list):
        yield from (each for each in choices if isinstance(each, dict))


def _object(body: bytes) -> Mapping[str, object]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
