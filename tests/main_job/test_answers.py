"""What the official client gets through the gateway when all is well."""

from __future__ import annotations

import json

import openai
import pytest

from .processes import TOKEN, Daemon, Sandbox

MESSAGES = [{"role": "user", "content": "Tell me about otters."}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a town.",
        "parameters": {"type": "object", "properties": {"town": {"type": "string"}}},
    },
}


@pytest.mark.parametrize("model", ["gpt-4", "gpt-4o"])
def test_a_chat_completion_is_answered_by_azure_and_by_openai(daemon: Daemon, model: str) -> None:
    answer = daemon.client().chat.completions.create(model=model, messages=MESSAGES)
    assert "otters" in answer.choices[0].message.content
    assert answer.usage.total_tokens > 0


@pytest.mark.parametrize("model", ["gpt-4", "gpt-4o"])
def test_a_stream_arrives_in_chunks_and_ends_with_its_usage(daemon: Daemon, model: str) -> None:
    stream = daemon.client().chat.completions.create(
        model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(
        chunk.choices[0].delta.content or ""
        for chunk in chunks
        if chunk.choices and chunk.choices[0].delta
    )
    assert "otters" in text
    assert len(chunks) > 3
    assert chunks[-1].usage.total_tokens > 0


def test_a_tool_call_passes_and_its_result_is_answered(daemon: Daemon) -> None:
    client = daemon.client()
    answer = client.chat.completions.create(
        model="gpt-4", messages=MESSAGES, tools=[TOOL], tool_choice="required"
    )
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "weather"
    assert isinstance(json.loads(call.function.arguments), dict)
    told = [
        *MESSAGES,
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    again = client.chat.completions.create(model="gpt-4", messages=told, tools=[TOOL])
    assert again.choices[0].message.content


@pytest.mark.parametrize("encoding", ["base64", "float"])
@pytest.mark.parametrize("model", ["text-embedding-ada-002", "text-embedding-3-small"])
def test_embeddings_come_in_either_encoding(daemon: Daemon, model: str, encoding: str) -> None:
    answer = daemon.client().embeddings.create(
        model=model, input=["one", "two"], encoding_format=encoding
    )
    assert [entry.index for entry in answer.data] == [0, 1]
    # Asked for base64 the client hands it out as it came: 1,536 float32 are 8,192 characters.
    assert {len(entry.embedding) for entry in answer.data} == {
        8192 if encoding == "base64" else 1536
    }


def test_embeddings_of_the_client_s_own_choice_are_decoded_by_it(daemon: Daemon) -> None:
    answer = daemon.client().embeddings.create(model="text-embedding-ada-002", input="otter")
    assert sum(number * number for number in answer.data[0].embedding) == pytest.approx(1, abs=1e-3)


def test_the_model_list_is_the_union_of_what_the_upstreams_have(daemon: Daemon) -> None:
    names = [model.id for model in daemon.client().models.list()]
    assert names == [
        "gpt-4",
        "gpt-3.5-turbo",
        "whisper-1",
        "text-embedding-ada-002",
        "gpt-4o",
        "house-model",
        "text-embedding-3-small",
    ]
    assert daemon.client().models.retrieve("house-model").id == "house-model"


def test_azure_is_asked_for_the_deployment_and_gets_its_key(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    daemon.client().chat.completions.create(model="gpt-3.5-turbo", messages=MESSAGES)
    (seen,) = sandbox.requests("azure")
    assert seen["target"] == (
        "/openai/deployments/gpt-35-turbo/chat/completions?api-version=2024-10-21"
    )
    headers = dict(seen["headers"])
    assert headers["api-key"] == "azure-key-primary"
    assert json.loads(seen["body"])["model"] == "gpt-3.5-turbo"


def test_a_renamed_model_is_asked_for_by_the_upstream_s_own_name(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    daemon.client().chat.completions.create(model="house-model", messages=MESSAGES)
    (seen,) = sandbox.requests("openai")
    assert json.loads(seen["body"])["model"] == "gpt-4o-mini"
    assert dict(seen["headers"])["authorization"] == "Bearer sk-sandbox-openai"


def test_nothing_of_the_caller_s_credential_goes_up_or_into_the_log(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    client = daemon.client(default_headers={"Cookie": "session=canary-cookie"})
    client.chat.completions.create(model="gpt-4", messages=MESSAGES)
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    with pytest.raises(openai.AuthenticationError):
        daemon.client("glpat-canary-unknown").models.list()
    upstream = json.dumps(sandbox.requests("azure") + sandbox.requests("openai"))
    for secret in (TOKEN, "canary-cookie", "canary-unknown"):
        assert secret not in upstream
        assert secret not in daemon.log()
    for key in ("azure-key-primary", "azure-key-secondary", "sk-sandbox-openai"):
        assert key not in daemon.log()
    assert "otters" not in daemon.log()


def test_gitlab_is_asked_once_for_a_caller_who_calls_often(
    daemon: Daemon, sandbox: Sandbox
) -> None:
    client = daemon.client("glpat-sandbox-bob")
    for _ in range(5):
        client.models.list()
    asked = [seen for seen in sandbox.requests("gitlab") if seen["target"] == "/api/v4/user"]
    assert len(asked) == 1
    assert dict(asked[0]["headers"])["authorization"] == "Bearer glpat-sandbox-bob"


def test_a_user_token_works_without_gitlab(daemon: Daemon, sandbox: Sandbox) -> None:
    assert daemon.client("sk-user1-0123456789").models.list().data
    assert sandbox.requests("gitlab") == []


def test_the_answer_tells_who_gave_it_and_keeps_the_upstream_s_request_id(daemon: Daemon) -> None:
    raw = daemon.client().chat.completions.with_raw_response.create(
        model="gpt-4", messages=MESSAGES
    )
    assert raw.headers["x-gptproxy-upstream"] == "primary"
    assert raw.headers["x-gptproxy-attempts"] == "1"
    assert raw.headers["x-gptproxy-request-id"]
    assert raw.headers["x-request-id"]
    for name in ("set-cookie", "alt-svc", "server", "x-ms-region"):
        assert name not in raw.headers
