"""
Every row of the status table and every shape of the content filter as the official client sees it, streamed and not:
exactly one answer or exactly one exception, and its class.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from gptproxy.sandbox.faults import FAULTS

from . import test_faults, test_streams
from .conftest import WRITE_CERTIFICATE
from .processes import Daemon, Sandbox, environment, free_port, running_daemon

TOKEN = "sk-user1-0123456789"
CONFIGURATION = """\
[[user_token]]
user_id = "user1"
token = "sk-user1-0123456789"

[[upstream]]
name = "nobody"
kind = "openai"
url = "http://127.0.0.1:{nobody}/v1"
deployments = {{ "unreachable" = "gpt-4", "unreachable-alone" = "gpt-4" }}

[[upstream]]
name = "no-tls"
kind = "openai"
url = "https://127.0.0.1:{no_tls}/v1"
api_key = "sk-sandbox-openai"
deployments = {{ "no-tls" = "gpt-4", "no-tls-alone" = "gpt-4" }}

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
deployments = {{ "gpt-4" = "gpt-4", "unreachable" = "gpt-4", "no-tls" = "gpt-4" }}

[retry]
backoff_seconds = 0.01
# All tests share the daemon: the faults of one are not to keep it from an upstream in the next.
circuit_calls = 100000

[timeouts]
connect_seconds = 1.0
first_byte_seconds = 2.0
stream_idle_seconds = 2.0

[stream]
hold_back_seconds = 1.0
"""
MESSAGES = [{"role": "user", "content": "Tell me about otters."}]
WHOLE_AND_STREAM = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def said(code: object, message: str = "m", **more: object) -> dict[str, object]:
    return {"error": {"code": code, "message": message, **more}}


#: Status and error of the primary, the exception (None: the secondary answers), the requests that the two get.
STATUSES: list[tuple[int, dict[str, object], type[openai.APIStatusError] | None, int, int]] = [
    (307, {}, None, 1, 1),
    (400, said("context_length_exceeded"), openai.BadRequestError, 1, 0),
    (400, said(None, "Invalid value: content policy"), openai.BadRequestError, 1, 0),
    (400, said("content_filter"), None, 1, 1),
    (401, said("401", "Access denied due to invalid subscription key"), None, 1, 1),
    (403, said("AuthenticationFailed", "Virtual Network/Firewall rules."), None, 1, 1),
    (404, said("404", "Resource not found"), openai.NotFoundError, 1, 0),
    (404, said("model_not_found"), openai.NotFoundError, 1, 0),
    (404, said("DeploymentNotFound"), None, 1, 1),
    (408, said("Timeout", "The operation was timeout."), None, 3, 1),
    (409, said("conflict"), openai.ConflictError, 2, 0),
    (413, said(None, "too large"), openai.APIStatusError, 1, 0),
    (422, said(None, "unprocessable"), openai.UnprocessableEntityError, 1, 0),
    (424, said(None, "failed dependency"), openai.APIStatusError, 1, 0),
    (429, said("429", "Please retry after 22 seconds."), None, 1, 1),
    (429, said("RateLimitReached", "Please wait 23 seconds"), None, 1, 1),
    (429, said("too_many_requests"), None, 1, 1),
    (429, said("slow_down", type="rate_limit_error"), None, 1, 1),
    (429, said("insufficient_quota"), None, 1, 1),
    (429, said("credit_balance_exhausted", type="insufficient_quota"), None, 1, 1),
    (500, said(None), None, 3, 1),
    (502, {}, None, 3, 1),
    (503, said("server_is_overloaded"), None, 3, 1),
    (504, {}, None, 3, 1),
    (520, {}, None, 3, 1),
    (529, said("overloaded_error"), None, 3, 1),
]

#: The shapes of an interception that are an answer of the primary's: the fault, and the call's options.
FILTERED: list[tuple[dict[str, object], dict[str, Any]]] = [
    ({"fault": "content_filter", "spelling": "wire"}, {}),
    ({"fault": "content_filter", "spelling": "spec"}, {}),
    ({"fault": "content_filter", "spelling": "bare"}, {}),
    ({"fault": "filtered_output"}, {}),
    ({"fault": "filtered_output"}, {"n": 2}),
    ({"fault": "filtered_stream", "after_events": 0}, {"stream": True}),
    *(
        ({"fault": "content_filter", "spelling": spelling}, {"stream": True})
        for spelling in ("wire", "spec", "bare")
    ),
    (
        {
            "fault": "error_event_in_stream",
            "after_events": 1,
            "body": {"code": "content_filter", "message": "m"},
        },
        {"stream": True},
    ),
]


@pytest.fixture(scope="module")
def rows(sandbox_process: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder, addresses = tmp_path_factory.mktemp("rows"), sandbox_process.addresses
    no_tls = addresses["openai"].rpartition(":")[2].removesuffix("/v1")
    text = CONFIGURATION.format(**addresses, nobody=free_port(), no_tls=no_tls)
    (folder / "gptproxy.toml").write_text(text)
    subprocess.run(
        [sys.executable, "-c", WRITE_CERTIFICATE, str(folder)], check=True, env=environment()
    )
    with running_daemon(folder, "--config", "gptproxy.toml") as daemon:
        yield daemon


@pytest.fixture
def client(rows: Daemon, sandbox: Sandbox) -> Iterator[openai.OpenAI]:
    """The official client, as it comes: with its own two retries."""
    yield rows.client(TOKEN)
    rows.close_clients()


def asked(sandbox: Sandbox) -> tuple[int, int]:
    """:return: how many requests the primary and the secondary got."""
    return len(sandbox.requests("azure")), len(sandbox.requests("azure_secondary"))


def chat(client: openai.OpenAI, model: str = "gpt-4", **options: Any) -> tuple[str, str | None]:
    """:return: who answered, and why the answer ended; the only one there was."""
    raw = client.chat.completions.with_raw_response.create(
        model=model, messages=MESSAGES, **options
    )
    answer = raw.parse()
    chunks = answer if options.get("stream") else [answer]
    ends = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    found = {reason for reason in ends if reason}
    assert len(found) == 1
    return raw.headers["x-gptproxy-upstream"], found.pop()


@WHOLE_AND_STREAM
@pytest.mark.parametrize(("status", "body", "error", "first", "second"), STATUSES)
def test_a_status(
    client: openai.OpenAI,
    sandbox: Sandbox,
    status: int,
    body: dict[str, object],
    error: type[openai.APIStatusError] | None,
    first: int,
    second: int,
    stream: bool,
) -> None:
    """The client's own retries never come on top."""
    # A short wait goes before the words: who is throttled for seconds would be left alone in the next test too.
    headers = [["location", "http://127.0.0.1:1/"], ["retry-after-ms", "1"]]
    fault = {"fault": "status", "status": status, "body": body, "headers": headers}
    sandbox.faults({"role": "azure", "times": None, **fault})
    if error is None:
        assert chat(client, stream=stream) == ("secondary", "stop")
    else:
        with pytest.raises(openai.APIError) as caught:
            chat(client, stream=stream)
        assert type(caught.value) is error
        assert caught.value.status_code == status
        assert caught.value.body == body["error"]
    assert asked(sandbox) == (first, second)


@pytest.mark.parametrize(("fault", "options"), FILTERED)
def test_an_interception(
    client: openai.OpenAI, sandbox: Sandbox, fault: dict[str, object], options: dict[str, Any]
) -> None:
    """Whatever its shape, before the first content the secondary is asked, once."""
    sandbox.faults({"role": "azure", "times": None, **fault})
    assert chat(client, **options) == ("secondary", "stop")
    assert asked(sandbox) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"created": 1698435368, **said("contentFilter", "Your task failed as a result of our ...")},
        said("content_policy_violation", inner_error={"code": "ResponsibleAIPolicyViolation"}),
        said("moderation_blocked", type="image_generation_user_error"),
    ],
)
@pytest.mark.parametrize("status", [400, 200])
def test_an_image_that_is_intercepted(
    client: openai.OpenAI, sandbox: Sandbox, status: int, body: dict[str, object]
) -> None:
    """Nothing was made, so another may make it; Azure says so with either status."""
    sandbox.faults(
        {"role": "azure", "fault": "status", "status": status, "body": body, "times": None}
    )
    assert client.images.generate(model="gpt-4", prompt="an otter").data
    assert asked(sandbox) == (1, 1)


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "content_filter"},
        {"fault": "filtered_output"},
        {"fault": "filtered_stream", "after_events": 0, "stream": True},
        {"fault": "content_filter", "stream": True},
        {"fault": "response_failed", "stream": True, "body": said("content_filter")["error"]},
        {
            "fault": "error_event_in_stream",
            "stream": True,
            "after_events": 3,
            "body": said("content_filter")["error"],
        },
    ],
)
def test_a_response_that_is_intercepted(
    client: openai.OpenAI, sandbox: Sandbox, fault: dict[str, object]
) -> None:
    """A stored one too: what was intercepted is not there."""
    stream = bool(fault.pop("stream", False))
    sandbox.faults({"role": "azure", "times": None, "after_events": 0, **fault})
    answer = client.responses.create(model="gpt-4", input="Tell me about otters.", stream=stream)
    if stream:
        answer = list(answer)[-1].response
    assert answer.status == "completed"
    assert asked(sandbox) == (1, 1)


@WHOLE_AND_STREAM
@pytest.mark.parametrize("model", ["unreachable", "no-tls"])
def test_no_connection(client: openai.OpenAI, sandbox: Sandbox, model: str, stream: bool) -> None:
    """The secondary answers; where there is none, a 502 that the client does not repeat."""
    assert chat(client, model, stream=stream) == ("secondary", "stop")
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, f"{model}-alone", stream=stream)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_unreachable"
    assert caught.value.response.headers["x-should-retry"] == "false"


@WHOLE_AND_STREAM
def test_no_answer_in_time(client: openai.OpenAI, sandbox: Sandbox, stream: bool) -> None:
    """The secondary answers; where it says nothing either, one 504."""
    sandbox.faults({"role": "azure", "fault": "hang", "times": None})
    assert chat(client, stream=stream) == ("secondary", "stop")
    assert asked(sandbox) == (3, 1)
    sandbox.reset()
    sandbox.faults(
        *({"role": role, "fault": "hang", "times": None} for role in ("azure", "azure_secondary"))
    )
    patience = {"x-stainless-read-timeout": "1"}
    with pytest.raises(openai.InternalServerError) as caught:
        chat(client, stream=stream, extra_headers=patience)
    assert caught.value.status_code == 504
    assert caught.value.code == "upstream_timeout"
    # The first attempt took longer than the client says that it waits: none follows.
    assert asked(sandbox) == (1, 0)


def test_silence_behind_the_first_events(client: openai.OpenAI, sandbox: Sandbox) -> None:
    """It was relayed in the end, for want of content; then one exception, and no second call."""
    sandbox.faults({"role": "azure", "fault": "hang_after_events", "after_events": 2})
    with pytest.raises(openai.APIError):
        chat(client, stream=True)
    assert asked(sandbox) == (1, 0)


def test_half_an_answer(client: openai.OpenAI, sandbox: Sandbox) -> None:
    """It was held for the filter's sake, so the caller knows nothing of it."""
    sandbox.faults({"role": "azure", "fault": "cut_stream", "times": None})
    assert chat(client) == ("secondary", "stop")
    assert asked(sandbox) == (1, 1)


def test_a_large_stream(client: openai.OpenAI, sandbox: Sandbox) -> None:
    """Content from the first event on: it is one answer, as it came."""
    sandbox.faults({"role": "azure", "fault": "huge_stream", "megabytes": 6})
    assert chat(client, stream=True) == ("primary", "stop")
    assert asked(sandbox) == (1, 0)


def test_every_fault_of_the_stand_ins_has_its_row() -> None:
    """One that is added to the sandbox is added to these tables, or to those of the modules named here."""
    here = {"hang", "hang_after_events", "huge_stream", "status", "cut_stream"}
    here |= {str(fault["fault"]) for fault, _ in FILTERED}
    tables = (test_faults.ANSWERED_ELSEWHERE, test_faults.EVERYWHERE)
    elsewhere = {row[0] for table in tables for row in table}
    elsewhere |= {*test_faults.ANSWERED_AT_ONCE, "reset_after_head", "response_failed"}
    # Bytes one by one, slow events, the asynchronous filter: whole classes of their own.
    assert all(hasattr(test_streams, name) for name in ("TestBehindContent", "TestSilence"))
    elsewhere |= {"async_filter_stream", "slow_events"}
    assert FAULTS["azure"] | FAULTS["openai"] <= here | elsewhere
