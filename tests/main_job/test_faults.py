"""Each fault of an upstream as the official client sees it: exactly one answer, or one exception of the right class."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import openai
import pytest

from .conftest import WRITE_CERTIFICATE
from .processes import Daemon, Sandbox, environment, running_daemon

TOKEN = "sk-user1-0123456789"
CONFIGURATION = """\
[[user_token]]
user_id = "user1"
token = "sk-user1-0123456789"

[[upstream]]
name = "primary"
kind = "azure"
url = "{azure}"
api_key = "azure-key-primary"
api_version = "2024-10-21"
deployments = {{ "gpt-4" = "gpt-4" }}

[[upstream]]
name = "secondary"
kind = "azure"
url = "{azure_secondary}"
api_key = "azure-key-secondary"
api_version = "2024-10-21"
deployments = {{ "gpt-4" = "gpt-4" }}

[[upstream]]
name = "openai"
kind = "openai"
url = "{openai}"
api_key = "sk-sandbox-openai"
deployments = {{ "gpt-4o" = "gpt-4o" }}

[retry]
backoff_seconds = 0.01
# All tests share the daemon: the faults of one are not to keep it from an upstream in the next.
circuit_calls = 100000
"""

MESSAGES = [{"role": "user", "content": "Tell me about otters."}]
FAULTS = {"times": None, "retry_after": 0.01, "delay_seconds": 0.01}

#: What the primary does, and how many requests it gets; the secondary answers.
ANSWERED_ELSEWHERE = [
    ("content_filter", 1),
    ("deployment_not_found", 1),
    ("filtered_output", 1),
    ("malformed_head", 2),
    ("quota_exhausted", 1),
    ("reset_before_head", 2),
    ("status_401", 1),
    ("status_403_blocked_resource", 1),
    ("status_429", 1),
    ("status_500", 3),
    ("status_503", 3),
    ("timeout_408", 3),
]

#: What is no reason to go elsewhere.
ANSWERED_AT_ONCE = ["content_filter_error_200", "slow_answer", "split_bytes"]

#: What both do: the exception, its status, the requests that the two get.
EVERYWHERE = [
    ("content_filter", openai.BadRequestError, 400, (1, 1)),
    ("deployment_not_found", openai.NotFoundError, 404, (1, 1)),
    ("malformed_head", openai.InternalServerError, 502, (2, 2)),
    ("quota_exhausted", openai.RateLimitError, 429, (1, 1)),
    ("reset_before_head", openai.InternalServerError, 502, (2, 2)),
    ("status_401", openai.InternalServerError, 502, (1, 1)),
    ("status_403_blocked_resource", openai.InternalServerError, 502, (1, 1)),
    ("status_429", openai.RateLimitError, 429, (3, 3)),
    ("status_500", openai.InternalServerError, 500, (3, 3)),
    ("status_503", openai.InternalServerError, 503, (3, 3)),
    ("timeout_408", openai.APIStatusError, 408, (3, 3)),
]


@pytest.fixture(scope="module")
def two_upstreams(
    sandbox_process: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "gptproxy.toml").write_text(CONFIGURATION.format_map(sandbox_process.addresses))
    subprocess.run(
        [sys.executable, "-c", WRITE_CERTIFICATE, str(folder)], check=True, env=environment()
    )
    with running_daemon(folder, "--config", "gptproxy.toml") as daemon:
        yield daemon


@pytest.fixture
def client(two_upstreams: Daemon, sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    """The official client, as it comes."""
    yield two_upstreams.client(TOKEN)
    two_upstreams.close_clients()


def assert_seen(sandbox: Sandbox, fault: str, *requests: int) -> None:
    """So many requests got the two."""
    for role, expected in zip(("azure", "azure_secondary"), requests, strict=True):
        found = len(sandbox.requests(role))
        # A kept connection that ends without an answer is nobody's fault: one more on a fresh one (RFC 9112 9.3.1).
        assert found == expected or (fault == "reset_before_head" and found == expected + 1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("fault", "requests"), ANSWERED_ELSEWHERE)
def test_the_secondary_answers(
    client: openai.OpenAI, sandbox: Sandbox, fault: str, requests: int, stream: bool
) -> None:
    if stream and fault == "filtered_output":
        fault = "filtered_stream"
    sandbox.faults({"role": "azure", "fault": fault, "after_events": 0, **FAULTS})
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4", messages=MESSAGES, stream=stream
    )
    answer = raw.parse()
    if stream:
        chunks = [choice for chunk in answer for choice in chunk.choices]
        assert "".join(choice.delta.content or "" for choice in chunks)
        assert [choice.finish_reason for choice in chunks if choice.finish_reason] == ["stop"]
    else:
        assert answer.choices[0].message.content
    assert raw.headers["x-gptproxy-upstream"] == "secondary"
    assert raw.headers["x-gptproxy-attempts"] == str(requests + 1)
    assert_seen(sandbox, fault, requests, 1)


@pytest.mark.parametrize("fault", ["cut_stream", "error_event_in_stream", "reset_after_head"])
def test_trouble_before_the_first_content(
    client: openai.OpenAI, sandbox: Sandbox, fault: str
) -> None:
    sandbox.faults({"role": "azure", "fault": fault, "after_events": 1, **FAULTS})
    stream = client.chat.completions.create(model="gpt-4", messages=MESSAGES, stream=True)
    reasons = [choice.finish_reason for chunk in stream for choice in chunk.choices]
    assert reasons[-1] == "stop"
    # As for an interception: no second try at the same while there is another.
    assert_seen(sandbox, fault, 1, 1)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", ["content_filter", "status_500"])
def test_no_response(client: openai.OpenAI, sandbox: Sandbox, fault: str, stream: bool) -> None:
    sandbox.faults({"role": "openai", "fault": fault, **FAULTS})
    with pytest.raises(openai.APIStatusError) as caught:
        client.responses.create(model="gpt-4o", input="otters", store=False, stream=stream)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_response_that_fails_before_its_first_word(
    client: openai.OpenAI, sandbox: Sandbox
) -> None:
    sandbox.faults({"role": "openai", "fault": "response_failed", "after_events": 0, **FAULTS})
    stream = client.responses.create(model="gpt-4o", input="otters", store=False, stream=True)
    # The client raises at "error", not at this; it is the last attempt's, as it came.
    assert [event.type for event in stream][-1] == "response.failed"
    assert len(sandbox.requests("openai")) == 3


@pytest.mark.parametrize("fault", ANSWERED_AT_ONCE)
def test_the_primary_answers(client: openai.OpenAI, sandbox: Sandbox, fault: str) -> None:
    sandbox.faults({"role": "azure", "fault": fault, **FAULTS})
    raw = client.chat.completions.with_raw_response.create(model="gpt-4", messages=MESSAGES)
    assert raw.parse().choices[0].message.content
    assert raw.headers["x-gptproxy-upstream"] == "primary"
    assert_seen(sandbox, fault, 1, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("fault", "error", "status", "requests"), EVERYWHERE)
def test_one_exception(
    client: openai.OpenAI,
    sandbox: Sandbox,
    fault: str,
    error: type[openai.APIStatusError],
    status: int,
    requests: tuple[int, int],
    stream: bool,
) -> None:
    sandbox.faults(
        *({"role": role, "fault": fault, **FAULTS} for role in ("azure", "azure_secondary"))
    )
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="gpt-4", messages=MESSAGES, stream=stream)
    assert type(caught.value) is error
    assert caught.value.status_code == status
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert "azure-key" not in caught.value.response.text
    # None of the client's own two retries comes on top.
    assert_seen(sandbox, fault, *requests)


def test_both_filter_their_answers(client: openai.OpenAI, sandbox: Sandbox) -> None:
    sandbox.faults(
        *(
            {"role": role, "fault": "filtered_output", **FAULTS}
            for role in ("azure", "azure_secondary")
        )
    )
    raw = client.chat.completions.with_raw_response.create(model="gpt-4", messages=MESSAGES)
    assert raw.parse().choices[0].finish_reason == "content_filter"
    assert raw.headers["x-gptproxy-upstream"] == "primary"
    assert raw.headers["x-gptproxy-attempts"] == "2"


@pytest.mark.parametrize("fault", ["cut_stream", "error_event_in_stream"])
def test_trouble_behind_the_first_content(
    client: openai.OpenAI, sandbox: Sandbox, fault: str
) -> None:
    sandbox.faults({"role": "azure", "fault": fault, "after_events": 4, **FAULTS})
    stream = client.chat.completions.create(model="gpt-4", messages=MESSAGES, stream=True)
    said = []
    with pytest.raises(openai.APIError):
        said += stream
    assert_seen(sandbox, fault, 1, 0)


@pytest.mark.parametrize("fault", ["status_429", "status_500", "status_503"])
def test_an_only_upstream_is_asked_again(
    client: openai.OpenAI, sandbox: Sandbox, fault: str
) -> None:
    sandbox.faults({"role": "openai", "fault": fault, **FAULTS, "times": 1})
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES)
    assert raw.parse().choices[0].message.content
    assert raw.headers["x-gptproxy-attempts"] == "2"
