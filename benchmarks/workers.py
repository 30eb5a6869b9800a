"""
Two workers beside one: what a call costs, and what is lost when a worker is killed.

Run: ``python -m benchmarks.workers [--seconds 4] [--rounds 3] [--kills 20]``. It needs nginx and wrk (Debian: ``apt
install nginx-light wrk``), and ``perf`` for instructions. What is printed: CPU microseconds and instructions a call of
the whole daemon, the parent included, with one worker and with two, in turn: as many as they can do, and at a pace that
one can keep, where the cores have room (at the former two share theirs with the callers); and for each ``kill
-9`` of a worker under load the calls that failed on its connections and on others', connections that were refused, and
the time until all workers were ready again; the status is 1 where that took more than a second, or a call failed on
others' connections. The worker is stopped before it is looked at which connections it has.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.relay import wrk
from benchmarks.servers import TICKS, TOKEN, Server, fixed_upstream, gptproxy

CONNECTIONS = 32
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "y" * 944}]})
HEAD = f"authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
CALL = f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\n{HEAD}{BODY}".encode()
CALLS_A_CONNECTION = 20
"""Then it is made anew, or all of them would stay with the worker that was left at the first kill."""
SETTLED_SECONDS = 6.0
"""Each is killed in its turn, so long after it was: a worker's age at which it is replaced at once."""
BACK_SECONDS = 30.0
PACE_MILLISECONDS = 8
"""Between two calls of a connection: some 3,500 calls a second in all, half of what one worker can do."""
READY = "workers are ready"


def children(pid: int) -> list[int]:
    """:return: the processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_seconds(pid: int) -> float:
    """:return: user and system time of the process and its children so far."""
    ticks = 0
    for each in (pid, *children(pid)):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def connections_of(pid: int, port: int) -> set[int]:
    """:return: the ports of the clients whose connections a process has accepted."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
            if found:
                inodes.add(found[1])
    clients = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in inodes and int(fields[1].partition(":")[2], 16) == port:
            clients.add(int(fields[2].partition(":")[2], 16))
    return clients


class Load:
    """
    Callers, each with a connection that it keeps for a while, one call after another.

    :param port: of the daemon.

    :ivar done: calls that were answered.
    :ivar failed: the local ports of connections on which a call failed, or that were closed between two calls.
    :ivar refused: connections that could not be made.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.done = 0
        self.failed: list[int] = []
        self.refused = 0
        self.slowest = 0.0
        self.going = True

    async def caller(self) -> None:
        """Until it is over."""
        while self.going:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                self.refused += 1
                await asyncio.sleep(0.01)
                continue
            mine = writer.get_extra_info("sockname")[1]
            try:
                for _ in range(CALLS_A_CONNECTION):
                    started = time.monotonic()
                    writer.write(CALL)
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
                        raise SystemExit(f"not an answer: {head!r}")
                    await reader.readexactly(int(length[1]))
                    self.done += 1
                    self.slowest = max(self.slowest, time.monotonic() - started)
                    await asyncio.sleep(0.05)
            except (OSError, asyncio.IncompleteReadError):
                self.failed.append(mine)
            finally:
                writer.close()


async def one_kill(load: Load, server: Server, victim: int, log: Path) -> tuple[int, int, float]:
    """:return: calls that failed on the victim's connections, on others', and seconds until all were ready again."""
    load.failed.clear()
    size = log.stat().st_size
    os.kill(victim, signal.SIGSTOP)
    await asyncio.sleep(0)
    its = connections_of(victim, server.port)
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    new = ""
    with log.open() as lines:
        lines.seek(size)
        while READY not in (new := new + lines.read()):
            if time.monotonic() - killed > BACK_SECONDS:
                raise SystemExit(f"no worker came back: {new[-2000:]}")
            await asyncio.sleep(0.01)
    back = time.monotonic() - killed
    on_it = sum(1 for port in load.failed if port in its)
    return on_it, len(load.failed) - on_it, back


async def kills(server: Server, log: Path, count: int) -> bool:
    """
    The workers in turn, each when it has settled.

    :return: all is as it should be.
    """
    load = Load(server.port)
    callers = [asyncio.create_task(load.caller()) for _ in range(CONNECTIONS)]
    found = []
    for number in range(count):
        await asyncio.sleep(SETTLED_SECONDS / 2)
        # One that waits to be a worker has nobody's connection.
        serving = [pid for pid in children(server.pid) if connections_of(pid, server.port)]
        victim = min(serving, key=lambda pid: Path(f"/proc/{pid}").stat().st_ctime)
        on_it, others, back = await one_kill(load, server, victim, log)
        found.append((on_it, others, back))
        print(f"kill {number + 1}: {on_it} failed on it, {others} elsewhere, back in {back:.2f} s")
    load.going = False
    await asyncio.gather(*callers)
    backs = [back for _, _, back in found]
    print(
        f"{count} kills under {CONNECTIONS} callers, {load.done} calls: "
        f"{sum(on for on, _, _ in found)} failed on killed workers, {sum(off for _, off, _ in found)} elsewhere, "
        f"{load.refused} connections refused; all ready again after {statistics.median(backs):.2f} s (median), "
        f"{max(backs):.2f} s (longest); the slowest call {load.slowest:.2f} s"
    )
    return max(backs) <= 1 and not load.refused and not any(off for _, off, _ in found)


def measured(server: Server, script: Path, seconds: int) -> tuple[float, float | None, float]:
    """:return: CPU microseconds and instructions a call, and calls a second."""
    pids = ",".join(map(str, (server.pid, *children(server.pid))))
    perf = ["perf", "stat", "-x,", "-e", "instructions:u", "-p", pids]
    counting = None
    with suppress(FileNotFoundError):
        counting = subprocess.Popen(perf, stderr=subprocess.PIPE, text=True)
    before = cpu_seconds(server.pid)
    calls, _, _ = wrk(server, script, CONNECTIONS, seconds, "http")
    spent = cpu_seconds(server.pid) - before
    instructions = None
    if counting is not None:
        counting.send_signal(signal.SIGINT)
        counted = counting.communicate()[1].split(",")[0].strip()
        instructions = int(counted) / calls if counted.isdigit() else None
    return spent / calls * 1e6, instructions, calls / seconds


def costs(servers: dict[str, Server], script: Path, rounds: int, seconds: int) -> None:
    """In turn; the median of the rounds."""
    found: dict[str, list[tuple[float, float | None, float]]] = {name: [] for name in servers}
    for server in servers.values():
        measured(server, script, 1)
    for _ in range(rounds):
        for name, server in servers.items():
            found[name].append(measured(server, script, seconds))
    medians = {}
    for name, rows in found.items():
        cpu = statistics.median(row[0] for row in rows)
        counted = [row[1] for row in rows if row[1] is not None]
        instructions = statistics.median(counted) if counted else None
        rate = statistics.median(row[2] for row in rows)
        medians[name] = (cpu, instructions)
        told = "" if instructions is None else f", {instructions / 1000:.0f} thousand instructions"
        print(f"{name}: {cpu:.1f} us of CPU a call{told}, {rate:.0f} calls a second")
    (one, one_counted), (two, two_counted) = medians.values()
    print(f"  CPU a call, two workers to one: {two / one:.3f}")
    if one_counted and two_counted:
        print(f"  instructions a call, two workers to one: {two_counted / one_counted:.3f}")


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gptproxy-workers-") as name, ExitStack() as stack:
        folder = Path(name)
        script = folder / "call.lua"
        script.write_text(
            f"wrk.method = 'POST'\nwrk.body = [[{BODY}]]\nwrk.headers['Authorization'] = 'Bearer {TOKEN}'\n"
            "wrk.headers['Content-Type'] = 'application/json'\n"
        )
        upstream = stack.enter_context(fixed_upstream(folder))
        servers = {}
        for workers in (1, 2):
            below = folder / str(workers)
            below.mkdir()
            servers[f"{workers} worker{'s' * (workers > 1)}"] = stack.enter_context(
                gptproxy(
                    below, upstream.port, upstream.port, None, f"[process]\nworkers = {workers}\n"
                )
            )
        two = servers["2 workers"]
        log = folder / "2" / "gptproxy" / "output.log"
        while READY not in log.read_text():
            time.sleep(0.05)
        if chosen.rounds:
            print("as many as they can do")
            costs(servers, script, chosen.rounds, chosen.seconds)
            paced = folder / "paced.lua"
            paced.write_text(
                f"{script.read_text()}function delay() return {PACE_MILLISECONDS} end\n"
            )
            print("the same pace for both")
            costs(servers, paced, chosen.rounds, chosen.seconds)
        if chosen.kills:
            return 0 if asyncio.run(kills(two, log, chosen.kills)) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
