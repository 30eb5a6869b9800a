"""Faults: how they are asked for, whom they strike, what they answer."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from gptproxy.sandbox.fault_answers import fault_reply
from gptproxy.sandbox.faults import FAULTS, ROLES, Fault, FaultBook, parse_faults, word_fault
from gptproxy.sandbox.messages import Call, EventReply, JsonObject, sse
from gptproxy.sandbox.staging import Ending, stage

CHAT = "/openai/deployments/gpt-4/chat/completions?api-version=2024-10-21"
TARGETS = {"openai": "/v1/chat/completions", "gitlab": "/api/v4/user"}
RESPONSE = b'{"model":"gpt-4","input":"hi","stream":true}'
KEYS = (
    ("authorization", "Bearer sk-sandbox-openai"),
    ("private-token", "glpat-sandbox-alice"),
)


def _call(role: str, stream: bool = True, target: str | None = None) -> Call:
    request = {
        "model": "gpt-4",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": stream,
    }
    key = "azure-key-secondary" if role == "azure_secondary" else "azure-key-primary"
    return Call(
        role,
        "GET" if role == "gitlab" else "POST",
        target or TARGETS.get(role, CHAT),
        query={"api-version": ("2024-10-21",)},
        headers=(*KEYS, ("api-key", key)),
        body=json.dumps(request).encode(),
        now=1000.0,
    )


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (5, "JSON object"),
        ([{"role": "nobody", "fault": "hang"}], "not a role"),
        ([{"role": "openai"}], "not a fault of openai"),
        ([{"role": "openai", "fault": "async_filter_stream"}], "not a fault of openai"),
        ([{"role": "gitlab", "fault": "content_filter"}], "not a fault of gitlab"),
        ([{"role": "openai", "fault": "hang", "tmies": 1}], "not a key"),
        ([{"role": "openai", "fault": "hang", "times": "1"}], "cannot be a str"),
        ([{"role": "openai", "fault": "hang", "times": True}], "cannot be a bool"),
        ([{"role": "openai", "fault": "hang", "times": -1}], "negative"),
        ([{"role": "openai", "fault": "split_bytes", "size": 0}], "begins at 1"),
        ([{"role": "openai", "fault": "status", "status": 99}], "200 to 599"),
        ([{"role": "openai", "fault": "status", "headers": ["a"]}], "pairs"),
        ([{"role": "openai", "fault": "status", "headers": [["a", 1]]}], "pairs"),
    ],
)
def test_a_fault_that_is_none_is_named(value: object, match: str) -> None:
    """A typing error in a test must not pass for a fault that never came."""
    with pytest.raises(ValueError, match=match):
        parse_faults(value)


def test_faults_strike_as_often_as_wanted_in_order() -> None:
    """Counted by role and route; None lasts until cleared; zero never strikes."""
    book = FaultBook()
    book.add(
        parse_faults(
            [
                {"role": "openai", "fault": "status_429", "times": 2, "route": "/embeddings"},
                {"role": "openai", "fault": "hang", "times": 0},
                {"role": "openai", "fault": "status_500", "times": None},
            ]
        )
    )
    names = []
    for path in ("/v1/embeddings", "/v1/models", "/v1/embeddings", "/v1/embeddings"):
        fault = book.take("openai", path)
        names.append(fault.fault if fault is not None else None)
    assert names == ["status_429", "status_500", "status_429", "status_500"]
    assert book.take("azure", "/v1/embeddings") is None
    assert [entry["fault"] for entry in book.listed()] == ["status_500"]
    book.clear()
    assert book.take("openai", "/v1/models") is None
    with pytest.raises(ValueError, match="waiting"):
        book.add([Fault("openai", "hang")] * 1001)


@pytest.mark.parametrize(
    ("role", "text", "fault"),
    [
        ("azure", "hi sandbox:content-filter", "content_filter"),
        ("openai", "hi sandbox:content-filter", None),
        ("openai", "hi sandbox:429 please", "status_429"),
        ("azure", "hi sandbox:slow", "slow_events"),
        ("azure_secondary", "hi sandbox:500", None),
        ("azure_secondary", "hi sandbox:500-everywhere", "status_500"),
        ("azure", "hi sandbox:nothing", None),
        ("azure", "hi", None),
    ],
)
def test_words_for_people(role: str, text: str, fault: str | None) -> None:
    """The secondary keeps well unless everywhere is meant, so that the switch can be seen."""
    for request in ({"messages": [{"role": "user", "content": text}]}, {"prompt": text}):
        found = word_fault(_call(role), request)
        assert (found.fault if found is not None else None) == fault


ERRORS: dict[tuple[str, str], tuple[int, str | None]] = {
    ("openai", "status_401"): (401, "invalid_api_key"),
    ("openai", "status_403_blocked_resource"): (403, "unsupported_country_region_territory"),
    ("openai", "status_429"): (429, "rate_limit_exceeded"),
    ("openai", "quota_exhausted"): (429, "insufficient_quota"),
    ("openai", "status_500"): (500, None),
    ("openai", "status_503"): (503, "server_is_overloaded"),
    ("openai", "content_filter"): (400, "content_policy_violation"),
    ("openai", "deployment_not_found"): (404, "model_not_found"),
    ("azure", "status_401"): (401, "401"),
    ("azure", "status_403_blocked_resource"): (403, "Forbidden"),
    ("azure", "status_429"): (429, "429"),
    ("azure", "quota_exhausted"): (429, "insufficient_quota"),
    ("azure", "status_500"): (500, "InternalServerError"),
    ("azure", "status_503"): (503, "ServiceUnavailable"),
    ("azure", "content_filter"): (400, "content_filter"),
    ("azure", "deployment_not_found"): (404, "DeploymentNotFound"),
    ("azure_secondary", "timeout_408"): (408, "Timeout"),
}


@pytest.mark.parametrize(("role", "fault"), ERRORS)
def test_errors_have_the_form_of_their_service(role: str, fault: str) -> None:
    """The status and the code that a gateway decides by."""
    reply = fault_reply(Fault(role, fault), _call(role))
    assert reply is not None
    body = json.loads(reply.body)
    assert (reply.status, body["error"]["code"]) == ERRORS[role, fault]


@pytest.mark.parametrize("role", ["openai", "azure"])
@pytest.mark.parametrize("fault", ["status_429", "status_503"])
def test_when_to_come_again(role: str, fault: str) -> None:
    """Whole seconds, rounded up, and milliseconds; or nothing, as Azure often has it."""
    reply = fault_reply(Fault(role, fault, retry_after=1.5), _call(role))
    assert reply is not None
    headers = dict(reply.headers)
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")
    silent = fault_reply(Fault(role, fault, retry_after=None), _call(role))
    assert silent is not None
    assert "retry-after" not in dict(silent.headers)


def test_azure_names_the_operation_that_is_throttled() -> None:
    """The message is the one that gateways have learnt to parse."""
    for target, name in [(CHAT, "ChatCompletions_Create"), ("/openai/x", "Completions_Create")]:
        reply = fault_reply(Fault("azure", "status_429"), _call("azure", target=target))
        assert reply is not None
        assert name in json.loads(reply.body)["error"]["message"]


def test_a_blocked_image_has_a_body_of_its_own() -> None:
    """Images report the filter in another form."""
    target = "/openai/deployments/gpt-4o/images/generations"
    reply = fault_reply(Fault("azure", "content_filter"), _call("azure", target=target))
    assert reply is not None
    assert json.loads(reply.body)["error"]["code"] == "contentFilter"


@pytest.mark.parametrize(
    ("fault", "status", "kind", "start"),
    [
        ("status_401", 401, "application/json", b'{"message":"401'),
        ("status_429", 429, "text/plain", b"Retry later"),
        ("status_500", 500, "application/json", b'{"message":"500'),
        ("status_503", 503, "application/json", b'{"message":"503'),
        ("html_502", 502, "text/html; charset=utf-8", b"<!DOCTYPE"),
        ("html_200", 200, "text/html; charset=utf-8", b"<!DOCTYPE"),
        ("garbage_200", 200, "application/json", b"["),
        ("redirect_302", 302, "text/html", b""),
    ],
)
def test_gitlab_in_trouble(fault: str, status: int, kind: str, start: bytes) -> None:
    """Pages, plain text and nonsense, none of which is a verdict on a token."""
    reply = fault_reply(Fault("gitlab", fault), _call("gitlab"))
    assert reply is not None
    headers = dict(reply.headers)
    assert (reply.status, headers["Content-Type"]) == (status, kind)
    assert reply.body.startswith(start)
    if fault == "status_429":
        assert headers["Retry-After"] == "1"
        assert headers["RateLimit-Reset"] == "1001"
        silent = fault_reply(Fault("gitlab", fault, retry_after=None), _call("gitlab"))
        assert silent is not None
        assert "Retry-After" not in dict(silent.headers)


def test_any_status_can_be_had() -> None:
    """With a body, a type and fields of one's own."""
    asked: JsonObject = {"role": "azure", "fault": "status", "status": 418}
    text = {**asked, "body": "tea", "content_type": "text/plain", "headers": [["x-pot", "1"]]}
    for entry, body in [(text, b"tea"), ({**asked, "body": {"a": 1}}, b'{"a":1}')]:
        reply = fault_reply(parse_faults(entry)[0], _call("azure"))
        assert reply is not None
        assert (reply.status, reply.body) == (418, body)
    assert "tea" not in repr(parse_faults(text)[0])


@pytest.mark.parametrize(("role", "fault"), [(r, f) for r in ROLES for f in sorted(FAULTS[r])])
@pytest.mark.parametrize("stream", [True, False])
def test_every_fault_changes_what_is_sent(role: str, fault: str, stream: bool) -> None:
    """A name without an effect would let a test pass for nothing."""
    call = _call(role, stream)
    usual, struck = stage(call, None), stage(call, Fault(role, fault))

    def seen(staging: object) -> object:
        pieces = tuple(getattr(staging, "pieces", ()))
        return (staging, pieces[:50], len(pieces))

    # A filter that strikes in a stream has no other form for a body, and the reverse.
    if fault == "slow_answer":
        assert struck.first_delay == 0.2
    elif fault == "async_filter_stream" and not stream:
        assert seen(usual) == seen(struck)
    else:
        assert seen(usual) != seen(struck)


def test_streams_break_where_they_are_told_to() -> None:
    """So many events, then the cut, the silence or the error; halfway where nothing is said."""
    call = _call("openai")
    usual = list(stage(call, None).pieces)
    for name, ending in [("cut_stream", Ending.CUT), ("hang_after_events", Ending.HANG)]:
        struck = stage(call, Fault("openai", name, after_events=3))
        assert (list(struck.pieces), struck.ending) == (usual[:3], ending)
        assert len(list(stage(call, Fault("openai", name)).pieces)) == len(usual) // 2
    error = list(stage(call, Fault("openai", "error_event_in_stream", after_events=1)).pieces)
    assert error[0] == usual[0]
    assert b'"error"' in error[1]
    assert len(error) == 2


def test_an_error_in_a_stream_has_its_form_and_the_test_s_words() -> None:
    """A chunk in a chat, an event of its own in a response."""
    error = {"code": "invalid_prompt", "message": "no"}
    fault = Fault("openai", "error_event_in_stream", after_events=1, body=error)
    assert list(stage(_call("openai"), fault).pieces)[-1] == sse({"error": error})
    call = evolve(_call("openai", target="/v1/responses"), body=RESPONSE)
    name, data = list(stage(call, fault).pieces)[-1].split(b"\n")[:2]
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: ")) == {
        "type": "error",
        "sequence_number": 1,
        "error": error,
    }


def test_bodies_break_too() -> None:
    """An answer without events is cut in its middle, though its length was promised."""
    call = _call("openai", stream=False)
    for name, ending in [("cut_stream", Ending.CUT), ("hang_after_events", Ending.HANG)]:
        struck = stage(call, Fault("openai", name))
        assert struck.ending is ending
        assert sum(map(len, struck.pieces)) == (struck.length or 0) // 2
    error = stage(call, Fault("openai", "error_event_in_stream"))
    assert error.status == 500


def test_bytes_can_be_split() -> None:
    """The same bytes in pieces of any size."""
    for stream in (True, False):
        call = _call("azure", stream)
        split = list(stage(call, Fault("azure", "split_bytes", size=3)).pieces)
        assert b"".join(split) == b"".join(stage(call, None).pieces)
        assert {len(piece) for piece in split[:-1]} == {3}


def test_a_huge_stream_is_as_long_as_wanted() -> None:
    """Megabytes, made one by one."""
    for stream in (True, False):
        staging = stage(_call("openai", stream), Fault("openai", "huge_stream", megabytes=2))
        assert 2 * 2**20 <= sum(map(len, staging.pieces)) < 2.2 * 2**20
        assert staging.length is None


def test_a_filtered_answer_of_openai_has_no_results() -> None:
    """Other servers than Azure may end with content_filter, without its details."""
    for stream in (True, False):
        staging = stage(_call("openai", stream), Fault("openai", "filtered_output"))
        body = b"".join(staging.pieces)
        assert b"content_filter" in body
        assert b"content_filter_results" not in body


def test_the_filter_of_streams_passes_text_first_where_told() -> None:
    """``after_events`` counts chunks with text; without it nothing passes."""
    for after, wanted in [(None, False), (2, True)]:
        staging = stage(_call("azure"), Fault("azure", "filtered_stream", after_events=after))
        body = b"".join(staging.pieces)
        assert (b'{"content":"This"}' in body) is wanted
        assert b'"finish_reason":"content_filter"' in body


def test_replies_know_their_kind() -> None:
    """A reset after the head comes after either kind of head."""
    assert EventReply((), ()).events == ()
    for stream in (True, False):
        staging = stage(_call("openai", stream), Fault("openai", "reset_after_head"))
        assert staging.status == 200
        assert (staging.length is None) is stream
