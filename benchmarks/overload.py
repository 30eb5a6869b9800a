"""
Three times as many calls as the daemon can do: what it still does, how soon it refuses the rest, and how soon it is
well again.

Run: ``python -m benchmarks.overload [--seconds 10] [--times 3] [--callers 3000] [--pin]``. It needs nginx and wrk
(Debian: ``apt install nginx-light wrk``): nginx is upstream and GitLab, wrk makes the calls, so that what is measured
is the narrowest place. Peak is what as many connections as keep it busy get out of it, one call after the other. Then
each of so many callers waits between its calls so long that all together would make three times as many, if they were
answered at once. None of them heeds a refusal, and each waits for its next answer, because it is not read from for as
long as it was told to wait. Some others heed it, and come again when they were told to. On a machine with other work
the figures say little: see how much of a core the daemon got.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path

from benchmarks.servers import TOKEN, Server, fixed_upstream, free_port, gptproxy

BUSY_CONNECTIONS = 64
POLITE = 50
IMPOLITE = 20
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "y" * 944}]})
REQUEST = (
    f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\n"
    f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n{BODY}"
).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: b\r\n\r\n"


class Load:
    """
    Calls, and what became of them.

    :ivar done: for each call that was answered: when, status, and seconds.
    """

    def __init__(self, port: int, most: int = BUSY_CONNECTIONS) -> None:
        self.port = port
        self.most = most
        self.done: list[tuple[float, int, float]] = []
        self.free: deque[Connection] = deque()
        self.open = 0
        self.connecting = 0
        self.lost = 0
        self.tasks: set[asyncio.Future[None]] = set()

    def send(self) -> None:
        """One call, on a connection that is free, or a new one."""
        while self.free:
            connection = self.free.popleft()
            if connection.alive:
                connection.send()
                return
        if self.open + self.connecting < self.most:
            self.connecting += 1
            task = asyncio.ensure_future(self._connect())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _connect(self) -> None:
        began = time.monotonic()
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(self), "127.0.0.1", self.port
            )
        except OSError:
            self.lost += 1
        else:
            connection.send(began)
        finally:
            self.connecting -= 1


class Connection(asyncio.Protocol):
    """One call at a time."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.alive = False
        self.began = 0.0
        self.missing = 0
        self.status = 0

    def connection_made(self, transport) -> None:
        self.transport = transport
        self.alive = True
        self.load.open += 1

    def send(self, began: float | None = None) -> None:
        """Send the call."""
        self.began = time.monotonic() if began is None else began
        self.missing = -1
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            head, _, body = data.partition(b"\r\n\r\n")
            head += b"\r"
            self.status = int(head[9:12])
            at = head.find(b"content-length: ")
            self.missing = int(head[at + 16 : head.find(b"\r", at + 16)]) - len(body)
            self.closes = b"connection: close" in head
        else:
            self.missing -= len(data)
        if self.missing == 0:
            now = time.monotonic()
            self.load.done.append((now, self.status, now - self.began))
            if self.closes:
                self.transport.close()
            else:
                self.load.free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.alive = False
        self.load.open -= 1
        if self.missing:
            self.load.lost += 1


_SCRIPT = """
wrk.method = "POST"
wrk.body = [[{body}]]
wrk.headers["Authorization"] = "Bearer {token}"
wrk.headers["Content-Type"] = "application/json"
local mine
function setup(thread) mine = thread end
function init() good, refused, other = 0, 0, 0 end
function delay() return {wait} end
function response(status)
  if status == 200 then good = good + 1
  elseif status == 503 then refused = refused + 1
  else other = other + 1 end
end
function done() print("statuses", mine:get("good"), mine:get("refused"), mine:get("other")) end
"""


async def calls(
    folder: Path, port: int, connections: int, seconds: float, wait: float
) -> tuple[int, int, int]:
    """:return: how many calls were answered 200, 503, and otherwise; each waits so many ms before the next."""
    script = folder / "calls.lua"
    script.write_text(_SCRIPT.format(body=BODY, token=TOKEN, wait=round(wait)))
    made = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script)),
        f"http://127.0.0.1:{port}/v1/chat/completions",
        stdout=asyncio.subprocess.PIPE,
    )
    output = (await made.communicate())[0].decode()
    good, refused, other = output.rpartition("statuses")[2].split()[:3]
    return int(good), int(refused), int(other)


async def peak(folder: Path, port: int, seconds: float) -> float:
    """:return: calls a second, one after the other on each of some connections."""
    good, refused, other = await calls(folder, port, BUSY_CONNECTIONS, seconds, 0)
    if refused or other:
        raise SystemExit("calls were refused at the daemon's own pace")
    return good / seconds


async def offer(load: Load, per_second: float, seconds: float) -> None:
    """Send at a pace."""
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * per_second)
        for _ in range(min(due - sent, 400)):
            load.send()
        sent = min(due, sent + 400)
        await asyncio.sleep(0.002)
    print(f"  sent {sent / seconds:.0f} a second of {per_second:.0f} wanted")


async def health(port: int, found: list[float]) -> None:
    """Ask for /healthz ten times a second."""
    while True:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEALTH)
        await reader.readuntil(b"\r\n\r\n")
        found.append(time.monotonic() - began)
        writer.close()
        await asyncio.sleep(0.1)


async def caller(port: int, done: list[tuple[int, float]], *, heeds: bool) -> None:
    """Call once a second; who is refused and heeds it comes again when told, and no sooner; who does not, at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            began = time.monotonic()
            writer.write(REQUEST)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(_field(head, b"content-length")))
            done.append((int(head[9:12]), time.monotonic() - began))
            told = int(_field(head, b"retry-after") or 1)
            await asyncio.sleep(told if heeds else 0.2)
    finally:
        writer.close()


def _field(head: bytes, name: bytes) -> bytes:
    """:return: a field's value."""
    return head.partition(b"\r\n" + name + b": ")[2].partition(b"\r")[0]


def p99(values: list[float]) -> float:
    """:return: in milliseconds."""
    return statistics.quantiles(values, n=100)[98] * 1000 if len(values) > 2 else 0.0


async def run(folder: Path, server: Server, seconds: float, times: float, callers: int) -> bool:
    """:return: all is as it should be."""
    await peak(folder, server.port, 1)
    used = server.cpu_seconds()
    top = await peak(folder, server.port, 4)
    top_cpu = (server.cpu_seconds() - used) / 4.0
    print(f"peak: {top:.0f} calls a second, with {top_cpu:.0%} of a core")
    told: list[tuple[int, float]] = []
    untold: list[tuple[int, float]] = []
    asked: list[float] = []
    beside = [asyncio.ensure_future(caller(server.port, told, heeds=True)) for _ in range(POLITE)]
    beside += [
        asyncio.ensure_future(caller(server.port, untold, heeds=False)) for _ in range(IMPOLITE)
    ]
    beside.append(asyncio.ensure_future(health(server.port, asked)))
    used = server.cpu_seconds()
    good, refused, other = await calls(
        folder, server.port, callers, seconds, callers / (times * top) * 1000
    )
    cpu = (server.cpu_seconds() - used) / seconds
    for each in beside:
        each.cancel()
    over = time.monotonic()
    goodput = (good + sum(status == 200 for status, _ in (*told, *untold))) / seconds
    offered = (good + refused + other) / seconds
    # Where other processes take from the daemon's core, this tells more than what was done in a second.
    useful = goodput * top_cpu / top / cpu
    print(f"of the daemon's time {useful:.0%} went into answers, at what each cost at the peak")
    print(f"overload: {offered:.0f} calls a second, {offered / top:.1f} times the peak; ", end="")
    print(f"goodput {goodput:.0f} = {goodput / top:.0%} of peak, with {cpu:.0%} of a core")
    first = [took for status, took in told if status == 503]
    others = [took for status, took in untold if status == 503]
    print(f"  refused {refused}, otherwise {other}; p99 of refusals ", end="")
    print(f"{p99(first):.0f} ms of {len(first)} to who heeds Retry-After, ", end="")
    print(f"{p99(others):.0f} ms of {len(others)} to who does not")
    print(f"  /healthz p50 {statistics.median(asked) * 1000:.0f} ms", end=", ")
    print(f"p99 {p99(asked):.0f} ms, behind the first second {p99(asked[10:]):.0f} ms")
    load = Load(server.port, callers)
    await offer(load, 0.5 * top, 6)
    last = max((when for when, status, _ in load.done if status == 503), default=over) - over
    slow = [when for when, status, took in load.done if when > over and took > 0.1]
    normal = max(last, max(slow, default=over) - over)
    print(
        f"afterwards: the last refusal after {last:.2f} s, the last slow answer after {normal:.2f} s"
    )
    return goodput >= 0.8 * top and p99(first) < 100 and normal < 5


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--times", type=float, default=3.0)
    parser.add_argument("--callers", type=int, default=3000, help="connections")
    parser.add_argument("--pin", action="store_true", help="the daemon on a core of its own")
    options = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        core, *others = sorted(os.sched_getaffinity(0))
        if options.pin:
            os.sched_setaffinity(0, others)
        upstream = stack.enter_context(fixed_upstream(folder))
        server = stack.enter_context(
            gptproxy(folder, upstream.port, free_port(), None, "[limits]\nconnections = 9000\n")
        )
        if options.pin:
            os.sched_setaffinity(server.pid, [core])
        well = asyncio.run(run(folder, server, options.seconds, options.times, options.callers))
        return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
