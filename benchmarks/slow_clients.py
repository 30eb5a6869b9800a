"""
A normal call beside clients that never finish their headers.

Run: ``python -m benchmarks.slow_clients [--clients 2000] [--seconds 40] [--header-seconds 30]``. It needs nginx
(Debian: ``apt install nginx-light``). 2,000 connections send one byte of a request's head every 5 s, from a process of
their own, while one client calls again and again. What is printed: p50 and p99 of the call without them, while they are
there, and while they are being ended; how many of them the header timeout has ended; and the daemon's memory.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.relay import CALL
from benchmarks.servers import TOKEN, Server, fixed_upstream, free_port, gptproxy

BYTE_SECONDS = 5.0
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\nx-slow: " + b"s" * 10_000
AT_ONCE = 32
"""Connections that are being made at a time: the port's backlog is 50."""


async def _dribble(port: int, clients: int, until: float) -> Counter[str]:
    connecting = asyncio.Semaphore(AT_ONCE)

    async def slow(number: int) -> str:
        # Spread over the 5 s, as clients that know nothing of each other are.
        await asyncio.sleep(BYTE_SECONDS * number / clients)
        async with connecting:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.create_task(reader.read())
        try:
            for byte in HEAD:
                writer.write(bytes((byte,)))
                left = until - time.monotonic()
                if left <= 0:
                    return "still connected at the end"
                if (await asyncio.wait((answer,), timeout=min(BYTE_SECONDS, left)))[0]:
                    break
            return "ended with 408" if (await answer).startswith(b"HTTP/1.1 408 ") else "closed"
        except ConnectionError:
            return "reset"
        finally:
            answer.cancel()
            writer.close()

    return Counter(await asyncio.gather(*(slow(number) for number in range(clients))))


def dribble(port: int, clients: int, until: float) -> Counter[str]:
    """:return: how the slow clients ended, and how many each way."""
    _raise_open_files()
    return asyncio.run(_dribble(port, clients, until))


def call_while(server: Server, going_on: Callable[[], bool]) -> list[float]:
    """:return: what each of one client's calls took, in milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
    took = []
    while going_on():
        started = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", CALL, headers)
        answer = connection.getresponse()
        answer.read()
        took.append((time.perf_counter() - started) * 1000)
        if answer.status != 200:
            raise SystemExit(f"the normal call was answered {answer.status}")
    connection.close()
    return took


def call_until(server: Server, until: float) -> list[float]:
    """:return: as :func:`call_while`."""
    return call_while(server, lambda: time.monotonic() < until)


def row(title: str, took: list[float], server: Server) -> None:
    """Print a line."""
    hundredths = statistics.quantiles(took, n=100)
    print(
        f"  {title:24} p50 {hundredths[49]:7.3f} ms   p99 {hundredths[98]:7.3f} ms   max {max(took):8.3f} ms"
        f"   {len(took):6} calls   RSS {server.rss_mib():.1f} MiB",
        flush=True,
    )


def _raise_open_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--seconds", type=int, default=40, help="that the slow clients have")
    parser.add_argument("--header-seconds", type=int, default=30, help="the daemon's own setting")
    chosen = parser.parse_args()
    # The daemon inherits it.
    _raise_open_files()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slow-clients-")))
        upstream = stack.enter_context(fixed_upstream(folder))
        more = f"[timeouts]\nheader_seconds = {chosen.header_seconds}\n"
        server = stack.enter_context(gptproxy(folder, upstream.port, free_port(), None, more))
        call_until(server, time.monotonic() + 1)
        row("without slow clients", call_until(server, time.monotonic() + 5), server)
        slow = stack.enter_context(ProcessPoolExecutor(1))
        began = time.monotonic()
        ended = slow.submit(dribble, server.port, chosen.clients, began + chosen.seconds)
        call_until(server, began + BYTE_SECONDS)
        row("beside them", call_until(server, began + chosen.header_seconds), server)
        row("while they are ended", call_while(server, lambda: not ended.done()), server)
        print(f"  {chosen.clients} slow clients: ", end="")
        print(", ".join(f"{count} {way}" for way, count in ended.result().items()))


if __name__ == "__main__":
    main()
