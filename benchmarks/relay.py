"""
The relay beside nginx as a reverse proxy, in one run against the same upstream.

Run: ``make bench``, or ``python -m benchmarks.relay [--seconds 4] [--rounds 3]``. It needs nginx and wrk (Debian:
``apt install nginx-light wrk``). What is printed: calls per second, CPU microseconds a call (user and system time of
the proxy's process; steadier than calls per second where a machine is shared), the latency that is added at one
connection, memory, the time from start to first answer, events of streams, and the ratios to nginx. Everything of
gptproxy is on: the token's verdict from the cache, the model's mapping, request id, access line.

nginx runs twice: as it comes (``proxy_pass`` and nothing more: a connection to the upstream for each call), and told to
keep its upstream connections, as gptproxy does. What a call costs it differs by a factor of three.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.servers import (
    TOKEN,
    Server,
    fixed_upstream,
    gptproxy,
    nginx_path,
    nginx_proxy,
    paced_upstream,
)
from gptproxy.tryout import write_certificate

CONNECTIONS = 32
CALL = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "y" * 944}]})
STREAMS = 128
EVENTS_PER_SECOND = 50
GAP_SECONDS = 0.2


def wrk(
    server: Server, script: Path, connections: int, seconds: int, scheme: str
) -> tuple[int, float, float]:
    """:return: requests, and the latency's p50 and p99 in milliseconds."""
    url = f"{scheme}://127.0.0.1:{server.port}/v1/chat/completions"
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(f"answers that are no answers: {text}")
    requests = int(re.search(r"(\d+) requests in", text).group(1))
    percentiles = [
        float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]
        for number, unit in re.findall(r"(?:50|99)%\s+([\d.]+)(us|ms|s)", text)
    ]
    return requests, percentiles[0], percentiles[1]


def calls(servers: dict[str, Server], script: Path, rounds: int, seconds: int, scheme: str) -> None:
    """Calls at 32 connections, the systems in turn, the median of the rounds."""
    cpu: dict[str, list[float]] = {name: [] for name in servers}
    rate: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            before = server.cpu_seconds()
            requests, _, _ = wrk(server, script, CONNECTIONS, seconds, scheme)
            cpu[name].append((server.cpu_seconds() - before) / requests * 1e6)
            rate[name].append(requests / seconds)
    table("calls a second", rate, "{:.0f}")
    table("CPU us a call", cpu, "{:.1f}", ratio=True)
    table("RSS MiB after it", {n: [s.rss_mib()] for n, s in servers.items()}, "{:.1f}")


def latency(
    upstream: Server, servers: dict[str, Server], script: Path, rounds: int, scheme: str
) -> None:
    """What each adds at one connection to what the upstream takes by itself."""
    p50: dict[str, list[float]] = {name: [] for name in servers}
    p99: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        _, own50, own99 = wrk(upstream, script, 1, 2, "http")
        for name, server in servers.items():
            _, half, most = wrk(server, script, 1, 2, scheme)
            p50[name].append(half - own50)
            p99[name].append(most - own99)
    table("added p50 ms, 1 connection", p50, "{:.3f}")
    table("added p99 ms, 1 connection", p99, "{:.3f}")


async def stream(port: int, path: str, events: int, gaps: list[float], ways: list[float]) -> None:
    """Read one stream; note what each event's way took and the gaps that the upstream did not make."""
    body = json.dumps(
        {"model": "paced", "stream": True, "events": events, "per_second": EVENTS_PER_SECOND}
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST {path}/v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    )
    last_sent = last_seen = None
    while True:
        line = await reader.readline()
        if line.startswith(b"data: [DONE]") or not line:
            break
        if line.startswith(b"data: "):
            now = time.monotonic()
            sent = json.loads(line[6:])["sent"]
            ways.append((now - sent) * 1000)
            if last_sent is not None and last_seen is not None:
                gaps.append((now - last_seen) - (sent - last_sent))
            last_sent, last_seen = sent, now
    writer.close()


async def streams(port: int, path: str, events: int) -> tuple[list[float], list[float]]:
    """128 of them at once."""
    gaps: list[float] = []
    ways: list[float] = []
    await asyncio.gather(*(stream(port, path, events, gaps, ways) for _ in range(STREAMS)))
    return gaps, ways


def events(servers: dict[str, Server], rounds: int, seconds: int) -> None:
    """Streams of 50 events a second through each, in turn."""
    cpu: dict[str, list[float]] = {name: [] for name in servers}
    p99: dict[str, list[float]] = {name: [] for name in servers}
    late: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            path = "" if name == "gptproxy" else "/paced"
            before = server.cpu_seconds()
            gaps, ways = asyncio.run(streams(server.port, path, EVENTS_PER_SECOND * seconds))
            cpu[name].append((server.cpu_seconds() - before) / len(ways) * 1e6)
            p99[name].append(statistics.quantiles(ways, n=100)[98])
            late[name].append(sum(gap > GAP_SECONDS for gap in gaps))
    table(f"CPU us an event, {STREAMS} streams", cpu, "{:.1f}", ratio=True)
    table("an event's way, p99 ms", p99, "{:.2f}")
    table(f"gaps over {GAP_SECONDS * 1000:.0f} ms not upstream's", late, "{:.0f}")


def idle_connections(server: Server, count: int = 500) -> float:
    """:return: KiB of memory for each connection that has been used once and idles."""

    async def hold() -> float:
        before = server.rss_mib()
        writers = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /v1/models HTTP/1.1\r\nhost: b\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            writers.append(writer)
        held = (server.rss_mib() - before) * 1024 / count
        for writer in writers:
            writer.close()
        return held

    return asyncio.run(hold())


def open_streams(server: Server, path: str, count: int = 500) -> float:
    """:return: KiB of memory for each stream that has begun and waits for its next event."""

    async def hold() -> float:
        body = json.dumps({"model": "paced", "stream": True, "events": 100, "per_second": 0.02})
        before = server.rss_mib()
        writers = []
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(
                f"POST {path}/v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
            )
            await reader.readuntil(b"data: ")
            writers.append(writer)
        held = (server.rss_mib() - before) * 1024 / count
        for writer in writers:
            writer.close()
        return held

    return asyncio.run(hold())


def table(title: str, measured: dict[str, list[float]], form: str, *, ratio: bool = False) -> None:
    """Print a line: the medians, and the ratios of the last to the others."""
    medians = {name: statistics.median(numbers) for name, numbers in measured.items()}
    cells = "  ".join(f"{name} {form.format(median):>7}" for name, median in medians.items())
    *others, last = medians.values()
    ratios = "  ".join(f"{last / other:.2f}x" for other in others) if ratio else ""
    print(f"  {title:34} {cells}   {ratios}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=4, help="of load in each round")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    if nginx_path() is None or shutil.which("wrk") is None:
        raise SystemExit(
            "this benchmark needs nginx and wrk; on Debian: apt install nginx-light wrk"
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-benchmark-")))
        script = folder / "call.lua"
        script.write_text(
            f'wrk.method = "POST"\nwrk.body = [[{CALL}]]\n'
            f'wrk.headers["Authorization"] = "Bearer {TOKEN}"\n'
            'wrk.headers["Content-Type"] = "application/json"\n'
        )
        write_certificate(folder)
        upstream = stack.enter_context(fixed_upstream(folder))
        paced = stack.enter_context(paced_upstream(folder))

        def both(certificates: Path | None) -> dict[str, Server]:
            start: dict[str, Callable[..., object]] = {
                "nginx": partial(nginx_proxy, keeps=False),
                "nginx kept": nginx_proxy,
                "gptproxy": gptproxy,
            }
            return {
                name: stack.enter_context(run(folder, upstream.port, paced.port, certificates))
                for name, run in start.items()
            }

        plain = both(None)
        print("plain TCP")
        table(
            "start to first answer, s", {n: [s.started_seconds] for n, s in plain.items()}, "{:.2f}"
        )
        table("idle RSS MiB", {n: [s.rss_mib()] for n, s in plain.items()}, "{:.1f}")
        # First of all: later the connections live in memory that others have left.
        table(
            "KiB an idle connection", {n: [idle_connections(s)] for n, s in plain.items()}, "{:.1f}"
        )
        table(
            "KiB an open stream",
            {n: [open_streams(s, "" if n == "gptproxy" else "/paced")] for n, s in plain.items()},
            "{:.1f}",
        )
        calls(plain, script, chosen.rounds, chosen.seconds, "http")
        latency(upstream, plain, script, chosen.rounds, "http")
        events(plain, chosen.rounds, chosen.seconds)
        table(
            "KiB an idle connection", {n: [idle_connections(s)] for n, s in plain.items()}, "{:.1f}"
        )
        print("TLS, keep-alive")
        calls(both(folder), script, chosen.rounds, chosen.seconds, "https")


if __name__ == "__main__":
    main()
