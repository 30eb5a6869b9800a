"""
So many streams at a time, a new one for each that has ended; what became of them as one line of JSON at the end.

    python3 streams.py SECONDS STREAMS STARTED

Where all have begun, the file STARTED is made. No new ones are begun after SECONDS; those that run are read to their
end.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
from collections import Counter
from pathlib import Path

PATIENCE_SECONDS = 120.0
BODY = json.dumps(
    {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
).encode()
CALL = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    b"authorization: Bearer glpat-sandbox-alice\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class Streams:
    """
    :param wanted: how many run at a time.
    :param started: the file that is made when they do.
    """

    def __init__(self, wanted: int, started: Path) -> None:
        self.wanted = wanted
        self.started = started
        self.results: Counter[str] = Counter()
        self.longest = 0.0
        self.last_cut: str | None = None
        self._running = 0
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE

    async def keep_one(self, end: float) -> None:
        """One after the other."""
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    self.results[await self._one()] += 1
            except (OSError, TimeoutError, EOFError) as error:
                self.results[type(error).__name__] += 1
                await asyncio.sleep(0.2)
            self.longest = max(self.longest, time.monotonic() - began)

    async def _one(self) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", 443, ssl=self._context)
        try:
            writer.write(CALL)
            answer = b""
            while chunk := await reader.read(65536):
                if not answer:
                    self._running += 1
                    if self._running == self.wanted:
                        self.started.touch()
                answer += chunk
        finally:
            writer.close()
        if not answer.startswith(b"HTTP/1.1 200 "):
            return answer[:12].decode("latin-1") or "nothing"
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        # One that came up at once has a length.
        ended = len(body) == int(length[1]) if length else body.endswith(b"\r\n0\r\n\r\n")
        if ended and b"data: [DONE]" in body:
            return "whole"
        self.last_cut = answer[-300:].decode("utf-8", "replace")
        return "cut"


async def main() -> None:
    """Stream, and tell."""
    streams = Streams(int(sys.argv[2]), Path(sys.argv[3]))
    end = time.monotonic() + float(sys.argv[1])
    async with asyncio.TaskGroup() as group:
        for number in range(streams.wanted):
            group.create_task(streams.keep_one(end))
            if number % 10 == 9:
                await asyncio.sleep(0.05)
    results = streams.results
    failed = sum(results.values()) - results["whole"]
    told = {"failed": failed, "longest_seconds": round(streams.longest, 1), **results}
    if streams.last_cut is not None:
        told["last_cut"] = streams.last_cut
    sys.stdout.write(json.dumps(told) + "\n")


asyncio.run(main())
