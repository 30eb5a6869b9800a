"""The daemon and the sandbox as processes, started on free ports and ended with their test."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import openai

TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
TOKEN = "glpat-sandbox-alice"
START_SECONDS = 180
"""Generous: the machine may be busy; nothing waits so long unless something is broken."""


class Sandbox:
    """The stand-ins, and what they saw."""

    def __init__(self, addresses: Mapping[str, str], process: subprocess.Popen[str]) -> None:
        self.addresses = addresses
        self._process = process

    def faults(self, *faults: Mapping[str, object]) -> None:
        """Let the stand-ins fail on demand from now on."""
        self._control("POST", "faults", json.dumps(faults).encode())

    def reset(self) -> None:
        """Forget faults and requests."""
        self._control("DELETE", "faults")
        self._control("DELETE", "requests")
        self._control("DELETE", "state")

    def kill(self) -> None:
        """End the process without a farewell."""
        self._process.kill()

    def requests(self, role: str) -> list[dict[str, object]]:
        """What was received in a role, the oldest first."""
        return [seen for seen in self._control("GET", "requests") if seen["role"] == role]

    def state(self, role: str) -> dict[str, int]:
        """Counters of a role."""
        return self._control("GET", "state")[role]

    def _control(self, method: str, what: str, body: bytes | None = None):
        request = Request(
            f"{self.addresses['gitlab']}/sandbox/{what}",
            data=body,
            method=method,
            headers={"content-type": "application/json"},
        )
        with urlopen(request, timeout=START_SECONDS) as answer:
            content = answer.read()
        return json.loads(content) if content else None


class Daemon:
    """A running gptproxy."""

    def __init__(self, process: subprocess.Popen[str], port: int, folder: Path, log: Path) -> None:
        self.process = process
        self.port = port
        self.certificate = folder / "cert.pem"
        self._log = log
        self._clients: list[openai.OpenAI] = []

    @property
    def base_url(self) -> str:
        """What clients are pointed at."""
        return f"https://127.0.0.1:{self.port}/v1"

    def client(self, token: str = TOKEN, **options: object) -> openai.OpenAI:
        """The official client, as its users make it, but for the certificate it trusts."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        client = openai.OpenAI(
            base_url=self.base_url,
            api_key=token,
            http_client=openai.DefaultHttpxClient(verify=context),
            **options,
        )
        self._clients.append(client)
        return client

    def close_clients(self) -> None:
        """Close what :meth:`client` made."""
        while self._clients:
            self._clients.pop().close()

    def connection(self) -> ssl.SSLSocket:
        """A TLS connection to speak HTTP over by hand."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def log(self) -> str:
        """Everything the process wrote."""
        return self._log.read_text()


def until(condition: Callable[[], object]) -> None:
    """Look until something is so; every look is a request to the sandbox, so this does not spin."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"


def environment() -> dict[str, str]:
    """The processes' environment; a checkout under test is on PYTHONPATH already."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("PrimaryApiKey", "SecondaryApiKey", "UserTokens")
    }


def free_port() -> int:
    """A port nobody listens on. Between this and its use it could be taken, by nobody here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running_sandbox() -> Iterator[Sandbox]:
    """The stand-ins, started."""
    with subprocess.Popen(
        [sys.executable, "-m", "gptproxy.sandbox", "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            yield Sandbox(json.loads(process.stdout.readline()), process)
        finally:
            process.terminate()


def run_twistd(folder: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """``twistd -n gptproxy`` with the interpreter that runs the tests."""
    return subprocess.Popen(
        [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "gptproxy", *arguments],
        cwd=folder,
        env=environment(),
        text=True,
        **options,
    )


@contextmanager
def running_daemon(folder: Path, *arguments: str) -> Iterator[Daemon]:
    """The daemon, started and answering, on a free TLS port."""
    port = free_port()
    log = folder / "daemon.log"
    with log.open("w") as output:
        process = run_twistd(
            folder,
            *arguments,
            "--port",
            f"ssl:{port}:interface=127.0.0.1",
            stdout=output,
            stderr=output,
        )
    try:
        _wait_for_port(process, port, log)
        yield Daemon(process, port, folder, log)
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _wait_for_port(process: subprocess.Popen[str], port: int, log: Path) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS).close()
        except ConnectionRefusedError:
            # Not yet. Waiting for the process itself, so that its end is seen at once.
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        else:
            return
    raise AssertionError(f"the daemon did not start: {log.read_text()}")
