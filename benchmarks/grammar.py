"""
The grammar's cost beside its oracles: one request's head and a chunked body, by ours, h11 and httptools.

Run: ``make bench``, or ``python -m benchmarks.grammar``. The rounds are interleaved, and the median of each is given,
because the machine may be shared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import h11
import httptools

from gptproxy.http.request_reader import RequestReader

ROUNDS = 15
REQUESTS_PER_ROUND = 500

# What the official Python client sends, 17 lines.
HEAD = b"\r\n".join(
    (
        b"POST /v1/chat/completions HTTP/1.1",
        b"Host: gpt.example.com",
        b"Accept: application/json",
        b"Accept-Encoding: gzip, deflate",
        b"Authorization: Bearer glpat-xxxxxxxxxxxxxxxxxxxx",
        b"Connection: keep-alive",
        b"Content-Type: application/json",
        b"User-Agent: OpenAI/Python 3.3.1",
        b"X-Stainless-Arch: x64",
        b"X-Stainless-Async: false",
        b"X-Stainless-Lang: python",
        b"X-Stainless-OS: Linux",
        b"X-Stainless-Package-Version: 3.3.1",
        b"x-stainless-read-timeout: 600",
        b"X-Stainless-Retry-Count: 0",
        b"X-Stainless-Runtime: CPython",
        b"X-Stainless-Runtime-Version: 3.13.5",
    )
)
BODY = b"x" * 1024
WITH_LENGTH = HEAD + b"\r\nContent-Length: 1024\r\n\r\n" + BODY
IN_CHUNKS = (
    HEAD
    + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    + 16 * (b"40\r\n" + b"x" * 64 + b"\r\n")
    + b"0\r\n\r\n"
)


def by_ours(message: bytes) -> None:
    """Read one request."""
    reader = RequestReader(65_536)
    reader.feed(message)
    reader.read_head()
    reader.read_body()
    assert reader.body_finished


def by_h11(message: bytes) -> None:
    """Read one request."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(message)
    while type(connection.next_event()) is not h11.EndOfMessage:
        pass


class _Taker:
    """Takes what httptools calls out."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field line."""
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""

    def on_message_complete(self) -> None:
        """The end."""
        self.complete = True


def by_httptools(message: bytes) -> None:
    """Read one request."""
    taker = _Taker()
    httptools.HttpRequestParser(taker).feed_data(message)
    assert taker.complete


def main() -> None:
    """Measure and print."""
    readers: dict[str, Callable[[bytes], None]] = {
        "gptproxy": by_ours,
        "h11": by_h11,
        "httptools": by_httptools,
    }
    for title, message in (("with a length", WITH_LENGTH), ("in 16 chunks", IN_CHUNKS)):
        times: dict[str, list[float]] = {name: [] for name in readers}
        for _ in range(ROUNDS):
            for name, read in readers.items():
                started = time.process_time()
                for _ in range(REQUESTS_PER_ROUND):
                    read(message)
                times[name].append((time.process_time() - started) / REQUESTS_PER_ROUND * 1e6)
        ours = statistics.median(times["gptproxy"])
        print(f"a request of 18 header lines and 1 KiB, {title}: CPU microseconds")
        for name, measured in times.items():
            median = statistics.median(measured)
            print(f"  {name:10} {median:7.1f}   gptproxy is {ours / median:.2f}x")


if __name__ == "__main__":
    main()
