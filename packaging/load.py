"""
A new TLS connection every so often, and a call on each; what became of them as one line of JSON at the end.

    python3 load.py SECONDS [PAUSE_SECONDS]
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections import Counter

PATIENCE_SECONDS = 60.0


async def one(context: ssl.SSLContext, results: Counter[str], waits: list[float]) -> None:
    """One call."""
    started = time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", 443, ssl=context)
            writer.write(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            answer = await reader.read()
            writer.close()
        # Nobody has logged in, and a process that serves says so; 503 would be one that no longer does.
        if answer.startswith(b"HTTP/1.1 401 ") and b"}" in answer:
            results["answered"] += 1
        else:
            results[answer[:12].decode("latin-1") or "nothing"] += 1
    except (OSError, TimeoutError, EOFError) as error:
        results[type(error).__name__] += 1
    waits.append(time.monotonic() - started)


async def main() -> None:
    """Ask, and tell."""
    seconds = float(sys.argv[1])
    pause = float(sys.argv[2]) if len(sys.argv) > 2 else 0.02
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    results: Counter[str] = Counter()
    waits: list[float] = []
    end = time.monotonic() + seconds
    async with asyncio.TaskGroup() as calls:
        while time.monotonic() < end:
            calls.create_task(one(context, results, waits))
            await asyncio.sleep(pause)
    failed = sum(results.values()) - results["answered"]
    sys.stdout.write(
        json.dumps({"failed": failed, "worst_seconds": round(max(waits), 3), **results}) + "\n"
    )


asyncio.run(main())
