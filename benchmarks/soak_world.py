"""
What the soak's daemon has around it: an upstream and a GitLab as one process, which do what a call's body or token
says.

A program of its own (``python -m benchmarks.soak_world UPSTREAM_PORT GITLAB_PORT``), on asyncio, so that it shares
nothing with what is measured. A line on its standard input has it close the connections that nobody uses, and say on
its standard output, as JSON, how many calls are under way.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from contextlib import suppress

from benchmarks.servers import ANSWER, ITS_TOKEN

STREAM_EVENTS = 20
EVENT = b'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FILTERED = {
    "error": {
        "code": "content_filter",
        "message": "The response was filtered",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def answer(status: str, body: str, more: str = "", kind: str = "application/json") -> bytes:
    """:return: an answer with a length."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return (head + body).encode()


def chunk(data: bytes) -> bytes:
    """:return: a chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


PLAIN = answer("200 OK", ANSWER)
USER = '{"id": %d, "username": "soak%d", "state": "active", "bot": false}'
AWAY = {
    "500": answer("500 Internal Server Error", "{}"),
    "429": answer("429 Too Many Requests", "Retry later", "retry-after: 1\r\n"),
    "html": answer("200 OK", "<html>Sign in</html>", kind="text/html"),
    "401": answer("401 Unauthorized", '{"message":"401 Unauthorized"}'),
}


class World:
    """
    Both of them.

    :ivar in_use: calls under way.
    """

    def __init__(self) -> None:
        self.in_use = 0
        self._idle: set[asyncio.StreamWriter] = set()
        self._came: set[int] = set()

    async def upstream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the daemon's to the upstream."""
        await self._serve(reader, writer, self._completion)

    async def gitlab(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the daemon's to GitLab."""
        await self._serve(reader, writer, self._verdict)

    def close_idle(self) -> None:
        """Close the connections on which nothing is asked."""
        for writer in tuple(self._idle):
            writer.close()

    async def _serve(self, reader, writer, one) -> None:
        try:
            while True:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1])) if length else b""
                self.in_use += 1
                try:
                    if not await one(head, body, reader, writer):
                        return
                finally:
                    self.in_use -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._idle.discard(writer)
            writer.close()

    async def _verdict(self, head: bytes, body: bytes, reader, writer) -> bool:
        """:return: the connection goes on."""
        kind = re.search(rb"glpat-soak-([a-z0-9]+)-(\d+)", head)
        what, number = (kind[1].decode(), int(kind[2])) if kind else ("401", 0)
        if what == "reset":
            return False
        if what == "slow":
            await asyncio.sleep(1)
        if what in AWAY:
            writer.write(AWAY[what])
        elif b"/personal_access_tokens/self" in head:
            writer.write(answer("200 OK", ITS_TOKEN))
        else:
            writer.write(answer("200 OK", USER % (number + 1, number)))
        return True

    async def _completion(self, head: bytes, body: bytes, reader, writer) -> bool:
        """:return: the connection goes on."""
        asked = json.loads(body)
        kind, number = asked["kind"], asked["number"]
        first = number not in self._came
        if kind.startswith("fault-"):
            self._came.add(number)
            return await self._fault(kind.removeprefix("fault-"), first, writer)
        if kind == "plain":
            writer.write(PLAIN)
            return True
        if kind == "stream":
            writer.write(STREAM)
            for _ in range(STREAM_EVENTS):
                writer.write(chunk(EVENT))
                await asyncio.sleep(0.002)
            writer.write(chunk(DONE) + b"0\r\n\r\n")
            return True
        if kind == "retry-sleep":
            writer.write(AWAY["500"])
            return True
        # Until the caller has left: without a word, or word by word.
        ended = asyncio.ensure_future(reader.read(1))
        if kind != "waiting":
            writer.write(STREAM + chunk(EVENT))
        while not ended.done():
            if kind == "mid-stream":
                with suppress(ConnectionError):
                    writer.write(chunk(EVENT))
            await asyncio.wait((ended,), timeout=0.01 if kind == "mid-stream" else None)
        ended.exception()
        return False

    async def _fault(self, kind: str, first: bool, writer: asyncio.StreamWriter) -> bool:
        """:return: the connection goes on. All but two faults are gone at the second attempt."""
        if kind == "filter":
            writer.write(answer("400 Bad Request", json.dumps(FILTERED)))
        elif kind == "always":
            writer.write(AWAY["500"])
        elif not first:
            writer.write(PLAIN)
        elif kind == "429":
            writer.write(answer("429 Too Many Requests", "{}", "retry-after-ms: 100\r\n"))
        elif kind == "cut":
            writer.write(STREAM + chunk(EVENT) * 3)
            await asyncio.sleep(0.02)
            return False
        elif kind == "reset":
            writer.transport.abort()
            return False
        else:
            writer.write(AWAY["500"])
        return True


async def main(upstream_port: int, gitlab_port: int) -> None:
    """Serve until the standard input ends."""
    world, loop = World(), asyncio.get_running_loop()
    serving = [
        await asyncio.start_server(serve, "127.0.0.1", port, backlog=1024)
        for serve, port in ((world.upstream, upstream_port), (world.gitlab, gitlab_port))
    ]
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        world.close_idle()
        sys.stdout.write(json.dumps({"in_use": world.in_use}) + "\n")
        sys.stdout.flush()
    for each in serving:
        each.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
