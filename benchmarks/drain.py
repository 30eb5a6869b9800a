"""
SIGTERM under load: what becomes of running streams and of calls that keep coming on kept connections.

Run: ``python -m benchmarks.drain [--streams 200] [--calls 300]``. The status is 1 where one was lost. Calls that find
nobody listening are not lost: their client knows at once that nothing was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.steering import CONFIGURATION, Daemon, daemon, keep_calling, one_stream, sandbox

CONNECTIONS = 60


async def run(running: Daemon, streams: int, calls: float) -> bool:
    """:return: nothing was lost."""
    found_streams: Counter[str] = Counter()
    found_calls: Counter[str] = Counter()
    over = asyncio.Event()
    port = running.port
    tasks = [asyncio.create_task(one_stream(port, found_streams)) for _ in range(streams)]
    for _ in range(CONNECTIONS):
        tasks.append(
            asyncio.create_task(keep_calling(port, calls / CONNECTIONS, found_calls, over))
        )
        await asyncio.sleep(1 / CONNECTIONS)
    await asyncio.sleep(2)
    answered = sum(found_calls.values())
    running.process.send_signal(signal.SIGTERM)
    stopped = time.monotonic()
    while running.process.poll() is None:
        await asyncio.sleep(0.02)
    seconds = time.monotonic() - stopped
    over.set()
    await asyncio.gather(*tasks)
    print(f"calls before SIGTERM: {answered}; streams under way: {streams}")
    print(f"ended after {seconds:.2f} s with status {running.process.returncode}")
    print(f"streams: {dict(found_streams)}")
    print(f"calls:   {dict(found_calls)}")
    return (
        found_streams == Counter({"200": streams})
        and set(found_calls) <= {"200", "not accepted"}
        and running.process.returncode == 0
    )


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--calls", type=float, default=300.0, help="a second")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox() as addresses,
        daemon(Path(folder), CONFIGURATION.format_map(addresses)) as running,
    ):
        fine = asyncio.run(run(running, options.streams, options.calls))
        if not fine:
            print("\n".join(running.log.read_text().splitlines()[-20:]))
        return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
