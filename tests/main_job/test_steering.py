"""Signals to the real daemon: a new configuration and certificate, and the end."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from .conftest import WRITE_CERTIFICATE
from .processes import START_SECONDS, Daemon, Sandbox, environment, running_daemon, until

CONFIGURATION = """\
[gitlab]
url = "{gitlab}"

[[upstream]]
name = "openai"
kind = "openai"
url = "{openai}"
api_key = "sk-sandbox-openai"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
"""
USER = '[[user_token]]\nuser_id = "late"\ntoken = "sk-late-0123456789"\n'
MESSAGES = [{"role": "user", "content": "Tell me about otters."}]
SLOW = {"role": "openai", "fault": "slow_events", "times": None, "delay_seconds": 0.3}


@pytest.fixture
def home(sandbox: Sandbox, tmp_path: Path) -> Path:
    """A folder with a configuration and a certificate."""
    (tmp_path / "gptproxy.toml").write_text(CONFIGURATION.format_map(sandbox.addresses))
    certify(tmp_path)
    return tmp_path


@pytest.fixture
def own(home: Path) -> Iterator[Daemon]:
    """A daemon that may be ended."""
    with running_daemon(home, "--config", "gptproxy.toml") as daemon:
        yield daemon
        daemon.close_clients()


def certify(folder: Path) -> None:
    """Write another certificate."""
    subprocess.run(
        [sys.executable, "-c", WRITE_CERTIFICATE, str(folder)], check=True, env=environment()
    )


def served(daemon: Daemon) -> bytes:
    """:return: the certificate of a new handshake."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", daemon.port), timeout=START_SECONDS) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""


def streaming(daemon: Daemon) -> openai.Stream[object]:
    """:return: a stream whose first event has come."""
    stream = daemon.client(max_retries=0).chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True
    )
    next(iter(stream))
    return stream


def text_of(stream: openai.Stream[object]) -> str | None:
    """:return: why it ended, read to its end."""
    reasons = [choice.finish_reason for chunk in stream for choice in chunk.choices]
    return next((reason for reason in reversed(reasons) if reason), None)


def test_a_reload(own: Daemon, home: Path, sandbox: Sandbox) -> None:
    """Brings the new token and certificate; a broken file changes nothing; the running stream ends as it should."""
    sandbox.faults(SLOW)
    running = streaming(own)
    sandbox.faults()
    late = own.client("sk-late-0123456789", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        late.models.list()
    file, before = home / "gptproxy.toml", served(own)
    good = file.read_text()
    file.write_text("[gitlab]\nurl = 7\n")
    own.process.send_signal(signal.SIGHUP)
    until(lambda: "everything stays as it was: " in own.log())
    assert served(own) == before
    file.write_text(good + USER)
    certify(home)
    own.process.send_signal(signal.SIGHUP)
    until(lambda: "reloaded\n" in own.log())
    assert served(own) != before
    assert own.client("sk-late-0123456789").models.list().data
    assert text_of(running) == "stop"


def test_the_end(own: Daemon, sandbox: Sandbox) -> None:
    """SIGTERM: the stream under way comes to its end, nobody is let in, and the status is 0."""
    sandbox.faults(SLOW)
    running = streaming(own)
    own.process.send_signal(signal.SIGTERM)
    assert text_of(running) == "stop"
    running.close()
    own.close_clients()
    assert own.process.wait(START_SECONDS) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", own.port))


def test_a_second_signal(own: Daemon, sandbox: Sandbox) -> None:
    """Ends what is under way at once, by an error that the official client raises."""
    sandbox.faults({**SLOW, "delay_seconds": 60.0})
    stream = own.client(max_retries=0).chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True
    )
    own.process.send_signal(signal.SIGTERM)
    until(lambda: not listens(own))
    own.process.send_signal(signal.SIGTERM)
    with pytest.raises(openai.APIError) as caught:
        text_of(stream)
    assert "stopped or restarted" in str(caught.value)
    assert own.process.wait(START_SECONDS) == 0


def listens(daemon: Daemon) -> bool:
    """:return: whether somebody is let in."""
    try:
        socket.create_connection(("127.0.0.1", daemon.port), timeout=START_SECONDS).close()
    except ConnectionError:
        # Reset: the port was closed in the middle of it.
        return False
    return True
