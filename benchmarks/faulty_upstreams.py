"""
10,000 calls against upstreams that fail: how many are answered, with how many attempts, and was anything done twice
that may not be?

``python -m benchmarks.faulty_upstreams [CALLS [PER_SECOND]]`` runs the daemon before two upstreams on asyncio, in five
scenarios. The faulty one answers 10 % with 429 (Retry-After 1), 5 % with 500, ends 2 % of the connections before the
head, and intercepts 1 % by a content filter. Chance is seeded, and the order of what comes back is not.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from attrs import define, field

from benchmarks.servers import free_port
from benchmarks.steering import daemon

TOKEN = "sk-user1-0123456789"
CONFIGURATION = """\
[[user_token]]
user_id = "user1"
token = "sk-user1-0123456789"
[[upstream]]
name = "primary"
kind = "openai"
url = "http://127.0.0.1:{0}/v1"
[[upstream]]
name = "secondary"
kind = "openai"
url = "http://127.0.0.1:{1}/v1"
"""
CONNECTIONS = 512
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_ATTEMPTS = re.compile(rb"x-gptproxy-attempts: (\d+)", re.IGNORECASE)
_USER = re.compile(rb'"user": ?"(\d+)"')

OK, THROTTLED, FAILED, RESET, FILTERED = "200", "429", "500", "reset", "filtered"
SHARES = ((0.10, THROTTLED), (0.15, FAILED), (0.17, RESET), (0.18, FILTERED))
#: After these the upstream may have done the work.
WORKED = (OK, FAILED, RESET)


def _answer(status: bytes, content: object, more: bytes = b"") -> bytes:
    body = json.dumps(content).encode()
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body


def _error(code: str) -> object:
    return {"error": {"code": code, "message": code, "type": None, "param": None}}


ANSWERS = {
    OK: _answer(
        b"200 OK",
        {
            "id": "c",
            "choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}],
        },
    ),
    THROTTLED: _answer(
        b"429 Too Many Requests", _error("rate_limit_exceeded"), b"retry-after: 1\r\n"
    ),
    FAILED: _answer(b"500 Internal Server Error", _error("server_error")),
    FILTERED: _answer(b"400 Bad Request", _error("content_filter")),
}


@define
class Upstream:
    """
    One upstream.

    :param shares: how often it fails, each share on top of those before it.
    :param seed: of its chance.
    """

    shares: tuple[tuple[float, str], ...]
    seed: int
    sent: dict[bytes, list[str]] = field(factory=lambda: defaultdict(list))
    chance: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - the benchmark's chance

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                drawn = self.chance.random()
                what = next((name for share, name in self.shares if drawn < share), OK)
                user = _USER.search(body)
                self.sent[user[1] if user else b""].append(what)
                if what == RESET:
                    break
                writer.write(ANSWERS[what])
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        writer.transport.abort()


@define
class Seen:
    """What the callers saw."""

    statuses: Counter[str] = field(factory=Counter)
    attempts: int = 0
    seconds: list[float] = field(factory=list)


async def calls(port: int, route: str, count: int, per_second: float) -> Seen:
    """:return: what came of so many calls at a pace, over connections that are kept."""
    seen, free = Seen(), asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter] | None]()
    for _ in range(CONNECTIONS):
        free.put_nowait(None)

    async def one(number: int) -> None:
        connection = await free.get()
        started = time.perf_counter()
        reader, writer = connection or await asyncio.open_connection("127.0.0.1", port)
        content = {"model": "m", "user": str(number), "prompt": "x", "messages": []}
        body = json.dumps(content).encode()
        head = (
            f"POST /v1{route} HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(answer)
        told = await reader.readexactly(int(length[1]) if length else 0)
        status = answer.split(b" ", 2)[1].decode()
        error = json.loads(told).get("error") if status != OK else None
        seen.statuses[f"{status} {error['code']}" if error else status] += 1
        made = _ATTEMPTS.search(answer)
        seen.attempts += int(made[1]) if made else 0
        seen.seconds.append(time.perf_counter() - started)
        free.put_nowait((reader, writer))

    began, running = time.perf_counter(), []
    for number in range(count):
        await asyncio.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        running.append(asyncio.create_task(one(number)))
    await asyncio.gather(*running)
    while not free.empty():
        kept = free.get_nowait()
        if kept is not None:
            kept[1].close()
    return seen


async def scenario(
    name: str, first: Upstream | None, second: Upstream | None, route: str, count: int, pace: float
) -> None:
    """Run one, and print what came of it; None is an upstream that nobody listens for."""
    ports, servers = [], []
    for upstream in (first, second):
        if upstream is None:
            ports.append(free_port())
        else:
            servers.append(await asyncio.start_server(upstream.serve, "127.0.0.1", 0))
            ports.append(servers[-1].sockets[0].getsockname()[1])
    with (
        tempfile.TemporaryDirectory() as folder,
        daemon(Path(folder), CONFIGURATION.format(*ports)) as running,
    ):
        seen = await calls(running.port, route, count, pace)
    for server in servers:
        server.close()
    every = [(upstream, user) for upstream in (first, second) if upstream for user in upstream.sent]
    sent = sum(len(upstream.sent[user]) for upstream, user in every)
    twice = 0
    for user in {user for _, user in every}:
        steps = [step for each in (first, second) if each for step in each.sent.get(user, ())]
        # Who has it first is not known here; that two have worked on it is enough.
        twice += sum(step in WORKED for step in steps) > 1
    seconds = sorted(seen.seconds)
    print(
        f"{name}: {count} calls at {pace:g}/s: {dict(seen.statuses.most_common())}; "
        f"answered 200: {100 * seen.statuses['200'] / count:.3f} %; "
        f"attempts per call: {seen.attempts / count:.3f} told, {sent / count:.3f} seen; "
        f"worked on more than once: {twice}; "
        f"p50 {1000 * statistics.median(seconds):.1f} ms, "
        f"p99 {1000 * seconds[int(0.99 * count)]:.0f} ms, max {seconds[-1]:.2f} s"
    )


async def main() -> None:
    """All five."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    pace = float(sys.argv[2]) if len(sys.argv) > 2 else 250.0
    chats, images = "/chat/completions", "/images/generations"
    await scenario("faulty, healthy", Upstream(SHARES, 1), Upstream((), 2), chats, count, pace)
    await scenario(
        "what may not be done twice; faulty, faulty",
        Upstream(SHARES, 1),
        Upstream(SHARES, 2),
        images,
        count,
        pace,
    )
    await scenario("faulty, down", Upstream(SHARES, 1), None, chats, count, pace)
    failing = ((1.0, FAILED),)
    await scenario(
        "failing, failing", Upstream(failing, 1), Upstream(failing, 2), chats, count, pace
    )
    await scenario("down, down", None, None, chats, count, pace)


if __name__ == "__main__":
    asyncio.run(main())
