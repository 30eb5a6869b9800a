"""
Callers who leave, in each phase of a call, and what is left of them: nothing, and that soon.

Run: ``python -m benchmarks.leavings [--calls 10000] [--at-once 8]``. It needs nginx (Debian: ``apt install
nginx-light``), which stands for GitLab. The real daemon is called by clients who leave when their headers are sent, in
the middle of their body, while they wait, after the first byte, in the middle of a stream, and while the daemon waits
before another attempt. What is printed: open file descriptors before and after, upstream connections that are still in
use, and how long after a caller had left the upstream saw the end. The exit status is 1 where something leaked, where
an upstream saw an end later than 100 ms, or where a call was sent again for a caller who had left so long before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.servers import TOKEN, Server, fixed_upstream, free_port, gptproxy

SEEN_SECONDS = 0.1
SETTLE_SECONDS = 20.0
PHASES = ("headers sent", "body half sent", "waiting", "first byte", "mid-stream", "retry sleep")
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BUSY = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def chunk(data: bytes) -> bytes:
    """:return: a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Upstream:
    """
    Behaves as a call's phase wants it.

    :ivar in_use: calls under way.
    :ivar left: when each call's caller left, by the call's number.
    :ivar came: attempts, by the call's number.
    :ivar reached: set when a call has come so far that its caller may leave.
    :ivar late: for each phase, seconds from a leaving to the end that was seen here.
    """

    def __init__(self) -> None:
        self.in_use = 0
        self.connections = 0
        self.left: dict[int, float] = {}
        self.came: dict[int, int] = {}
        self.reached: dict[int, asyncio.Event] = {}
        self.late: dict[str, list[float]] = {phase: [] for phase in PHASES}
        self.sent_again = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the daemon's."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                asked = json.loads(await reader.readexactly(length))
                self.in_use += 1
                try:
                    if not await self._answer(asked["phase"], asked["number"], reader, writer):
                        return
                finally:
                    self.in_use -= 1
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            # The daemon has gone, or this program goes.
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def _answer(
        self, phase: str, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """:return: the connection goes on."""
        self.came[number] = self.came.get(number, 0) + 1
        if phase == "retry sleep":
            if time.monotonic() - self.left.get(number, float("inf")) > SEEN_SECONDS:
                self.sent_again += 1
            writer.write(BUSY)
            self._reach(number)
            return True
        if phase in ("first byte", "mid-stream"):
            writer.write(STREAM + chunk(b"data: 1\n\n"))
        if phase != "mid-stream":
            self._reach(number)
        ended = asyncio.ensure_future(reader.read(1))
        while not ended.done():
            if phase == "mid-stream":
                with suppress(ConnectionError):
                    writer.write(chunk(b"data: " + b"x" * 200 + b"\n\n"))
                self._reach(number)
            await asyncio.wait((ended,), timeout=0.01 if phase == "mid-stream" else None)
        self.late[phase].append(time.monotonic() - self.left[number])
        ended.exception()
        return False

    def _reach(self, number: int) -> None:
        if number in self.reached:
            self.reached[number].set()


async def call(upstream: Upstream, port: int, phase: str, number: int) -> None:
    """Call, and leave in that phase."""
    body = json.dumps(
        {"model": "paced", "stream": True, "phase": phase, "number": number, "messages": []}
    ).encode()
    upstream.reached[number] = asyncio.Event()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode()
    if phase == "headers sent":
        writer.write(head)
    elif phase == "body half sent":
        writer.write(head + body[: len(body) // 2])
    else:
        writer.write(head + body)
        async with asyncio.timeout(30):
            await upstream.reached[number].wait()
        if phase in ("first byte", "mid-stream"):
            await reader.readuntil(b"data: ")
    if phase in PHASES[:2] or phase == "retry sleep":
        # So that the daemon has read what was sent.
        await asyncio.sleep(0.01)
    upstream.left[number] = time.monotonic()
    # Half of them reset, as a process does that is killed.
    if number % 2:
        writer.transport.abort()
    else:
        writer.close()
    del upstream.reached[number]


def descriptors(server: Server) -> int:
    """:return: how many files the daemon has open."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


async def until(holds: Callable[[], bool]) -> bool:
    """:return: it did, in time."""
    end = time.monotonic() + SETTLE_SECONDS
    while not holds():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


async def many(count: int, at_once: int, one: Callable[[int], Awaitable[None]]) -> None:
    """So many, so many at a time."""
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(some() for _ in range(at_once)))


async def measure(server: Server, upstream: Upstream, count: int, at_once: int) -> bool:
    """:return: nothing leaked, and every end was seen in time."""
    # The first calls open what stays open: the log, connections to GitLab.
    await many(6 * at_once, at_once, lambda n: call(upstream, server.port, PHASES[n % 6], -1 - n))
    await until(lambda: not upstream.in_use)
    upstream.late = {phase: [] for phase in PHASES}
    rss = server.rss_mib()
    idle = upstream.connections
    before = descriptors(server) - idle
    started = time.monotonic()
    await many(count, at_once, lambda n: call(upstream, server.port, PHASES[n % 6], n))
    took = time.monotonic() - started
    settled = await until(
        lambda: not upstream.in_use and descriptors(server) - upstream.connections <= before
    )
    after = descriptors(server) - upstream.connections
    print(f"  {count} leavings in {took:.1f} s, {at_once} at a time")
    print(f"  open descriptors but for kept upstream connections: {before} before, {after} after")
    print(f"  upstream connections: {upstream.in_use} in use, {upstream.connections} kept")
    print(f"  sent again for a caller who had left: {upstream.sent_again}")
    print(f"  RSS {rss:.1f} MiB before, {server.rss_mib():.1f} MiB after")
    soon = True
    for phase, late in upstream.late.items():
        if late:
            p50, p99 = statistics.median(late) * 1000, statistics.quantiles(late, n=100)[98] * 1000
            over = sum(seconds > SEEN_SECONDS for seconds in late)
            soon = soon and not over
            print(
                f"  {phase:15} end seen after p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  max {max(late) * 1000:6.1f} ms"
                f"  ({len(late)} seen, {over} later than {SEEN_SECONDS * 1000:.0f} ms)"
            )
    waited = all(len(upstream.late[phase]) >= count // 6 for phase in PHASES[2:5])
    return settled and soon and waited and not upstream.sent_again


async def run(count: int, at_once: int) -> bool:
    """:return: as :func:`measure`."""
    upstream, port = Upstream(), free_port()
    serving = await asyncio.start_server(upstream.serve, "127.0.0.1", port, backlog=1024)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="leavings-")))
        fixed = stack.enter_context(fixed_upstream(folder))
        server = stack.enter_context(gptproxy(folder, fixed.port, port, None))
        good = await measure(server, upstream, count, at_once)
    serving.close()
    return good


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=8)
    chosen = parser.parse_args()
    sys.exit(0 if asyncio.run(run(chosen.calls, chosen.at_once)) else 1)


if __name__ == "__main__":
    main()
