"""Upstreams and calls that tests of this room use."""

from __future__ import annotations

from gptproxy.config import Secret, UpstreamSettings
from gptproxy.upstream import Call
from gptproxy.wire import member_spans

KEY = "KEYCANARY-0a1b2c3d4e5f6a7b"
CALLERS_TOKEN = "TOKENCANARY-glpat-9f8e7d6c"

PRIMARY = UpstreamSettings(
    name="primary",
    kind="azure",
    url="https://gpt1.openai.azure.com",
    api_key=Secret(KEY),
    api_version="2024-10-21",
    deployments={"gpt-4": "gpt-4-east", "ada": "ada2"},
)
SECONDARY = UpstreamSettings(
    name="secondary",
    kind="azure",
    url="https://gpt2.openai.azure.com",
    api_key=Secret(KEY[::-1]),
    deployments={"gpt-4": "gpt-4-west"},
)
OPENAI = UpstreamSettings(
    name="openai", kind="openai", url="https://api.openai.com/v1", api_key=Secret(KEY)
)
LOCAL = UpstreamSettings(
    name="local",
    kind="openai",
    url="http://127.0.0.1:8000/v1",
    deployments={"gpt-4": 'meta/"llama"-ü', "llama": "llama"},
)

BODY = b'{ "messages": [{"role": "user", "content": "\\u00fc"}],\n "model" : "gpt-4", "n": 1e0}'


def a_call(
    body: bytes = BODY,
    *,
    model: str = "gpt-4",
    route: str = "/chat/completions",
    query: bytes = b"",
    fields: tuple[tuple[bytes, bytes], ...] = (),
    repeatable: bool = True,
) -> Call:
    """:return: a call as the API room makes it."""
    given = (
        (b"host", b"gpt.corp.com"),
        (b"authorization", b"Bearer " + CALLERS_TOKEN.encode()),
        (b"content-type", b"application/json"),
        *fields,
    )
    return Call(route, model, body, member_spans(body)["model"], given, query, repeatable)
