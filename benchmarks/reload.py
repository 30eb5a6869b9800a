"""
SIGHUP again and again under load, every tenth time with a broken file.

Run: ``python -m benchmarks.reload [--times 100] [--calls 150] [--streams 20]``. The status is 1 where a call was lost,
a broken file was taken, a good one was refused, or memory or open files grew.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.steering import CONFIGURATION, Daemon, daemon, keep_calling, one_stream, sandbox

CONNECTIONS = 30
WARM_UP = 50
"""Reloads before memory is looked at first: as many as one stream sees, so that there are as many servings that are not
over as there will be later."""

GAP_SECONDS = 0.2

MOST_MIB = 4.0
"""More memory than this after all the others is growth; the allocator's own noise is some hundred KiB."""

MORE = (
    '[[user_token]]\nuser_id = "u{n}"\ntoken = "sk-user-0123456789-{n}"\n'
    "[limits.caller]\nconcurrent_calls = {concurrent}\n"
)
BROKEN = "[gitlab]\nurl = 7\n"


async def until(condition, seconds: float = 30.0) -> None:
    """Look every few milliseconds until something is so."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise SystemExit("a reload was not told in the log")


async def run(
    running: Daemon, file: Path, good: str, times: int, calls: float, streams: int
) -> bool:
    """:return: all is as it should be."""
    found: Counter[str] = Counter()
    over = asyncio.Event()
    port = running.port

    async def streaming() -> None:
        while not over.is_set():
            await one_stream(port, found)

    tasks = [asyncio.create_task(streaming()) for _ in range(streams)]
    tasks += [
        asyncio.create_task(keep_calling(port, calls / CONNECTIONS, found, over))
        for _ in range(CONNECTIONS)
    ]
    told = {"reloaded": 0, "not reloaded": 0}

    def said(words: str) -> int:
        return running.log.read_text().count(f"ReloadOnHangup#{words}")

    before = (0.0, 0)
    for number in range(times + WARM_UP):
        if number == WARM_UP:
            before = (running.rss_mib(), running.files())
        broken = number % 10 == 9
        file.write_text(
            BROKEN if broken else good + MORE.format(n=number, concurrent=1000 + number)
        )
        words = "error] not reloaded" if broken else "info] reloaded"
        told["not reloaded" if broken else "reloaded"] += 1
        count = said(words)
        running.process.send_signal(signal.SIGHUP)
        await until(lambda words=words, count=count: said(words) > count)
        await asyncio.sleep(GAP_SECONDS)
    over.set()
    await asyncio.gather(*tasks)
    after = (running.rss_mib(), running.files())
    print(f"SIGHUP {times + WARM_UP} times: {told}")
    print(f"calls and streams: {dict(found)}")
    print(f"RSS {before[0]:.1f} -> {after[0]:.1f} MiB; open files {before[1]} -> {after[1]}")
    return set(found) == {"200"} and after[0] - before[0] < MOST_MIB and after[1] <= before[1]


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--calls", type=float, default=150.0, help="a second")
    parser.add_argument("--streams", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, sandbox() as addresses:
        folder, good = Path(name), CONFIGURATION.format_map(addresses)
        with daemon(folder, good) as running:
            fine = asyncio.run(
                run(
                    running,
                    folder / "gptproxy.toml",
                    good,
                    options.times,
                    options.calls,
                    options.streams,
                )
            )
            if not fine:
                print("\n".join(running.log.read_text().splitlines()[-20:]))
            return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
