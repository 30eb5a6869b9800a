"""
The primary's process is killed under 64 running streams: how long until each of them ends in an error event, and until
a new call has its answer from the secondary?

``python -m benchmarks.killed_primary [RUNS]`` prints one line for each run, and the whole. The streams bring an event
every quarter of a second, so that at the moment of the kill all are in the middle of their answers.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.request import Request, urlopen

from attrs import define, field

from benchmarks.steering import Daemon, daemon, sandbox, sandbox_process

STREAMS = 64
EVENTS_SECONDS = 0.25
START_SECONDS = 30
TOKEN = "sk-user1-0123456789"
WORDS = " ".join(f"word{number}" for number in range(400))
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


@define
class Run:
    """What was seen; all in seconds from the kill."""

    error_events: list[float] = field(factory=list)
    ends: list[float] = field(factory=list)
    new_calls: list[float] = field(factory=list)
    found: Counter[str] = field(factory=Counter)


def request(content: str, *, stream: bool) -> bytes:
    """:return: a chat."""
    messages = [{"role": "user", "content": content}]
    body = json.dumps({"model": "gpt-4o", "stream": stream, "messages": messages}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def one_stream(
    port: int, running: asyncio.Semaphore, killed: asyncio.Future[float], run: Run
) -> None:
    """One stream, from its first events to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(WORDS, stream=True))
    received, said, told = b"", False, False
    while piece := await reader.read(65536):
        received += piece
        if not said and received.count(b"data: ") >= 4:
            said = True
            running.release()
        if not told and b'data: {"error":' in received:
            told = True
            run.error_events.append(time.perf_counter() - await killed)
    run.ends.append(time.perf_counter() - await killed)
    whole = b"[DONE]" in received or received.endswith(b"0\r\n\r\n")
    count = received.count(b'data: {"error":')
    run.found[f"{count} error event" + (" and a clean end" if whole else "")] += 1
    writer.close()


async def new_call(port: int, killed: float, run: Run) -> None:
    """One call, and who answered it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request("otters", stream=False))
    answer = await reader.read(-1)
    run.new_calls.append(time.perf_counter() - killed)
    status = answer.split(b" ", 2)[1].decode()
    by = "secondary" if b"x-gptproxy-upstream: secondary" in answer.lower() else "another"
    run.found[f"new call: {status} of {by}"] += 1
    writer.close()


async def measure(port: int, kill: object) -> Run:
    """:return: one run."""
    run, running = Run(), asyncio.Semaphore(0)
    killed: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    streams = [asyncio.create_task(one_stream(port, running, killed, run)) for _ in range(STREAMS)]
    for _ in range(STREAMS):
        await asyncio.wait_for(running.acquire(), START_SECONDS)
    at = time.perf_counter()
    kill()  # type: ignore[operator]  # Popen.kill
    killed.set_result(at)
    # Eight at once, at the very moment: none of them may wait for the primary to be found dead by others.
    await asyncio.gather(*streams, *(new_call(port, at, run) for _ in range(8)))
    return run


def one_run(secondary: str) -> Run:
    """:return: one run with a primary and a daemon of its own."""
    with (
        sandbox_process() as (addresses, primary),
        tempfile.TemporaryDirectory() as folder,
    ):
        slow = {"role": "openai", "fault": "slow_events", "delay_seconds": EVENTS_SECONDS}
        ask = Request(  # noqa: S310 - the sandbox's address
            f"{addresses['gitlab']}/sandbox/faults",
            json.dumps({**slow, "times": STREAMS}).encode(),
            {"content-type": "application/json"},
        )
        urlopen(ask, timeout=30).close()  # noqa: S310 - as above
        configuration = CONFIGURATION.format(addresses["openai"], secondary)
        running: Daemon
        with daemon(Path(folder), configuration) as running:
            return asyncio.run(measure(running.port, primary.kill))


def told(name: str, seconds: list[float]) -> str:
    """:return: the middle and the worst, in milliseconds."""
    middle, worst = 1000 * statistics.median(seconds), 1000 * max(seconds)
    return f"{name}: p50 {middle:.1f} ms, max {worst:.1f} ms (n = {len(seconds)})"


def main() -> None:
    """Run it so often."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    whole = Run()
    with sandbox() as secondary:
        for number in range(1, runs + 1):
            run = one_run(secondary["openai"])
            print(number, told("error event", run.error_events), told("new call", run.new_calls))
            whole.error_events += run.error_events
            whole.ends += run.ends
            whole.new_calls += run.new_calls
            whole.found += run.found
    print(f"all {runs} runs of {STREAMS} streams: {dict(whole.found)}")
    for name, seconds in (
        ("error event", whole.error_events),
        ("connection's end", whole.ends),
        ("new call answered", whole.new_calls),
    ):
        print(told(name, seconds))


if __name__ == "__main__":
    main()
