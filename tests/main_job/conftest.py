"""One sandbox and one daemon for the whole run; each test starts with no faults and nothing seen."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .processes import Daemon, Sandbox, environment, running_daemon, running_sandbox

FIBJS = """\
# fibjs

fibjs is a server side JavaScript runtime built on fibers.

## Sockets

The fibjs net module opens sockets; a socket's read gives a Buffer and blocks its fiber alone.

## Timers

The fibjs timers module has setTimeout and setInterval; their callbacks run in a fiber of their own.
"""

CONFIGURATION = """\
[gitlab]
url = "{gitlab}"

[[upstream]]
name = "primary"
kind = "azure"
url = "{azure}"
api_key = "azure-key-primary"
api_version = "2024-10-21"
[upstream.deployments]
"gpt-4" = "gpt-4"
"gpt-3.5-turbo" = "gpt-35-turbo"
"whisper-1" = "whisper"
"text-embedding-ada-002" = "text-embedding-ada-002"

[[upstream]]
name = "secondary"
kind = "azure"
url = "{azure_secondary}"
api_key = {{file = "secondary.key"}}
api_version = "2024-10-21"
[upstream.deployments]
"gpt-4" = "gpt-4"

[[upstream]]
name = "openai"
kind = "openai"
url = "{openai}"
api_key = {{env = "GPTPROXY_TEST_OPENAI_KEY"}}
[upstream.deployments]
"gpt-4o" = "gpt-4o"
"house-model" = "gpt-4o-mini"
"text-embedding-3-small" = "text-embedding-3-small"

[[user_token]]
user_id = "user1"
token = "sk-user1-0123456789"

[knowledge]
database = "knowledge.db"

[[topic]]
words = ["fibjs"]
documents = "fibjs"
prompt = "You are a fibjs development assistant."
preamble = "The built-in modules of fibjs are net, timers and fs."

[[topic]]
words = ["cited:"]
documents = "fibjs"
cite = true

[retry]
backoff_seconds = 0.01
# All tests share the daemon: the faults of one are not to keep it from an upstream in the next.
circuit_calls = 100000

[stream]
hold_back_seconds = 3.0
heartbeat_seconds = 0.2

[limits]
body_bytes = 1048576
"""


@pytest.fixture(scope="session")
def sandbox_process() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def folder(sandbox_process: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration's folder: files, certificate, secrets and a knowledge database filled by the command."""
    folder = tmp_path_factory.mktemp("gptproxy")
    (folder / "gptproxy.toml").write_text(CONFIGURATION.format_map(sandbox_process.addresses))
    (folder / "secondary.key").write_text("azure-key-secondary\n")
    (folder / "documents").mkdir()
    (folder / "documents" / "fibjs.md").write_text(FIBJS)
    (folder / "documents" / "notes.txt").write_text("The cat of the office is called Mumpitz.\n")
    subprocess.run(
        [sys.executable, "-c", WRITE_CERTIFICATE, str(folder)], check=True, env=environment()
    )
    return folder


ARGUMENTS = ("--config", "gptproxy.toml", "fibjs", "documents")
WRITE_CERTIFICATE = (
    "import sys; from pathlib import Path; from gptproxy.tryout import write_certificate; "
    "write_certificate(Path(sys.argv[1]))"
)


@pytest.fixture(scope="session")
def docs_added(folder: Path) -> subprocess.CompletedProcess[str]:
    """``gptproxy docs add`` as an operator runs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPTPROXY_TEST_OPENAI_KEY", "sk-sandbox-openai")
        done = subprocess.run(
            [sys.executable, "-m", "gptproxy", "docs", "add", *ARGUMENTS],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="session")
def running(folder: Path, docs_added: subprocess.CompletedProcess[str]) -> Iterator[Daemon]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPTPROXY_TEST_OPENAI_KEY", "sk-sandbox-openai")
        with running_daemon(folder, "--config", "gptproxy.toml") as daemon:
            yield daemon


@pytest.fixture
def sandbox(sandbox_process: Sandbox) -> Iterator[Sandbox]:
    sandbox_process.reset()
    yield sandbox_process
    sandbox_process.reset()


@pytest.fixture
def daemon(running: Daemon, sandbox: Sandbox) -> Iterator[Daemon]:
    """The daemon, in front of stand-ins that start afresh."""
    yield running
    running.close_clients()
