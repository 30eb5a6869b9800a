"""
The soak: many calls of every kind, and what has grown of them: nothing.

Run: ``python -m benchmarks.soak [--calls 100000] [--streams 5000] [--leavings 2000] [--faults 200]``. The real daemon,
with TLS and its figures on, is called by so many at a time; streams are read to their end, callers leave in each phase,
and the upstream and GitLab fail in each of their ways (:mod:`benchmarks.soak_world`), all mixed. Memory is looked at
along the way; open files, delayed calls and protocols are counted by the daemon itself, at a signal that only this
program's start of it has, before and behind, when nothing is under way and nobody keeps a connection. The exit status
is 1 where memory grows by 1 MiB or more in 10,000 calls, where something is left, or where a call that nothing was
wrong with got no whole answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from benchmarks.servers import Server, free_port, process
from benchmarks.soak_caller import Caller, Left
from benchmarks.soak_world import STREAM_EVENTS
from gptproxy.tryout import write_certificate

MOST_MIB = 1.0
CALLERS = 32
KNOWN = 100
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 90.0
"""Some of what the log counts is counted for a minute."""

PHASES = ("headers", "half-body", "waiting", "first-byte", "mid-stream", "retry-sleep")
UPSTREAM_FAULTS = ("500", "429", "reset", "cut", "filter", "always")
CONNECTIONS = {"SiteChannel", "ClientConnection"}
GITLAB_FAULTS = ("500", "429", "html", "401", "reset", "slow")

STARTED = """
import gc, json, os, signal, sys
def tell(number, frame):
    from twisted.internet import reactor
    from twisted.internet.protocol import BaseProtocol
    gc.collect()
    alive = {}
    for each in gc.get_objects():
        if isinstance(each, BaseProtocol):
            name = type(each).__name__
            alive[name] = alive.get(name, 0) + 1
    delayed = sorted(getattr(call.func, "__qualname__", "?") for call in reactor.getDelayedCalls())
    told = {"protocols": alive, "delayed": delayed, "files": len(os.listdir("/proc/self/fd")),
            "objects": len(gc.get_objects())}
    with open("told.new", "w") as file:
        json.dump(told, file)
    os.replace("told.new", "told")
signal.signal(signal.SIGUSR1, tell)
from twisted.scripts.twistd import run
sys.argv[0] = "twistd"
run()
"""
CONFIGURATION = """\
[tls]
certificate = "{folder}/cert.pem"
private_key = "{folder}/key.pem"
[admin]
listen = "tcp:{admin}:interface=127.0.0.1"
[gitlab]
url = "http://127.0.0.1:{gitlab}"
[[upstream]]
name = "first"
kind = "openai"
url = "http://127.0.0.1:{upstream}/v1"
api_key = "sk-soak-0123456789"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
[[upstream]]
name = "second"
kind = "openai"
url = "http://127.0.0.1:{upstream}/v1"
api_key = "sk-soak-0123456789"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
"""


def schedule(calls: int, streams: int, leavings: int, faults: int) -> list[tuple[str, str]]:
    """:return: what is done, and in which way, in a random order that is always the same."""
    work = [("call", "plain")] * calls + [("call", "stream")] * streams
    work += [("leave", PHASES[number % len(PHASES)]) for number in range(leavings)]
    for number in range(faults):
        which = number // 2 % len(UPSTREAM_FAULTS)
        work.append(
            ("gitlab", GITLAB_FAULTS[which])
            if number % 2
            else ("call", f"fault-{UPSTREAM_FAULTS[which]}")
        )
    random.Random(1).shuffle(work)  # noqa: S311 - an order, no secret
    return work


class Soak:
    """
    All of the callers.

    :param port: the daemon's.
    :param trust: its certificate.

    :ivar done: calls that were made.
    :ivar wrong: calls that nothing was wrong with, and that got no whole answer.
    :ivar faults: what became of the others.
    """

    def __init__(self, port: int, trust: ssl.SSLContext) -> None:
        self._port, self._trust = port, trust
        self._number = 0
        self.done = 0
        self.wrong: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    async def run(self, work: list[tuple[str, str]]) -> None:
        """Do it."""
        items = iter(work)
        await asyncio.gather(*(self._some(items) for _ in range(CALLERS)))

    async def _some(self, items: Iterator[tuple[str, str]]) -> None:
        caller = Caller(self._port, self._trust)
        for what, way in items:
            self._number += 1
            number = self._number
            token = f"glpat-soak-known-{number % KNOWN}"
            async with asyncio.timeout(60):
                if what == "leave":
                    await caller.leave(way, number, token)
                elif what == "gitlab":
                    status, _ = await caller.ask("plain", number, f"glpat-soak-{way}-{number}")
                    self.faults[f"GitLab {way}: {status}"] += 1
                else:
                    await self._call(caller, way, number, token)
            self.done += 1
        await caller.close()

    async def _call(self, caller: Caller, way: str, number: int, token: str) -> None:
        try:
            status, body = await caller.ask(way, number, token)
        except Left:
            status, body = 0, b""
        if way.startswith("fault-"):
            told = " with an error event" if b"data: " in body and b'"error"' in body else ""
            self.faults[f"{way.removeprefix('fault-')}: {status}{told}"] += 1
        elif status != 200:
            self.wrong[f"{way}: {status}"] += 1
        elif way == "stream" and body.count(b"data: ") != STREAM_EVENTS + 1:
            self.wrong["a stream that is not whole"] += 1


def slope(looks: list[tuple[int, float]]) -> float:
    """:return: MiB in 10,000 calls, by least squares."""
    calls, mib = zip(*looks, strict=True)
    return statistics.linear_regression(calls, mib).slope * 10_000


async def quiet(
    server: Server, folder: Path, world: subprocess.Popen[str], before: dict | None = None
) -> dict:
    """
    :param before: what was told before; it may take a while until it is so again.
    :return: what the daemon tells of itself, when nothing is under way and nobody keeps a connection.
    """
    end = time.monotonic() + SETTLE_SECONDS
    file = folder / "told"
    while True:
        world.stdin.write("\n")
        world.stdin.flush()
        in_use = json.loads(world.stdout.readline())["in_use"]
        await asyncio.sleep(1)
        os.kill(server.pid, signal.SIGUSR1)
        while not file.exists():
            await asyncio.sleep(0.01)
        told = {**json.loads(file.read_text()), "in_use": in_use}
        file.unlink()
        settled = not in_use and not set(told["protocols"]) & CONNECTIONS
        if (settled and (before is None or is_back(before, told))) or time.monotonic() > end:
            return told


def is_back(before: dict, after: dict) -> bool:
    """:return: nothing is left."""
    return (
        not after["in_use"]
        and after["files"] <= before["files"]
        and not Counter(after["delayed"]) - Counter(before["delayed"])
        and not Counter(after["protocols"]) - Counter(before["protocols"])
    )


async def measure(
    server: Server, folder: Path, admin: int, world: subprocess.Popen[str], chosen
) -> bool:
    """:return: all is as it should be."""
    trust = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    trust.check_hostname = False
    soak = Soak(server.port, trust)
    # What is opened, imported and filled by the first of each kind stays.
    await soak.run(schedule(5000, 300, 120, 48))
    before, first = await quiet(server, folder, world), soak.done
    looks: list[tuple[int, float]] = []
    work = schedule(chosen.calls, chosen.streams, chosen.leavings, chosen.faults)
    soak.faults.clear()
    started = time.monotonic()
    running = asyncio.ensure_future(soak.run(work))
    while not running.done():
        looks.append((soak.done - first, server.rss_mib()))
        if len(looks) % 20 == 0:
            await asyncio.to_thread(scrape, admin)
        await asyncio.wait((running,), timeout=LOOK_SECONDS)
    await running
    seconds = time.monotonic() - started
    after = await quiet(server, folder, world, before)
    growth = slope(looks)
    half = slope(looks[len(looks) // 2 :])
    print(f"  {soak.done - first} calls in {seconds:.0f} s; {dict(sorted(soak.faults.items()))}")
    print(f"  not answered whole though nothing was wrong: {dict(soak.wrong)}")
    print(
        f"  RSS {looks[0][1]:.1f} -> {looks[-1][1]:.1f} MiB, {growth:+.3f} MiB in 10,000 calls "
        f"(of the second half {half:+.3f})"
    )
    for name in ("files", "delayed", "protocols", "objects", "in_use"):
        print(f"  {name}: {before[name]} before, {after[name]} after")
    return growth < MOST_MIB and not soak.wrong and is_back(before, after)


def scrape(admin: int) -> None:
    """As Prometheus does."""
    with urlopen(f"http://127.0.0.1:{admin}/metrics") as page:
        page.read()


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--streams", type=int, default=5000)
    parser.add_argument("--leavings", type=int, default=2000)
    parser.add_argument("--faults", type=int, default=200, help="of the upstream and of GitLab")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        write_certificate(folder)
        upstream, gitlab, admin, port = (free_port() for _ in range(4))
        words = [sys.executable, "-m", "benchmarks.soak_world", str(upstream), str(gitlab)]
        world = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        stack.callback(world.wait)
        stack.callback(world.stdin.close)
        file = folder / "gptproxy.toml"
        ports = {"upstream": upstream, "gitlab": gitlab, "admin": admin}
        file.write_text(CONFIGURATION.format(folder=folder, **ports))
        words = [sys.executable, "-c", STARTED, "-n", "--pidfile=", "gptproxy", "--config"]
        words += [str(file), "--port", f"ssl:{port}:interface=127.0.0.1"]
        pid, seconds = stack.enter_context(process(words, folder, port))
        server = Server(pid, port, seconds)
        good = asyncio.run(measure(server, folder, admin, world, chosen))
        if not good:
            print("\n".join((folder / "output.log").read_text().splitlines()[-10:]))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
