"""
What an upstream's answer means for the call: is it worth another try, and where?

Pure: imports nothing of Twisted. The rows are those of the status table in docs/upstreams.md; every one has its test.
"""

from __future__ import annotations

from enum import Enum, auto

import orjson

from gptproxy.http import Fields
from gptproxy.upstream.call import HeldAnswer

__all__ = ["Meaning", "meaning_of", "retry_after_seconds"]


class Meaning(Enum):
    """What an attempt's outcome says about the next one."""

    FINAL = auto()
    """the answer, or an error that is the caller's own: no other upstream would say otherwise"""
    AGAIN = auto()
    """trouble that may pass: the same upstream after a wait, then the next"""
    AT_ONCE = auto()
    """the connection's fault: the same upstream once more without a wait, then the next"""
    ONCE = auto()
    """a conflict: the same upstream once more, no other"""
    THROTTLED = auto()
    """too many calls: the next upstream at once; the same only where there is no next, after the wait it asks for"""
    ELSEWHERE = auto()
    """this upstream cannot serve the call at all: the next"""
    FILTERED = auto()
    """the content filter intercepted the prompt: the next, whose filter may be set otherwise"""


# From 520 on: Cloudflare, which stands before OpenAI, got no answer; 529 is what overloaded servers of others say.
_PASSING_TROUBLE = frozenset((408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529))
_QUOTA_CODES = frozenset(("insufficient_quota", "credit_balance_exhausted"))
_DEPLOYMENT_GONE = "DeploymentNotFound"
# Of chats, and of images in the spellings of both makers.
_FILTER_CODES = frozenset(
    ("content_filter", "contentFilter", "content_policy_violation", "moderation_blocked")
)


def meaning_of(answer: HeldAnswer, *, own_key: bool) -> Meaning:
    """
    :param answer: an error, its status 400 or above.
    :param own_key: the key was the caller's own (pure proxy): what is wrong with it is the caller's to know.
    :return: what it means.
    """
    status = answer.status
    if status in _PASSING_TROUBLE:
        return Meaning.AGAIN
    if status == 409:
        return Meaning.ONCE
    if status in (401, 403):
        return Meaning.FINAL if own_key else Meaning.ELSEWHERE
    if status not in (400, 404, 429):
        return Meaning.FINAL
    error = _error_object(answer.body)
    if status == 429:
        return Meaning.ELSEWHERE if _code_of(error) in _QUOTA_CODES else Meaning.THROTTLED
    if status == 404:
        gone = _code_of(error) == _DEPLOYMENT_GONE and not own_key
        return Meaning.ELSEWHERE if gone else Meaning.FINAL
    return Meaning.FILTERED if _is_filtered(error) else Meaning.FINAL


def retry_after_seconds(fields: Fields) -> float | None:
    """
    :param fields: an answer's field lines.
    :return: how long the upstream asks to be left alone, from ``retry-after-ms`` or ``retry-after`` in seconds; None
        where it does not say so in numbers.
    """
    for name, unit_seconds in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        for field_name, value in fields:
            if field_name == name and value.replace(b".", b"", 1).isdigit() and len(value) <= 12:
                return float(value) * unit_seconds
    return None


def _is_filtered(error: dict[str, object]) -> bool:
    """:return: a prompt was intercepted. The inner error has two spellings, and may be missing."""
    if _code_of(error) in _FILTER_CODES:
        return True
    for spelling in ("innererror", "inner_error"):
        inner = error.get(spelling)
        if isinstance(inner, dict) and _code_of(inner) == "ResponsibleAIPolicyViolation":
            return True
    return False


def _code_of(error: dict[str, object]) -> str:
    """:return: the error's code; its type where it has none."""
    code = error.get("code")
    if code is None:
        code = error.get("type")
    return code if isinstance(code, str) else ""


def _error_object(body: bytes) -> dict[str, object]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else {}
