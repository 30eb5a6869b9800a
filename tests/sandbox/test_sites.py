"""What each stand-in answers to good and bad calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gptproxy.sandbox.azure_site import azure_answer
from gptproxy.sandbox.faults import Fault
from gptproxy.sandbox.messages import Call, EventReply, Headers, JsonObject, Reply
from gptproxy.sandbox.openai_site import openai_answer

HI: JsonObject = {"messages": [{"role": "user", "content": "hi"}]}
OPENAI: Headers = (("authorization", "Bearer sk-sandbox-openai"),)
AZURE: Headers = (("api-key", "azure-key-primary"),)
JSON: Headers = (("content-type", "application/json"),)


def _call(role: str, method: str, target: str, body: Any = None, headers: Headers = ()) -> Call:
    query = target.partition("?")[2]
    pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
    names = {name: tuple(v for n, v in pairs if n == name) for name, _ in pairs}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(role, method, target, names, headers, data if body is not None else b"", 1, 1e9)


def _openai(method: str, target: str, body: Any = None, headers: Headers = OPENAI) -> Reply:
    reply = openai_answer(_call("openai", method, target, body, headers))
    assert isinstance(reply, Reply)
    return reply


def _azure(method: str, target: str, body: Any = None, headers: Headers = AZURE) -> Reply:
    reply = azure_answer(_call("azure", method, target, body, headers))
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("chat/completions", {"model": "gpt-4o", **HI}, "chat.completion"),
        ("completions", {"model": "gpt-3.5-turbo", "prompt": "hi"}, "text_completion"),
        ("embeddings", {"model": "text-embedding-3-large", "input": "hi"}, "embedding"),
        ("moderations", {"input": "hi"}, "omni-moderation"),
        ("moderations", {"input": ["hi", "you"]}, "omni-moderation"),
        ("images/generations", {"prompt": "a cat"}, "b64_json"),
    ],
)
def test_openai_does_what_it_can(path: str, body: JsonObject, wanted: str) -> None:
    """Every operation answers 200 in its shape."""
    reply = _openai("POST", f"/v1/{path}", body)
    assert reply.status == 200
    assert wanted in reply.body.decode()
    assert dict(reply.headers)["openai-version"] == "2020-10-01"


def test_openai_sends_what_a_gateway_must_drop() -> None:
    """Cookies, server and alternative service of the content network are there to be dropped."""
    names = {name.lower() for name, _ in _openai("GET", "/v1/models").headers}
    assert {"set-cookie", "server", "alt-svc", "x-request-id", "openai-processing-ms"} <= names
    assert {"x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests"} <= names


def test_streams_are_event_streams() -> None:
    """``stream: true`` is decided by the body."""
    body = {"model": "gpt-4", "stream": True, **HI}
    openai = openai_answer(_call("openai", "POST", "/v1/chat/completions", body, OPENAI))
    target = "/openai/deployments/gpt-4/chat/completions?api-version=2024-10-21"
    azure = azure_answer(_call("azure", "POST", target, body, AZURE))
    for reply in (openai, azure):
        assert isinstance(reply, EventReply)
        assert dict(reply.headers)["Content-Type"] == "text/event-stream; charset=utf-8"
        assert reply.events[-1] == b"data: [DONE]\n\n"
    assert isinstance(azure, EventReply)
    assert b"prompt_filter_results" in azure.events[0]
    assert b"obfuscation" not in b"".join(azure.events)


def test_models_are_listed_and_found() -> None:
    """By name, percent-encoded or not; HEAD is a GET."""
    listed = json.loads(_openai("GET", "/v1/models").body)
    assert "text-embedding-ada-002" in [model["id"] for model in listed["data"]]
    assert json.loads(_openai("GET", "/v1/models/gpt%2D4").body)["id"] == "gpt-4"
    assert _openai("HEAD", "/v1/models").status == 200
    assert json.loads(_openai("GET", "/v1/models/x").body)["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("site", [(_openai, "/v1"), (_azure, "/openai/v1")])
def test_speech_is_bytes(site: Any) -> None:
    """Every byte from 0 to 255 is in it."""
    answer, base = site
    body = {"model": "gpt-4o", "input": "hi"}
    reply = answer("POST", f"{base}/audio/speech", body)
    assert dict(reply.headers)["Content-Type"] == "audio/mpeg"
    assert set(reply.body) == set(range(256))
    assert answer("POST", f"{base}/audio/speech", {"model": "gpt-4o"}).status == 400


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n\x00\r\n\xff--b\r\n--b--\r\n"
)


def _form(boundary: str) -> Headers:
    return (("content-type", f"multipart/form-data; boundary={boundary}"),)


@pytest.mark.parametrize("boundary", ["b", '"b"'])
@pytest.mark.parametrize(
    ("answer", "target", "key"),
    [(_openai, "/v1/files", OPENAI), (_azure, "/openai/v1/files", AZURE)],
)
def test_files_are_taken_and_measured(
    boundary: str, answer: Any, target: str, key: Headers
) -> None:
    """The size is that of the content between the boundaries, to the byte."""
    reply = answer("POST", target, FORM, (*key, *_form(boundary)))
    file = json.loads(reply.body)
    assert (file["object"], file["bytes"], file["filename"]) == ("file", 7, "a.bin")
    assert file["purpose"] == "assistants"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", JSON),
        (FORM, ()),
        (FORM[:-8], _form("b")),
        (FORM, _form("c")),
        (FORM.replace(b"purpose", b"porpoise"), _form("b")),
        (FORM, (("content-type", "text/plain; boundary=b"),)),
    ],
)
def test_broken_uploads_are_refused(body: bytes, kind: Headers) -> None:
    """Missing parts, missing ends, other types: 400."""
    assert _openai("POST", "/v1/files", body, (*OPENAI, *kind)).status == 400


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, None),
        ("GET", "/", None, 404, None),
        ("POST", "/v1/chat/completions/", HI, 404, None),
        ("GET", "/v1/chat/completions", None, 405, "method_not_supported"),
        ("POST", "/v1/models", HI, 405, "method_not_supported"),
        ("POST", "/v1/chat/completions", HI, 400, None),
        ("POST", "/v1/chat/completions", {"model": "x", **HI}, 404, "model_not_found"),
        ("POST", "/v1/chat/completions", {"model": 5, **HI}, 404, "model_not_found"),
        ("POST", "/v1/chat/completions", {"model": "text-embedding-ada-002", **HI}, 404, None),
        ("POST", "/v1/completions", {"model": "gpt-4", "prompt": "a"}, 404, None),
        ("POST", "/v1/embeddings", {"model": "gpt-4", "input": "a"}, 403, None),
        ("POST", "/v1/chat/completions", b"{", 400, None),
        ("POST", "/v1/moderations", {"input": 5}, 400, "invalid_type"),
        ("POST", "/v1/images/generations", {}, 400, "missing_required_parameter"),
    ],
)
def test_openai_refuses_in_its_form(
    method: str, target: str, body: Any, status: int, code: str | None
) -> None:
    """All four keys, the right status, the right code."""
    reply = _openai(method, target, body)
    error = json.loads(reply.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (reply.status, error["code"]) == (status, code)


@pytest.mark.parametrize("key", ["", "short", "sk-sandbox-openai-but-longer"])
def test_openai_wants_its_key(key: str) -> None:
    """401 with ``invalid_api_key``; the message shows the ends of a long key only."""
    headers: Headers = (("authorization", f"Bearer {key}"),)
    reply = _openai("GET", "/v1/models", headers=headers if key else ())
    error = json.loads(reply.body)["error"]
    assert reply.status == 401
    assert error["code"] == ("invalid_api_key" if key else None)
    assert not key or key not in error["message"]


DEPLOYED = "/openai/deployments"
VERSION = "api-version=2024-10-21"


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (f"{DEPLOYED}/gpt-4/chat/completions?{VERSION}", HI),
        (f"{DEPLOYED}/gpt-35-turbo/completions?{VERSION}", {"prompt": "a"}),
        (f"{DEPLOYED}/text-embedding-ada-002/embeddings?{VERSION}", {"input": "a"}),
        (f"{DEPLOYED}/gpt-4o/images/generations?{VERSION}", {"prompt": "a"}),
        ("/openai/v1/chat/completions", {"model": "gpt-4", **HI}),
        ("/openai/v1/chat/completions?api-version=preview", {"model": "gpt-4", **HI}),
        ("/openai/v1/embeddings", {"model": "text-embedding-ada-002", "input": "a"}),
    ],
)
def test_azure_does_what_it_can(target: str, body: JsonObject) -> None:
    """Classic addresses name the deployment and a version; v1 names it in the body."""
    reply = _azure("POST", target, body)
    assert reply.status == 200
    names = dict(reply.headers)
    assert {"apim-request-id", "x-ms-region", "x-request-id", "Set-Cookie"} <= set(names)
    assert names["x-ratelimit-reset-requests"].isdigit()
    if "chat" in target:
        assert "prompt_filter_results" in json.loads(reply.body)


def test_azure_lists_base_models() -> None:
    """Not its deployments."""
    for target in (f"/openai/models?{VERSION}", "/openai/v1/models"):
        listed = json.loads(_azure("GET", target).body)["data"]
        assert "o3-mini" in [model["id"] for model in listed]


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "code"),
    [
        ("POST", f"{DEPLOYED}/nope/chat/completions?{VERSION}", HI, 404, "DeploymentNotFound"),
        ("POST", "/openai/v1/chat/completions", {"model": 5}, 404, "DeploymentNotFound"),
        ("POST", f"{DEPLOYED}/gpt-4/chat/completions", HI, 404, "404"),
        ("POST", f"{DEPLOYED}/gpt-4/chat/completions?api-version=x", HI, 404, "404"),
        ("POST", f"{DEPLOYED}/gpt-4/c?{VERSION}&{VERSION}", HI, 404, "404"),
        ("POST", f"{DEPLOYED}?{VERSION}", HI, 404, "404"),
        ("GET", f"{DEPLOYED}/gpt-4/chat/completions?{VERSION}", None, 404, "404"),
        ("POST", f"/openai/chat/completions?{VERSION}", HI, 404, "404"),
        ("POST", "/v1/chat/completions", HI, 404, "404"),
        ("POST", "/openai/v1/chat/completions?api-version=2023-05-15", HI, 400, "BadRequest"),
        ("POST", f"{DEPLOYED}/gpt-4/embeddings?{VERSION}", HI, 400, "OperationNotSupported"),
        ("POST", f"{DEPLOYED}/gpt-4/chat/completions?{VERSION}", b"{", 400, None),
    ],
)
def test_azure_refuses_in_its_form(
    method: str, target: str, body: Any, status: int, code: str | None
) -> None:
    """Its front end has codes and messages; its models have OpenAI's form."""
    reply = _azure(method, target, body)
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("role", "target", "headers", "status"),
    [
        ("azure", f"/openai/models?{VERSION}", (("api-key", "azure-key-secondary"),), 401),
        ("azure", f"/openai/models?{VERSION}", (*AZURE, *AZURE), 401),
        ("azure", f"/openai/models?{VERSION}", (), 401),
        ("azure_secondary", "/openai/v1/models", (("api-key", "azure-key-secondary"),), 200),
        ("azure", "/openai/v1/models", (("authorization", "Bearer azure-key-primary"),), 200),
        (
            "azure",
            f"/openai/models?{VERSION}",
            (("authorization", "Bearer azure-key-primary"),),
            401,
        ),
    ],
)
def test_each_resource_has_its_key(role: str, target: str, headers: Headers, status: int) -> None:
    """In api-key, once; below v1 as a bearer too."""
    reply = azure_answer(_call(role, "GET", target, None, headers))
    assert isinstance(reply, Reply)
    assert reply.status == status


def test_azure_takes_ten_custom_headers() -> None:
    """An eleventh is 431, which a gateway learns here and not in production."""
    custom = tuple((f"x-custom-{number}", "1") for number in range(11))
    assert _azure("GET", "/openai/v1/models", None, (*AZURE, *custom[:10])).status == 200
    assert _azure("GET", "/openai/v1/models", None, (*AZURE, *custom)).status == 431


def test_stream_options_are_newer_than_old_versions() -> None:
    """Azure knows them since 2024-09-01-preview; older versions speak of prompt_annotations."""
    body = {"stream": True, "stream_options": {"include_usage": True}, **HI}
    target = f"{DEPLOYED}/gpt-4/chat/completions?api-version="
    for version, known in [("2023-05-15", False), ("2024-09-01-preview", True)]:
        reply = azure_answer(_call("azure", "POST", target + version, body, AZURE))
        assert isinstance(reply, EventReply) is known
    old = _call("azure", "POST", target + "2023-05-15", {"stream": True, **HI}, AZURE)
    events = azure_answer(old)
    assert isinstance(events, EventReply)
    assert b"prompt_annotations" in events.events[0]


def test_the_filter_that_fails_is_told_on_a_200() -> None:
    """In bodies and in streams."""
    target = f"{DEPLOYED}/gpt-4/chat/completions?{VERSION}"
    fault = Fault("azure", "content_filter_error_200")
    body = azure_answer(_call("azure", "POST", target, HI, AZURE), fault)
    assert isinstance(body, Reply)
    assert b"content_filter_error" in body.body
    stream = azure_answer(_call("azure", "POST", target, {"stream": True, **HI}, AZURE), fault)
    assert isinstance(stream, EventReply)
    assert b"content_filter_error" in stream.events[0]


def test_the_asynchronous_filter_has_its_choice() -> None:
    """With a violation or without, after so many chunks of text."""
    target = f"{DEPLOYED}/gpt-4/chat/completions?{VERSION}"
    call = _call("azure", "POST", target, {"stream": True, **HI}, AZURE)
    bad = azure_answer(call, Fault("azure", "async_filter_stream", after_events=2))
    good = azure_answer(call, Fault("azure", "async_filter_stream", filtered=False))
    assert isinstance(bad, EventReply)
    assert isinstance(good, EventReply)
    assert b'"finish_reason":"content_filter"' in bad.events[-2]
    assert b'"finish_reason":"content_filter"' not in b"".join(good.events)


RESPONSES = {"model": "gpt-4", "input": "hi"}


def _events(role: str, fault: Fault | None = None, **more: object) -> list[JsonObject]:
    body = {**RESPONSES, "stream": True, **more}
    if role == "openai":
        reply = openai_answer(_call(role, "POST", "/v1/responses", body, OPENAI), fault)
    else:
        target = "/openai/v1/responses"
        reply = azure_answer(_call(role, "POST", target, body, AZURE), fault)
    assert isinstance(reply, EventReply)
    events = []
    for raw in reply.events:
        name, data = raw.decode().removesuffix("\n\n").split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


@pytest.mark.parametrize("role", ["openai", "azure"])
def test_a_response_streams_under_its_events_names(role: str) -> None:
    """From ``response.created`` to ``response.completed``, whose text is that of the deltas."""
    events = _events(role, input=[{"role": "user", "content": "hi"}, {"type": "reasoning"}])
    said = "".join(event.get("delta", "") for event in events)
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    response = events[-1]["response"]
    assert response["output"][0]["content"][0]["text"] == said != ""
    assert response["usage"]["output_tokens"] > 0
    assert ("content_filters" in response) is (role == "azure")


@pytest.mark.parametrize("contents", [0, 2])
def test_a_response_can_be_filtered_or_fail_after_so_many_deltas(contents: int) -> None:
    """Incomplete for the filter's sake, or failed with an error of the test's choice."""
    fault = Fault("azure", "filtered_stream", after_events=contents)
    events = _events("azure", fault)
    assert sum("delta" in event for event in events) == contents
    assert events[-1]["response"]["incomplete_details"] == {"reason": "content_filter"}
    assert events[-1]["response"]["content_filters"][0]["blocked"] is True
    error = {"code": "invalid_prompt", "message": "no"}
    events = _events(
        "openai", Fault("openai", "response_failed", after_events=contents, body=error)
    )
    assert sum("delta" in event for event in events) == contents
    assert (events[-1]["type"], events[-1]["response"]["error"]) == ("response.failed", error)


def test_a_response_that_is_no_stream() -> None:
    """The same object at once; Azure's classic address has no deployment in it."""
    whole = json.loads(_openai("POST", "/v1/responses", RESPONSES).body)
    assert (whole["object"], whole["status"]) == ("response", "completed")
    target = "/openai/responses?api-version=2025-04-01-preview"
    assert _azure("POST", target, RESPONSES).status == 200
    reply = azure_answer(
        _call("azure", "POST", target, RESPONSES, AZURE), Fault("azure", "filtered_output")
    )
    assert isinstance(reply, Reply)
    assert json.loads(reply.body)["incomplete_details"] == {"reason": "content_filter"}
    assert _openai("POST", "/v1/responses", {"model": "gpt-4"}).status == 400
