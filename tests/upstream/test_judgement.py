"""One row for each answer of wire and docs: what it means for the call."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.upstream import HeldAnswer
from gptproxy.upstream.judgement import Judgement, Meaning, judge

FILTERED, FINAL, AGAIN = Meaning.FILTERED, Meaning.FINAL, Meaning.AGAIN
ELSEWHERE, THROTTLED, ONCE = Meaning.ELSEWHERE, Meaning.THROTTLED, Meaning.ONCE

_RESULT = {
    "hate": {"filtered": True, "severity": "high"},
    "jailbreak": {"filtered": False, "detected": False},
    "self_harm": {"filtered": False, "severity": "safe"},
}
_MESSAGE = (
    "The response was filtered due to the prompt triggering Azure OpenAI's content management "
    "policy. Please modify your prompt and retry."
)
_INNER = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": _RESULT}
_INNER_SPEC = {"code": "ResponsibleAIPolicyViolation", "content_filter_results": _RESULT}
BLOCKED = {
    "code": "Forbidden",
    "message": "Your resource has been temporarily blocked because we detected behavior that may "
    "violate our content policy.",
}

ROWS: list[tuple[int, object, Meaning, Meaning]] = [
    # status, error, meaning with the organisation's key, meaning with the caller's own
    (
        400,
        {
            "message": _MESSAGE,
            "type": None,
            "param": "prompt",
            "code": "content_filter",
            "status": 400,
            "innererror": _INNER,
        },
        FILTERED,
        FILTERED,
    ),
    (400, {"message": _MESSAGE, "code": "content_filter"}, FILTERED, FILTERED),
    (400, {"message": _MESSAGE, "code": None, "innererror": _INNER}, FILTERED, FILTERED),
    (400, {"message": _MESSAGE, "code": "400", "inner_error": _INNER_SPEC}, FILTERED, FILTERED),
    (400, {"code": "contentFilter", "message": "Your task failed as a ..."}, FILTERED, FILTERED),
    (
        400,
        {"code": "content_policy_violation", "inner_error": _INNER_SPEC},
        FILTERED,
        FILTERED,
    ),
    (
        400,
        {"code": "moderation_blocked", "type": "image_generation_user_error"},
        FILTERED,
        FILTERED,
    ),
    # Words alone are no interception.
    (400, {"message": _MESSAGE, "code": "invalid_request"}, FINAL, FINAL),
    (400, {"message": "content_filter", "code": "x", "innererror": "content_filter"}, FINAL, FINAL),
    (400, {"code": "x", "innererror": {"code": "Other"}, "inner_error": []}, FINAL, FINAL),
    (400, {"code": "x", "innererror": {"code": ["ResponsibleAIPolicyViolation"]}}, FINAL, FINAL),
    (400, {"code": "context_length_exceeded", "type": "invalid_request_error"}, FINAL, FINAL),
    (400, {"code": ["content_filter"]}, FINAL, FINAL),
    (400, {"code": {}}, FINAL, FINAL),
    (400, "a text", FINAL, FINAL),
    (400, None, FINAL, FINAL),
    # A message about policy, but of the whole resource: not the prompt's fault.
    (403, BLOCKED, ELSEWHERE, FINAL),
    (403, {"code": "content_filter"}, ELSEWHERE, FINAL),
    (
        401,
        {"code": "401", "message": "Access denied due to invalid subscription key"},
        ELSEWHERE,
        FINAL,
    ),
    (401, {"code": "invalid_api_key"}, ELSEWHERE, FINAL),
    (
        404,
        {
            "code": "DeploymentNotFound",
            "message": "The API deployment for this resource does not exist.",
        },
        ELSEWHERE,
        FINAL,
    ),
    (404, {"code": "404", "message": "Resource not found"}, FINAL, FINAL),
    (404, {"code": "model_not_found"}, FINAL, FINAL),
    (404, {"code": ["DeploymentNotFound"]}, FINAL, FINAL),
    (408, {"code": "Timeout", "message": "The operation was timeout."}, AGAIN, AGAIN),
    (409, {"code": "conflict"}, ONCE, ONCE),
    (413, {"message": "too large"}, FINAL, FINAL),
    (415, {}, FINAL, FINAL),
    (422, {}, FINAL, FINAL),
    (424, {}, FINAL, FINAL),
    (431, {}, FINAL, FINAL),
    (
        429,
        {
            "code": "429",
            "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API "
            "version 2023-05-15 have exceeded token rate limit of your current OpenAI S0 pricing "
            "tier. Please retry after 22 seconds.",
        },
        THROTTLED,
        THROTTLED,
    ),
    (429, {"code": "RateLimitReached", "message": "Please wait 23 seconds"}, THROTTLED, THROTTLED),
    (429, {"code": "too_many_requests"}, THROTTLED, THROTTLED),
    (429, {"code": "rate_limit_exceeded", "type": "tokens"}, THROTTLED, THROTTLED),
    (429, {"code": "slow_down", "type": "rate_limit_error"}, THROTTLED, THROTTLED),
    (429, {"code": "rate_limit_exceeded", "type": "insufficient_quota"}, THROTTLED, THROTTLED),
    (429, {"code": ["insufficient_quota"]}, THROTTLED, THROTTLED),
    (429, {"code": {"a": 1}}, THROTTLED, THROTTLED),
    (429, None, THROTTLED, THROTTLED),
    (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, ELSEWHERE, ELSEWHERE),
    (429, {"code": None, "type": "insufficient_quota"}, ELSEWHERE, ELSEWHERE),
    (
        429,
        {"code": "credit_balance_exhausted", "type": "insufficient_quota"},
        ELSEWHERE,
        ELSEWHERE,
    ),
    (500, {"message": "The server had an error"}, AGAIN, AGAIN),
    (500, {"code": "content_filter"}, AGAIN, AGAIN),
    (501, {}, FINAL, FINAL),
    (502, None, AGAIN, AGAIN),
    (503, {"code": "server_is_overloaded"}, AGAIN, AGAIN),
    (504, None, AGAIN, AGAIN),
    (520, None, AGAIN, AGAIN),
    (521, None, AGAIN, AGAIN),
    (522, None, AGAIN, AGAIN),
    (523, None, AGAIN, AGAIN),
    (524, None, AGAIN, AGAIN),
    (529, None, AGAIN, AGAIN),
    (530, None, FINAL, FINAL),
]


@pytest.mark.parametrize(("status", "error", "meaning", "own"), ROWS)
def test_rows(status: int, error: object, meaning: Meaning, own: Meaning) -> None:
    """As the status table says; in pure proxy what is wrong with the key is the caller's to know."""
    answer = HeldAnswer(status, (), orjson.dumps({"error": error}))
    assert judge(answer, own_key=False).meaning is meaning
    assert judge(answer, own_key=True).meaning is own


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(400, FINAL), (401, ELSEWHERE), (404, FINAL), (429, THROTTLED), (502, AGAIN)],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>Bad Gateway</html>", b"[]", b"null", b'"content_filter"', b'{"error"']
)
def test_without_an_error_object(status: int, meaning: Meaning, body: bytes) -> None:
    """The status alone decides."""
    assert judge(HeldAnswer(status, (), body), own_key=False).meaning is meaning


@settings(max_examples=100, deadline=None)
@given(
    status=st.integers(400, 999),
    body=st.binary(max_size=20)
    | st.recursive(
        st.none() | st.booleans() | st.sampled_from(["content_filter", "429", ""]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["error", "code", "type", "innererror", "inner_error"]), inner
            )
        ),
        max_leaves=8,
    ).map(orjson.dumps),
    own_key=st.booleans(),
)
def test_any_answer_has_a_meaning(status: int, body: bytes, own_key: bool) -> None:
    """Whatever an upstream writes, judging it does not fail."""
    assert isinstance(judge(HeldAnswer(status, (), body), own_key=own_key).meaning, Meaning)


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (429, {"code": "insufficient_quota"}, "says that the quota is used up"),
        (401, {"code": "invalid_api_key"}, "refuses the key"),
        (
            403,
            {"message": "Access denied due to Virtual Network/Firewall rules"},
            "refuses the key",
        ),
        (403, BLOCKED, "has blocked the whole resource by its policy"),
        (404, {"code": "DeploymentNotFound"}, "has no such deployment"),
    ],
)
def test_what_the_operator_is_told(status: int, error: object, reason: str) -> None:
    """What only they can mend has a reason in their words."""
    judgement = judge(HeldAnswer(status, (), orjson.dumps({"error": error})), own_key=False)
    assert judgement == Judgement(ELSEWHERE, reason)


@pytest.mark.parametrize("status", [429, 503])
def test_when_to_come_back(status: int) -> None:
    """What the upstream asks for stands in the judgement; the words of an error only where it throttles."""
    message = orjson.dumps({"error": {"message": "Please retry after 22 seconds."}})
    told = HeldAnswer(status, ((b"retry-after", b"7"),), message)
    assert judge(told, own_key=False).retry_after == 7.0
    said = judge(HeldAnswer(status, (), message), own_key=False).retry_after
    assert said == (22.0 if status == 429 else None)
    assert (
        judge(HeldAnswer(status, (), b'{"error":{"message":1}}'), own_key=True).retry_after is None
    )
