"""One of the soak's callers: calls, reads whole answers, and leaves in a phase that it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import suppress

CALLS_A_CONNECTION = 50
STREAMED = ("stream", "waiting", "first-byte", "mid-stream", "fault-cut")


class Left(Exception):
    """The daemon closed a connection on which something was asked."""


class Caller:
    """
    One client with one connection, anew every so often.

    :param port: the daemon's.
    :param trust: its certificate.
    """

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self._port, self._trust = port, trust
        self._made = 0
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, kind: str, number: int, token: str) -> tuple[int, bytes]:
        """
        :return: status and body.
        :raise Left: no whole answer.
        """
        if self._writer is None or self._made % CALLS_A_CONNECTION == 0:
            await self.close()
            self._reader, self._writer = await self._connect()
        self._made += 1
        self._writer.write(b"".join(message(kind, number, token)))
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            body = await self._body(head)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            raise Left from error
        if b"\r\nconnection: close" in head:
            await self.close()
        return int(head[9:12]), body

    async def leave(self, phase: str, number: int, token: str) -> None:
        """Call, and leave in that phase; half of them by a reset."""
        reader, writer = await self._connect()
        head, body = message(phase, number, token)
        if phase == "headers":
            writer.write(head)
        elif phase == "half-body":
            writer.write(head + body[: len(body) // 2])
        else:
            writer.write(head + body)
        if phase in ("first-byte", "mid-stream"):
            await reader.readuntil(b"data: ")
        else:
            await asyncio.sleep(0.02)
        if number % 2:
            writer.transport.abort()
        else:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def close(self) -> None:
        """Be gone."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._trust)

    async def _body(self, head: bytes) -> bytes:
        if b"\r\ncontent-length: " in head:
            length = head.partition(b"\r\ncontent-length: ")[2].partition(b"\r")[0]
            return await self._reader.readexactly(int(length))
        pieces = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            pieces.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return b"".join(pieces)


def message(kind: str, number: int, token: str) -> tuple[bytes, bytes]:
    """:return: a call's head and body."""
    asked = {"model": "gpt-4o", "kind": kind, "number": number, "stream": kind in STREAMED}
    content = [{"role": "user", "content": "y" * 700}]
    body = json.dumps({**asked, "messages": content}).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {token}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body
