"""What callers may have, held by the real daemon: each of them, a group of GitLab's, and tokens of streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest

from .processes import Daemon, Sandbox, running_daemon

CONFIGURATION = """\
[gitlab]
url = "{gitlab}"
service_token = "glpat-sandbox-service"

[[upstream]]
name = "openai"
kind = "openai"
url = "{openai}"
api_key = "sk-sandbox-openai"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
"""
ALICE, BOB = "glpat-sandbox-alice", "glpat-sandbox-bob"
MESSAGES = [{"role": "user", "content": "Tell me about otters."}]

Start = Callable[[str], Daemon]


@pytest.fixture
def start(sandbox: Sandbox, folder: Path, tmp_path: Path) -> Iterator[Start]:
    """:return: starts a daemon with some limits."""
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with ExitStack() as running:

        def started(limits: str) -> Daemon:
            text = CONFIGURATION.format_map(sandbox.addresses) + limits
            (tmp_path / "gptproxy.toml").write_text(text)
            daemon = running.enter_context(running_daemon(tmp_path, "--config", "gptproxy.toml"))
            running.callback(daemon.close_clients)
            return daemon

        yield started


def ask(daemon: Daemon, token: str, **options: object) -> object:
    """One call."""
    return daemon.client(token, max_retries=0).chat.completions.create(
        model="gpt-4o", messages=MESSAGES, **options
    )


def ask_again_and_again(daemon: Daemon, token: str) -> None:
    """Calls, one after the other."""
    for _ in range(50):
        ask(daemon, token, stream=True).close()


def refusal(daemon: Daemon, token: str) -> openai.RateLimitError:
    """:return: how one call is refused."""
    with pytest.raises(openai.RateLimitError) as caught:
        ask(daemon, token)
    return caught.value


def test_each_caller_has_their_own(start: Start) -> None:
    """Who is over it is told when to come back, in the form that OpenAI's clients read; another is served."""
    daemon = start("[limits.caller]\ncalls_per_minute = 2\n")
    for _ in range(2):
        ask(daemon, ALICE)
    refused = refusal(daemon, ALICE)
    assert refused.code == "rate_limit_exceeded"
    headers = refused.response.headers
    assert 1 <= int(headers["retry-after"]) <= 60
    assert int(headers["retry-after-ms"]) <= int(headers["retry-after"]) * 1000
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    ask(daemon, BOB)


def test_a_group_is_what_gitlab_says(start: Start, sandbox: Sandbox) -> None:
    """Its members share the bound, whoever is none is not held by it; and what was refused has not gone up."""
    daemon = start('[[limits.group]]\ngroup = "engineering"\ncalls_per_minute = 1\n')
    ask(daemon, ALICE)
    refusal(daemon, ALICE)
    for _ in range(3):
        ask(daemon, BOB)
    assert len(sandbox.requests("openai")) == 4


def test_a_bound_on_a_group_above_holds_for_whom_gitlab_counts_in(start: Start) -> None:
    """Alice is in the group above, so she is in this one too; they share what it has."""
    daemon = start('[[limits.group]]\ngroup = "engineering/web"\ncalls_per_minute = 1\n')
    ask(daemon, ALICE)
    refusal(daemon, BOB)


@pytest.mark.parametrize("told", [True, False])
def test_tokens_of_a_stream_are_counted(start: Start, told: bool) -> None:
    """As its usage says, and by its events where it says none."""
    daemon = start("[limits.caller]\ntokens_per_minute = 3\n")
    options = {"stream_options": {"include_usage": True}} if told else {}
    with ask(daemon, ALICE, stream=True, **options) as stream:
        assert len(list(stream)) > 3
    # Its end may come a moment after its last event, and another call before it.
    with pytest.raises(openai.RateLimitError) as caught:
        ask_again_and_again(daemon, ALICE)
    assert caught.value.response.headers["x-ratelimit-limit-tokens"] == "3"
    ask(daemon, BOB)


def test_streams_under_way(start: Start, sandbox: Sandbox) -> None:
    """One that is left gives its place back."""
    sandbox.faults({"role": "openai", "fault": "slow_events", "times": None, "delay_seconds": 0.3})
    daemon = start("[limits.caller]\nconcurrent_calls = 1\n")
    stream = ask(daemon, ALICE, stream=True)
    next(iter(stream))
    assert "concurrent calls" in str(refusal(daemon, ALICE))
    stream.close()
    sandbox.faults()
    # The daemon may not have seen it yet; OpenAI's client waits as it is told.
    daemon.client(ALICE, max_retries=5).chat.completions.create(model="gpt-4o", messages=MESSAGES)
