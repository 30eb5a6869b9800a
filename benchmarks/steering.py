"""
What the benchmarks of reloading, stopping and shedding have in common: the sandbox and the daemon as processes, and
callers who count what becomes of every call.

On asyncio, so that it shares nothing with what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.servers import TWISTD, free_port

TOKEN = "glpat-sandbox-alice"
WORDS = " ".join(f"word{number}" for number in range(30))
CALL = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Tell me about otters."}]}
STREAM = {
    "model": "gpt-4o",
    "stream": True,
    "messages": [{"role": "user", "content": f"sandbox:slow {WORDS}"}],
}
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


@contextmanager
def sandbox_process() -> Iterator[tuple[dict[str, str], subprocess.Popen[str]]]:
    """The stand-ins; yields their addresses and the process, which may be killed."""
    with subprocess.Popen(
        [sys.executable, "-m", "gptproxy.sandbox", "--until-stdin-closes"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield json.loads(process.stdout.readline()), process
        finally:
            process.terminate()


@contextmanager
def sandbox() -> Iterator[dict[str, str]]:
    """The stand-ins; yields their addresses."""
    with sandbox_process() as (addresses, _):
        yield addresses


class Daemon:
    """The daemon as a process."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def rss_mib(self) -> float:
        """:return: memory in use."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def files(self) -> int:
        """:return: open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def cpu_seconds(self) -> float:
        """:return: user and system time used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def daemon(folder: Path, configuration: str) -> Iterator[Daemon]:
    """The daemon with a configuration in ``folder``."""
    port, log, file = free_port(), folder / "daemon.log", folder / "gptproxy.toml"
    file.write_text(configuration)
    arguments = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "gptproxy"]
    arguments += ["--config", str(file), "--port", f"tcp:{port}:interface=127.0.0.1"]
    with log.open("w") as output:
        process = subprocess.Popen(arguments, cwd=folder, stdout=output, stderr=output)
    running = Daemon(process, port, log)
    try:
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        if process.poll() is not None:
            raise RuntimeError(f"the daemon did not start: {log.read_text()[-300:]}")
        yield running
    finally:
        process.kill()
        process.wait()


class Lost(Exception):
    """A call that was sent got no whole answer."""


class NotAccepted(Exception):
    """Nobody listens."""


class Caller:
    """
    One client with one kept connection.

    :param port: the daemon's.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, body: dict[str, object]) -> tuple[int, bytes]:
        """
        :return: status and body.
        :raise Lost: no whole answer.
        :raise NotAccepted: no connection.
        """
        if self._reader is not None and self._reader.at_eof():
            self.close()
        if self._writer is None:
            try:
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self.port, limit=2**20
                )
            except OSError as error:
                raise NotAccepted from error
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        try:
            self._writer.write(head.encode() + data)
            return await self._answer()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.close()
            raise Lost(repr(error)) from error

    async def _answer(self) -> tuple[int, bytes]:
        reader = self._reader
        assert reader is not None
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if b"content-length" in fields:
            body = await reader.readexactly(int(fields[b"content-length"]))
        else:
            pieces = []
            while True:
                size = int(await reader.readuntil(b"\r\n"), 16)
                pieces.append((await reader.readexactly(size + 2))[:-2])
                if not size:
                    break
            body = b"".join(pieces)
        if fields.get(b"connection") == b"close":
            self.close()
        return status, body

    def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


async def keep_calling(
    port: int, per_second: float, found: Counter[str], over: asyncio.Event
) -> None:
    """Call at a pace on one kept connection, until nobody listens or it is over."""
    caller = Caller(port)
    following = time.monotonic()
    while not over.is_set():
        following += 1 / per_second
        await asyncio.sleep(max(0.0, following - time.monotonic()))
        try:
            status, body = await caller.call(CALL)
            found[f"{status}" if body.strip().endswith(b"}") else "cut"] += 1
        except Lost as lost:
            found["lost"] += 1
            found[f"lost: {lost}"] += 1
        except NotAccepted:
            found["not accepted"] += 1
            break
    caller.close()


async def one_stream(port: int, found: Counter[str]) -> None:
    """One stream to its end."""
    caller = Caller(port)
    try:
        status, body = await caller.call(STREAM)
        whole = body.rstrip().endswith(b"[DONE]")
        found[f"{status}" if whole else f"{status} with an error event"] += 1
    except Lost as lost:
        found[f"lost: {lost}"] += 1
    except NotAccepted:
        found["not accepted"] += 1
    caller.close()
