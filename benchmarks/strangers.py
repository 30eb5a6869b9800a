"""
Strangers with random tokens: what they cost the callers who are known, and how often GitLab is asked about them.

Run: ``python -m benchmarks.strangers [--tokens 1000] [--seconds 60] [--addresses 1]``. It needs nginx (Debian: ``apt
install nginx-light``) as the upstream. GitLab is a program that takes 50 ms for a verdict. Known callers call at a pace
alone, then beside so many random tokens a second, then alone again: a machine that changes its pace meanwhile shows,
and so does one with other work, in how long the daemon waits for a core. The strangers come from so many addresses, as
a reverse proxy tells them (``X-Forwarded-For``), and are a process of their own. The exit status is 1 where the known
callers' p99 is more than twice what it is alone, where GitLab is asked about more tokens than the addresses may send,
where a stranger came in, or where a known caller got no answer.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.servers import ITS_TOKEN, Server, fixed_upstream, free_port, gptproxy
from gptproxy.access.invalid_limit import BURST, SECONDS_EACH

GITLAB_SECONDS = 0.05
KNOWN = 20
"""Few enough that their first calls of a minute, about which GitLab is asked, are not a hundredth of all."""

KNOWN_A_SECOND = 100
STRANGERS_CONNECTIONS = 200
IN_FLIGHT = 20
CALLS_EACH = 2
"""To GitLab about a token that is nobody's: what kind it is cannot be seen. An address's first ones are all sent before
the first verdict is there: as many more as are in flight."""

BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "y" * 944}]})
PROXY = '[reverse_proxy]\naddresses = ["127.0.0.1"]\nprotocol = "X-Forwarded-For"\n'


def request(token: str, address: str) -> bytes:
    """:return: a call."""
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n"
        f"x-forwarded-for: {address}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(BODY)}\r\n\r\n{BODY}"
    ).encode()


def known_token(number: int) -> str:
    """:return: of a known caller."""
    return f"glpat-known-{number:08}"


# GitLab


async def gitlab(port: int, asked: Connection) -> None:
    """Answer; at a word on the pipe tell how many calls there were about tokens that are nobody's."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, body = "200 OK", ITS_TOKEN
                if "glpat-known-" not in head:
                    count += 1
                    status, body = "401 Unauthorized", '{"message":"401 Unauthorized"}'
                elif "/api/v4/user " in head:
                    number = int(head.partition("glpat-known-")[2][:8])
                    user = {"id": number + 1, "username": f"known{number}"}
                    body = json.dumps({**user, "state": "active", "bot": False})
                await asyncio.sleep(GITLAB_SECONDS)
                writer.write(
                    f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(body)}\r\n\r\n{body}".encode()
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    serving = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def told() -> None:
        try:
            asked.recv()
        except EOFError:
            over.set()
        else:
            asked.send(count)

    loop.add_reader(asked.fileno(), told)
    await over.wait()
    loop.remove_reader(asked.fileno())
    serving.close()


# Callers


class Client:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._writer: asyncio.StreamWriter | None = None

    async def call(self, data: bytes) -> int:
        """:return: the status; 0 where there was none."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
            self._writer.write(data)
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
            await self._reader.readexactly(length)
            if b"\r\nconnection: close" in head:
                self.close()
            return int(head[9:12])
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return 0

    def close(self) -> None:
        """Be gone."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


async def paced(count: int, per_second: float, seconds: float, one, before: float = 0.0) -> int:
    """
    Calls at a pace, each by whoever of ``count`` is free.

    :return: how many were due and found nobody free.
    """
    free: asyncio.Queue[int] = asyncio.Queue()
    for number in range(count):
        free.put_nowait(number)
    tasks: set[asyncio.Task[None]] = set()
    unsent = sent = 0

    async def run(number: int) -> None:
        await one(number)
        free.put_nowait(number)

    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * per_second)
        for _ in range(due - sent):
            if free.empty():
                unsent += 1
                continue
            task = asyncio.ensure_future(run(free.get_nowait()))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        sent = due
        await asyncio.sleep(0.002)
    if tasks:
        await asyncio.wait(tasks)
    return unsent


async def known_calls(port: int, clients: list[Client], seconds: float) -> tuple[list[float], int]:
    """:return: what each took, in seconds, and how many got no answer."""
    took: list[float] = []
    lost = 0

    async def one(number: int) -> None:
        nonlocal lost
        started = time.monotonic()
        status = await clients[number].call(request(known_token(number), "10.255.0.1"))
        took.append(time.monotonic() - started)
        lost += status != 200

    lost += await paced(KNOWN, KNOWN_A_SECOND, seconds, one)
    return took, lost


def strangers(
    port: int, per_second: float, seconds: float, addresses: int, pipe: Connection
) -> None:
    """The strangers' process."""
    clients = [Client(port) for _ in range(STRANGERS_CONNECTIONS)]
    found: Counter[int] = Counter()
    turn = 0

    async def one(number: int) -> None:
        nonlocal turn
        turn += 1
        address = f"10.{turn % addresses >> 8}.{turn % addresses & 255}.1"
        token = f"glpat-{secrets.token_urlsafe(15)}"
        found[await clients[number].call(request(token, address))] += 1

    unsent = asyncio.run(paced(len(clients), per_second, seconds, one))
    pipe.send((dict(found), unsent))


def p99(took: list[float]) -> float:
    """:return: in milliseconds."""
    return statistics.quantiles(took, n=100)[98] * 1000


def waited_seconds(server: Server) -> float:
    """:return: how long the daemon could have run so far and had no core (sched-stats.rst of the kernel)."""
    return int(Path(f"/proc/{server.pid}/schedstat").read_text().split()[1]) / 1e9


def row(what: str, took: list[float], lost: int, cpu: float, waited: float) -> None:
    """Print it."""
    print(
        f"  known callers {what}: {len(took)} calls, {lost} not answered 200, p50 "
        f"{statistics.median(took) * 1000:.2f} ms, p99 {p99(took):.2f} ms; the daemon had {cpu:.0%} of a core, "
        f"and waited for one {waited:.0%} of the time"
    )


async def run(server: Server, asked: Connection, options: argparse.Namespace) -> bool:
    """:return: all is as it should be."""
    clients = [Client(server.port) for _ in range(KNOWN)]
    # What this program is made of is not to be looked through while it measures.
    gc.freeze()

    async def phase(what: str, seconds: float) -> tuple[list[float], int]:
        cpu, waited, began = server.cpu_seconds(), waited_seconds(server), time.monotonic()
        took, lost = await known_calls(server.port, clients, seconds)
        over = time.monotonic() - began
        cpu, waited = server.cpu_seconds() - cpu, waited_seconds(server) - waited
        row(what, took, lost, cpu / over, waited / over)
        return took, lost

    await known_calls(server.port, clients, 2)
    before, lost_before = await phase("alone", options.seconds / 3)
    ours, theirs = multiprocessing.Pipe()
    arguments = (server.port, options.tokens, options.seconds, options.addresses, theirs)
    process = multiprocessing.get_context("spawn").Process(target=strangers, args=arguments)
    process.start()
    # Its start takes a core for a moment.
    await asyncio.sleep(1)
    beside, lost = await phase("beside strangers", options.seconds - 1)
    while not ours.poll():
        await asyncio.sleep(0.05)
    statuses, unsent = ours.recv()
    process.join()
    after, lost_after = await phase("alone again", options.seconds / 3)
    asked.send(None)
    calls = asked.recv()
    tokens = options.addresses * (BURST + options.seconds / SECONDS_EACH) + CALLS_EACH * IN_FLIGHT
    allowed = CALLS_EACH * tokens
    ratio = p99(beside) / p99(before + after)
    print(f"  strangers: {statuses}, not sent {unsent}")
    print(
        f"  GitLab was asked {calls} times about {sum(statuses.values())} tokens of "
        f"{options.addresses} addresses; allowed {allowed:.0f}"
    )
    print(f"  known callers' p99: {ratio:.2f} times what it is alone")
    for client in clients:
        client.close()
    return (
        ratio <= 2
        and calls <= allowed
        and not statuses.get(200, 0)
        and lost_before + lost + lost_after == 0
    )


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=float, default=1000.0, help="a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--addresses", type=int, default=1, help="that the strangers come from")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="strangers-")))
        upstream = stack.enter_context(fixed_upstream(folder))
        port = free_port()
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(target=_gitlab, args=(port, theirs))
        process.start()
        stack.callback(process.join)
        stack.callback(process.terminate)
        server = stack.enter_context(
            gptproxy(folder, upstream.port, free_port(), None, PROXY, gitlab=port)
        )
        return 0 if asyncio.run(run(server, ours, options)) else 1


def _gitlab(port: int, asked: Connection) -> None:
    asyncio.run(gitlab(port, asked))


if __name__ == "__main__":
    sys.exit(main())
