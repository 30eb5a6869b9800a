"""What an answer says for itself: one row for each shape that Azure and OpenAI send."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.upstream.filtering import (
    EXACT_BYTES,
    KINDS,
    Kind,
    Sign,
    is_intercepted,
    is_interception,
    sign_of,
)
from gptproxy.wire import ServerSentEvent

SAFE = {"hate": {"filtered": False, "severity": "safe"}}
HIT = {"violence": {"filtered": True, "severity": "medium"}}
NOT_RUN = {"error": {"code": "content_filter_error", "message": "The contents are not filtered"}}


def answer(*choices: object, **more: object) -> dict[str, object]:
    return {"id": "c1", "choices": list(choices), **more}


def ended(reason: str, **more: object) -> dict[str, object]:
    return {"index": 0, "finish_reason": reason, "content_filter_results": SAFE, **more}


def response(**more: object) -> dict[str, object]:
    return {"object": "response", "status": "completed", "error": None, "output": [], **more}


def filters(blocked: object, source: str = "completion") -> dict[str, object]:
    return {"content_filters": [{"blocked": blocked, "source_type": source}]}


INCOMPLETE = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
LONG = {"b64": "x" * EXACT_BYTES}
MENTIONED = 'finish_reason":"content_filter", "content_filter" "blocked": true'

WHOLE = [
    # (2) non-stream output blocked, in any choice
    (Kind.CHAT, answer(ended("content_filter", content_filter_results=HIT)), True),
    (Kind.CHAT, answer(ended("stop"), ended("content_filter", index=1)), True),
    (Kind.CHAT, answer(ended("content_filter"), **LONG), True),
    (Kind.COMPLETION, answer(ended("content_filter", text="")), True),
    (Kind.CHAT, answer(ended("stop")), False),
    (Kind.CHAT, answer(ended("stop", content_filter_results=HIT)), False),
    (Kind.CHAT, answer(ended("stop", message={"content": MENTIONED})), False),
    (Kind.CHAT, answer(ended("stop", message={"content": MENTIONED}), **LONG), False),
    (Kind.CHAT, answer(ended("stop", message={"content": '"content_filter"'}), **LONG), False),
    (Kind.CHAT, answer(ended("stop"), metadata={"x": "content_filter"}), False),
    (Kind.CHAT, answer(None, 3, "content_filter"), False),
    (Kind.CHAT, {"choices": "content_filter"}, False),
    (Kind.CHAT, ["content_filter"], False),
    # (5) the filter did not run: no interception
    (Kind.CHAT, answer(ended("stop", content_filter_results=NOT_RUN)), False),
    # (7) images: the error in an answer of status 200
    (Kind.IMAGE, {"created": 1, "error": {"code": "contentFilter", "message": "m"}}, True),
    (Kind.IMAGE, {"error": {"code": "content_policy_violation"}}, True),
    (Kind.IMAGE, {"error": {"code": "moderation_blocked"}}, True),
    (Kind.IMAGE, {"error": {"code": "other"}}, False),
    (Kind.IMAGE, {"error": "contentFilter"}, False),
    (Kind.IMAGE, {"data": [{"b64_json": "x", "content_filter_results": SAFE}]}, False),
    (Kind.IMAGE, {"error": {"code": "contentFilter"}, **LONG}, False),
    # (8) the Responses API: prompt or completion blocked, incomplete for that reason
    (Kind.RESPONSE, response(**INCOMPLETE), True),
    (Kind.RESPONSE, response(**INCOMPLETE, **LONG), True),
    (Kind.RESPONSE, response(**filters(True)), True),
    (Kind.RESPONSE, response(**filters(True, "prompt")), True),
    (Kind.RESPONSE, response(status="failed", error={"code": "content_filter"}), True),
    (Kind.RESPONSE, response(**filters(False)), False),
    (Kind.RESPONSE, response(**filters("true")), False),
    (Kind.RESPONSE, response(**filters(False), **LONG), False),
    (Kind.RESPONSE, response(content_filters={"blocked": True}), False),
    (Kind.RESPONSE, response(content_filters=[True], blocked=True), False),
    (Kind.RESPONSE, response(metadata={"reason": "content_filter"}), False),
    (Kind.RESPONSE, response(metadata={"reason": "content_filter"}, **LONG), False),
    (Kind.RESPONSE, response(incomplete_details={"reason": "max_output_tokens"}), False),
    (Kind.RESPONSE, response(incomplete_details="content_filter"), False),
]


@pytest.mark.parametrize(("kind", "content", "intercepted"), WHOLE)
@pytest.mark.parametrize("indented", [False, True])
def test_a_whole_answer(kind: Kind, content: object, intercepted: bool, indented: bool) -> None:
    body = orjson.dumps(content, option=orjson.OPT_INDENT_2 if indented else 0)
    assert is_intercepted(kind, body) is intercepted


def test_a_name_that_ends_like_it_is_another() -> None:
    """A quote with a backslash before it opens no name."""
    body = b'{"x\\"finish_reason":"content_filter", "y":"%b"}' % (b"x" * EXACT_BYTES)
    orjson.loads(body)
    assert not is_intercepted(Kind.CHAT, body)


def test_what_is_met_too_often_is_given_up() -> None:
    """No service writes a thousand choices; looking on would hold up everybody."""
    body = b'[%b"finish_reason":"content_filter"' % (b'"finish_reason",' * 20_000)
    assert not is_intercepted(Kind.CHAT, body)
    assert is_intercepted(Kind.CHAT, body[-500:] + b" " * EXACT_BYTES)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("body", [b'{"content_filter" "error" "blocked":true', b"", b"\xff", b"5"])
def test_what_is_no_json_is_no_interception(kind: Kind, body: bytes) -> None:
    assert not is_intercepted(kind, body)


ERRORS = [
    ({"code": "content_filter"}, True),
    ({"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}}, True),
    ({"inner_error": {"code": "ResponsibleAIPolicyViolation"}}, True),
    ({"type": "content_filter"}, True),
    ({"code": "Forbidden", "message": "may violate our content policy"}, False),
    ({"code": "content_filter_error"}, False),
    ({"code": 5, "inner_error": "ResponsibleAIPolicyViolation"}, False),
    ({}, False),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_an_error_object(error: dict[str, object], expected: bool) -> None:
    assert is_interception(error) is expected


def chunk(*choices: object, **more: object) -> dict[str, object]:
    return {"id": "", "object": "", "created": 0, "model": "", "choices": list(choices), **more}


def delta(finish: str | None = None, /, **parts: object) -> dict[str, object]:
    return {"index": 0, "delta": parts, "finish_reason": finish}


LATE = {"index": 0, "content_filter_results": SAFE, "content_filter_offsets": {"check_offset": 4}}
NOTHING, CONTENT, FILTERED = Sign.NOTHING, Sign.CONTENT, Sign.FILTERED
FAILED, EXHAUSTED = Sign.FAILED, Sign.EXHAUSTED

CHUNKS = [
    # (3) Azure's first chunk, under both names
    (chunk(prompt_filter_results=[{"prompt_index": 0, "content_filter_results": SAFE}]), NOTHING),
    (chunk(prompt_annotations=[{"prompt_index": 0, "content_filter_results": HIT}]), NOTHING),
    (chunk(usage=None), NOTHING),
    (chunk(usage={"prompt_tokens": 1}), NOTHING),
    ({"choices": None}, NOTHING),
    ({}, NOTHING),
    # the role
    (chunk(delta(role="assistant", content="", refusal=None)), NOTHING),
    (chunk(delta(role="assistant", content=None)), NOTHING),
    (chunk(delta()), NOTHING),
    # content of every kind
    (chunk(delta(content="x")), CONTENT),
    (chunk(delta(role="assistant", content="x")), CONTENT),
    (chunk(delta(refusal="no")), CONTENT),
    (chunk(delta(tool_calls=[{"index": 0, "id": "call_1"}])), CONTENT),
    (chunk(delta(function_call={"name": "f"})), CONTENT),
    (chunk(delta(audio={"id": "a"})), CONTENT),
    (chunk(delta(reasoning_content="hm")), CONTENT),
    (chunk(delta(something_new=[1])), CONTENT),
    (chunk(delta(content=""), delta(content="x")), CONTENT),
    # the filter
    (chunk(delta("content_filter")), FILTERED),
    (chunk(delta(None), delta("content_filter")), FILTERED),
    (chunk(delta("content_filter", content="partial")), FILTERED),
    (chunk(delta(content="x"), delta("content_filter")), FILTERED),
    # (4) the asynchronous filter: no delta; its verdict comes in the same form
    (chunk({**LATE, "finish_reason": None}), NOTHING),
    (chunk({**LATE, "finish_reason": "content_filter"}), FILTERED),
    # (5) the filter did not run; filtered: false
    (chunk({**delta(), "content_filter_results": NOT_RUN}), NOTHING),
    (chunk({**delta(content="x"), "content_filter_result": NOT_RUN}), CONTENT),
    # an end without content
    (chunk(delta("stop")), NOTHING),
    (chunk(None, 4, {"index": 0, "delta": "x"}), NOTHING),
    # in-band errors
    ({"error": {"code": "server_error", "message": "m"}}, FAILED),
    ({"error": {"type": "rate_limit_exceeded"}}, FAILED),
    ({"error": {"code": 500}}, FAILED),
    ({"error": "something"}, FAILED),
    ({"error": {"code": "content_filter"}}, FILTERED),
    ({"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, FILTERED),
    ({"error": {"code": "insufficient_quota"}}, EXHAUSTED),
    ({"error": {"code": None, "type": "insufficient_quota"}}, EXHAUSTED),
    ({"error": {"code": "context_length_exceeded"}}, CONTENT),
    ({"error": {"code": None, "type": "invalid_request_error"}}, CONTENT),
    ({"type": "error", "code": "server_error"}, FAILED),
    ({"error": None, "choices": []}, NOTHING),
    # what cannot be read
    ([], CONTENT),
    (5, CONTENT),
]


@pytest.mark.parametrize(("content", "sign"), CHUNKS)
def test_a_chunk_of_a_chat(content: object, sign: Sign) -> None:
    assert sign_of(Kind.CHAT, ServerSentEvent(b"message", orjson.dumps(content))) is sign


@pytest.mark.parametrize("data", [b"[DONE]", b"{", b"\xff\xff", b""])
def test_an_end_and_what_is_no_json_end_the_waiting(data: bytes) -> None:
    for kind in Kind:
        assert sign_of(kind, ServerSentEvent(b"message", data)) is CONTENT


TEXTS = [
    (chunk({"index": 0, "text": "", "finish_reason": None}), NOTHING),
    (chunk({"index": 0, "text": "x", "finish_reason": None}), CONTENT),
    (chunk({"index": 0, "text": "", "finish_reason": "content_filter"}), FILTERED),
    (chunk(), NOTHING),
]


@pytest.mark.parametrize(("content", "sign"), TEXTS)
def test_a_chunk_of_a_completion(content: object, sign: Sign) -> None:
    assert sign_of(Kind.COMPLETION, ServerSentEvent(b"message", orjson.dumps(content))) is sign


def begun(**more: object) -> dict[str, object]:
    return {"response": response(status="in_progress", incomplete_details=None, **more)}


RESPONSES: list[tuple[str, dict[str, object], Sign]] = [
    ("response.created", begun(), NOTHING),
    ("response.created", begun(**filters(False, "prompt")), NOTHING),
    ("response.created", begun(**filters(True, "prompt")), FILTERED),
    ("response.queued", begun(), NOTHING),
    ("response.in_progress", begun(), NOTHING),
    ("keepalive", {"sequence_number": 2}, NOTHING),
    ("response.output_item.added", {"item": {"type": "message", "content": []}}, NOTHING),
    ("response.output_item.added", {"item": {"type": "reasoning"}}, NOTHING),
    ("response.output_item.added", {"item": {"type": "function_call"}}, CONTENT),
    ("response.output_item.added", {"item": {"type": "web_search_call"}}, CONTENT),
    ("response.content_part.added", {"part": {"type": "output_text", "text": ""}}, NOTHING),
    ("response.reasoning_summary_part.added", {"part": {}}, NOTHING),
    ("response.output_text.delta", {"delta": "x"}, CONTENT),
    ("response.refusal.delta", {"delta": "x"}, CONTENT),
    ("response.function_call_arguments.delta", {"delta": "{"}, CONTENT),
    ("response.reasoning_summary_text.delta", {"delta": "x"}, CONTENT),
    ("response.audio.delta", {"delta": "x"}, CONTENT),
    ("response.something.new", {}, CONTENT),
    ("response.completed", {"response": response()}, CONTENT),
    ("response.completed", {"response": response(**filters(True))}, FILTERED),
    ("response.incomplete", {"response": response(**INCOMPLETE)}, FILTERED),
    (
        "response.incomplete",
        {"response": response(incomplete_details={"reason": "max_output_tokens"})},
        CONTENT,
    ),
    ("response.failed", {"response": response(error={"code": "server_error"})}, FAILED),
    ("response.failed", {"response": response(error={"code": "rate_limit_exceeded"})}, FAILED),
    ("response.failed", {"response": response(error={"code": "invalid_prompt"})}, CONTENT),
    ("response.failed", {"response": response(error={"code": "image_too_large"})}, CONTENT),
    ("response.failed", {"response": response(error={"code": "content_filter"})}, FILTERED),
    ("response.failed", {"response": response(error=None)}, FAILED),
    ("error", {"code": "server_error", "message": "m", "param": None}, FAILED),
    ("error", {"error": {"code": "server_error"}}, FAILED),
    ("error", {"code": "invalid_prompt"}, CONTENT),
    ("error", {"code": "content_filter"}, FILTERED),
    ("error", {"error": {"code": "insufficient_quota"}}, EXHAUSTED),
]


@pytest.mark.parametrize(("name", "content", "sign"), RESPONSES)
def test_an_event_of_the_responses_api(name: str, content: dict[str, object], sign: Sign) -> None:
    """By the type in its data, and by its event's name where the data has none."""
    typed = orjson.dumps({"type": name, **content})
    assert sign_of(Kind.RESPONSE, ServerSentEvent(b"message", typed)) is sign
    assert sign_of(Kind.RESPONSE, ServerSentEvent(name.encode(), orjson.dumps(content))) is sign


IMAGES = [
    ({"type": "image_generation.partial_image", "b64_json": "x"}, CONTENT),
    ({"type": "error", "error": {"code": "moderation_blocked"}}, FILTERED),
    ({"type": "error", "code": "server_error"}, FAILED),
]


@pytest.mark.parametrize(("content", "sign"), IMAGES)
def test_an_event_of_an_image(content: dict[str, object], sign: Sign) -> None:
    assert sign_of(Kind.IMAGE, ServerSentEvent(b"message", orjson.dumps(content))) is sign


def test_embeddings_and_sound_are_not_looked_at() -> None:
    assert not {"/embeddings", "/audio/speech", "/audio/transcriptions", "/models"} & set(KINDS)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["content_filter", "x", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "error", "code", "type", "response", "item", "finish_reason"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(json_values, st.sampled_from(list(Kind)))
def test_nothing_that_an_upstream_says_makes_it_fail(value: object, kind: Kind) -> None:
    data = orjson.dumps(value)
    sign_of(kind, ServerSentEvent(b"message", data))
    is_intercepted(kind, data)
