"""
An upstream that streams events at a pace: ``POST .../chat/completions`` with ``{"events": n, "per_second": r}``.

Each event carries the time at which it was written, so that whoever reads it knows what the way took. A program of its
own (``python paced.py PORT``), on asyncio, so that it shares nothing with what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

PADDING = "x" * 80
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def event(number: int) -> bytes:
    """:return: one event of about 250 bytes as a chunk."""
    content = {
        "id": "chatcmpl-paced",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "paced",
        "sent": time.monotonic(),
        "choices": [
            {"index": 0, "delta": {"content": f"{number} {PADDING}"}, "finish_reason": None}
        ],
    }
    data = b"data: " + json.dumps(content).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            asked = json.loads(await reader.readexactly(length))
            writer.write(HEAD)
            next_time = time.monotonic()
            for number in range(asked["events"]):
                writer.write(event(number))
                await writer.drain()
                next_time += 1 / asked["per_second"]
                await asyncio.sleep(max(0.0, next_time - time.monotonic()))
            done = b"data: [DONE]\n\n"
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(done), done))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(port: int) -> None:
    """Serve until ended."""
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
