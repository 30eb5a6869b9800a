"""An upstream that dies under many running streams: each of them ends in an error, and the next call goes elsewhere."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from .conftest import WRITE_CERTIFICATE
from .processes import Daemon, Sandbox, environment, running_daemon, running_sandbox

TOKEN = "sk-user1-0123456789"
MESSAGES = [{"role": "user", "content": "Tell me about otters."}]
STREAMS = 64
CONFIGURATION = """\
[[user_token]]
user_id = "user1"
token = "sk-user1-0123456789"

[[upstream]]
name = "primary"
kind = "openai"
url = "{0}"
api_key = "sk-sandbox-openai"

[[upstream]]
name = "secondary"
kind = "openai"
url = "{1}"
api_key = "sk-sandbox-openai"
"""


@pytest.fixture
def primary() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def two_upstreams(primary: Sandbox, sandbox_process: Sandbox, tmp_path: Path) -> Iterator[Daemon]:
    addresses = primary.addresses["openai"], sandbox_process.addresses["openai"]
    (tmp_path / "gptproxy.toml").write_text(CONFIGURATION.format(*addresses))
    subprocess.run(
        [sys.executable, "-c", WRITE_CERTIFICATE, str(tmp_path)], check=True, env=environment()
    )
    with running_daemon(tmp_path, "--config", "gptproxy.toml") as daemon:
        yield daemon
        daemon.close_clients()


def streaming(daemon: Daemon, stack: ExitStack) -> ssl.SSLSocket:
    """:return: a connection on which a stream's content has begun."""
    connection = stack.enter_context(daemon.connection())
    body = json.dumps({"model": "gpt-4o", "messages": MESSAGES, "stream": True}).encode()
    connection.sendall(
        (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        + body
    )
    received = b""
    while received.count(b"data: ") < 4:
        received += connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 200 OK\r\n")
    return connection


def rest(connection: ssl.SSLSocket) -> bytes:
    """:return: what comes until the connection ends."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def test_every_stream_ends_in_one_error_event(primary: Sandbox, two_upstreams: Daemon) -> None:
    primary.faults(
        {"role": "openai", "fault": "hang_after_events", "after_events": 4, "times": STREAMS}
    )
    with ExitStack() as stack:
        connections = [streaming(two_upstreams, stack) for _ in range(STREAMS)]
        primary.kill()
        for connection in connections:
            end = rest(connection)
            assert end.count(b'data: {"error":') == 1
            assert b"upstream_broke_off" in end
            assert b"[DONE]" not in end
            # The chunked body has no last chunk: no client takes it for whole (RFC 9112 8).
            assert not end.endswith(b"0\r\n\r\n")
    raw = two_upstreams.client(TOKEN, max_retries=0).chat.completions.with_raw_response.create(
        model="gpt-4o", messages=MESSAGES
    )
    assert raw.headers["x-gptproxy-upstream"] == "secondary"


def test_a_model_that_is_left_out(primary: Sandbox, two_upstreams: Daemon) -> None:
    """OpenAI takes its own for images; the official client leaves it out unless it is told."""
    raw = two_upstreams.client(TOKEN).images.with_raw_response.generate(prompt="an otter")
    assert raw.parse().data
    assert raw.headers["x-gptproxy-upstream"] == "primary"
