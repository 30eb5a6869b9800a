"""
A 512 MiB file uploaded through the daemon: how much of it is held, where the upstream is slow and where the client is.

Run: ``python -m benchmarks.uploads [--mebibytes 512]``. It needs nginx (Debian: ``apt install nginx-light``), which
stands for GitLab. A multipart body goes to ``/v1/files`` through the real daemon, three times: to an upstream that
takes about 64 MiB a second, from a client that sends so much, and as fast as both can. What is printed: seconds, the
bytes that arrived, and the growth of the daemon's memory while they passed. The exit status is 1 where it grew by more
than 8 MiB, or where other bytes arrived than were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.servers import TOKEN, Server, fixed_upstream, free_port, gptproxy

GROWTH_MIB = 8.0
SLOW_BYTES_A_SECOND = 64 * 1024 * 1024
PIECE = bytes(range(256)) * 256
BOUNDARY = b"benchmark-boundary"
BEFORE = (
    b'--%b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nassistants\r\n'
    b'--%b\r\ncontent-disposition: form-data; name="file"; filename="big.bin"\r\n'
    b"content-type: application/octet-stream\r\n\r\n" % (BOUNDARY, BOUNDARY)
)
BEHIND = b"\r\n--%b--\r\n" % BOUNDARY


class Upstream:
    """
    Takes uploads.

    :ivar bytes_a_second: how fast; 0: as it can.
    :ivar taken: of the last one.
    :ivar digest: of what stood between the form's parts of the last one.
    """

    def __init__(self) -> None:
        self.bytes_a_second = 0
        self.taken = 0
        self.digest = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the daemon's."""
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                lengths = [
                    int(x.partition(b":")[2]) for x in lines if x.startswith(b"content-length:")
                ]
                self.taken, digest = 0, hashlib.sha256()
                started = time.monotonic()
                while True:
                    if lengths:
                        data = await reader.read(min(65_536, lengths[0] - self.taken))
                    else:
                        size = int((await reader.readline()).partition(b";")[0], 16)
                        data = (await reader.readexactly(size + 2))[:-2]
                    digest.update(data)
                    self.taken += len(data)
                    if not data or (lengths and self.taken == lengths[0]):
                        break
                    await _pace(self.taken, self.bytes_a_second, started)
                self.digest = digest.digest()
                answer = json.dumps(
                    {"id": f"file-{self.taken}", "object": "file", "bytes": self.taken}
                ).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(answer), answer)
                )
        writer.close()


async def _pace(done: int, bytes_a_second: int, started: float) -> None:
    if bytes_a_second:
        ahead = done / bytes_a_second - (time.monotonic() - started)
        if ahead > 0.005:
            await asyncio.sleep(ahead)


async def upload(port: int, pieces: int, bytes_a_second: int) -> tuple[bytes, bytes]:
    """:return: the answer, and what was sent as a digest."""
    length = len(BEFORE) + len(PIECE) * pieces + len(BEHIND)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST /v1/files HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n"
        f"content-type: multipart/form-data; boundary={BOUNDARY.decode()}\r\ncontent-length: {length}\r\n\r\n".encode()
    )
    digest = hashlib.sha256()
    started = time.monotonic()
    # An answer that comes early is a refusal: nobody reads the rest.
    answering = asyncio.ensure_future(reader.read())
    sent = 0
    with suppress(ConnectionError):
        for piece in (BEFORE, *([PIECE] * pieces), BEHIND):
            writer.write(piece)
            digest.update(piece)
            sent += len(piece)
            await writer.drain()
            await _pace(sent, bytes_a_second, started)
            if answering.done():
                break
    answer = await answering
    writer.close()
    return answer, digest.digest()


async def measure(server: Server, upstream: Upstream, pieces: int, title: str, client: int) -> bool:
    """:return: little was held, and everything arrived."""
    before = most = server.rss_mib()
    started = time.monotonic()
    uploading = asyncio.ensure_future(upload(server.port, pieces, client))
    while not uploading.done():
        await asyncio.wait((uploading,), timeout=0.05)
        most = max(most, server.rss_mib())
    answer, sent = uploading.result()
    took = time.monotonic() - started
    status = answer.partition(b"\r\n")[0].decode("latin-1")
    whole = answer.startswith(b"HTTP/1.1 200 ") and sent == upstream.digest
    arrived = "unchanged" if whole else "NOT AS SENT"
    print(
        f"  {title:20} {took:6.1f} s  {upstream.taken / 1048576:7.1f} MiB arrived {arrived}"
        f"  RSS {before:.1f} MiB, grew by {most - before:.1f} MiB  ({status})",
        flush=True,
    )
    return whole and most - before <= GROWTH_MIB


async def run(mebibytes: int) -> bool:
    """:return: as :func:`measure`, each time."""
    upstream, port = Upstream(), free_port()
    serving = await asyncio.start_server(upstream.serve, "127.0.0.1", port)
    pieces = mebibytes * 1048576 // len(PIECE)
    good = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uploads-")))
        fixed = stack.enter_context(fixed_upstream(folder))
        server = stack.enter_context(gptproxy(folder, port, free_port(), None, gitlab=fixed.port))
        # What a first upload brings into memory is not held of any.
        await upload(server.port, 16, 0)
        for title, client, pace in (
            ("slow upstream", 0, SLOW_BYTES_A_SECOND),
            ("slow client", SLOW_BYTES_A_SECOND, 0),
            ("neither", 0, 0),
        ):
            upstream.bytes_a_second = pace
            good = await measure(server, upstream, pieces, title, client) and good
    serving.close()
    return good


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mebibytes", type=int, default=512)
    sys.exit(0 if asyncio.run(run(parser.parse_args().mebibytes)) else 1)


if __name__ == "__main__":
    main()
