"""
What an upstream's answer means for the call: is it worth another try, and where?

Pure: imports nothing of Twisted. The rows are those of the status table in docs/upstreams.md; every one has its test.
"""

from __future__ import annotations

from enum import Enum, auto

import orjson
from attrs import frozen

from gptproxy.upstream.call import HeldAnswer
from gptproxy.upstream.filtering import is_interception
from gptproxy.upstream.retry_after import retry_after_seconds

__all__ = ["Judgement", "Meaning", "judge"]


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
    BROKEN = auto()
    """it began, and failed before any content: the next upstream at once; the same only when all were asked"""
    THROTTLED = auto()
    """too many calls: the next upstream at once; the same only when all were asked, after the wait it asks for"""
    ELSEWHERE = auto()
    """this upstream cannot serve the call at all: the next"""
    FILTERED = auto()
    """the content filter intercepted: the next, whose filter may be set otherwise"""
    SHUT = auto()
    """it was not asked, because it is throttled: as THROTTLED"""
    DOWN = auto()
    """it was not asked, because it failed too often: the next"""


@frozen
class Judgement:
    """
    :param meaning: for the next attempt.
    :param reason: for the log, in the operator's words; nothing of the answer's.
    :param retry_after: how long the upstream asks to be left alone, in seconds, or None.
    """

    meaning: Meaning
    reason: str = ""
    retry_after: float | None = None


# From 520 on: Cloudflare, which stands before OpenAI, got no answer; 529 is what overloaded servers of others say.
_PASSING_TROUBLE = frozenset((408, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529))
_QUOTA_CODES = frozenset(("insufficient_quota", "credit_balance_exhausted"))
_DEPLOYMENT_GONE = "DeploymentNotFound"
_BLOCKED = "temporarily blocked"


def judge(answer: HeldAnswer, *, own_key: bool) -> Judgement:
    """
    :param answer: an error, its status 400 or above.
    :param own_key: the key was the caller's own (pure proxy): what is wrong with it is the caller's to know.
    :return: what it means.
    """
    status = answer.status
    if status in _PASSING_TROUBLE:
        return Judgement(
            Meaning.AGAIN,
            "has trouble of its own",
            retry_after_seconds(answer.fields, throttled=False),
        )
    if status == 409:
        return Judgement(Meaning.ONCE, "says that there is a conflict")
    if status not in (400, 401, 403, 404, 429):
        return Judgement(Meaning.FINAL)
    error = _error_object(answer.body)
    if status == 429:
        if _code_of(error) in _QUOTA_CODES:
            return Judgement(Meaning.ELSEWHERE, "says that the quota is used up")
        return Judgement(
            Meaning.THROTTLED,
            "throttles",
            retry_after_seconds(answer.fields, _message_of(error)),
        )
    if status == 400:
        if is_interception(error):
            return Judgement(Meaning.FILTERED, "intercepts by its content filter")
        return Judgement(Meaning.FINAL)
    if own_key:
        return Judgement(Meaning.FINAL)
    if status == 404:
        if _code_of(error) == _DEPLOYMENT_GONE:
            return Judgement(Meaning.ELSEWHERE, "has no such deployment")
        return Judgement(Meaning.FINAL)
    if status == 403 and _BLOCKED in _message_of(error):
        return Judgement(Meaning.ELSEWHERE, "has blocked the whole resource by its policy")
    return Judgement(Meaning.ELSEWHERE, "refuses the key")


def _code_of(error: dict[str, object]) -> str:
    """:return: the error's code; its type where it has none."""
    code = error.get("code")
    if code is None:
        code = error.get("type")
    return code if isinstance(code, str) else ""


def _message_of(error: dict[str, object]) -> str:
    message = error.get("message")
    return message if isinstance(message, str) else ""


def _error_object(body: bytes) -> dict[str, object]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = content.get("error") if isinstance(content, dict) else None
    return error if isinstance(error, dict) else {}
