"""
Idle TLS connections: what each takes, what a call among them takes, and what is left when they have gone.

Run: ``python -m benchmarks.idle_tls [--connections 9900] [--seconds 20] [--fresh]``. It needs nginx (Debian: ``apt
install nginx-light``). The clients are a process of their own: each side has a descriptor for each connection (``ulimit
-n``), and the daemon keeps as many for upstreams: with 20,000 files it takes 9,999 clients. Each connection makes one
call and then none, as a pool's do; with ``--fresh`` it makes none at all. Calls among them go out on kept connections,
and one in ten on a new one, at a pace. The exit status is 1 where a connection takes more than 30 KiB, where the
slowest hundredth of the calls takes more than 25 ms, or where a connection is left.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import ssl
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.servers import TOKEN, Server, fixed_upstream, free_port, gptproxy
from gptproxy.tryout import write_certificate

MOST_KIB = 30.0
MOST_SECONDS = 0.025
GONE_SECONDS = 10.0
CALLS_A_SECOND = 50
"""Few enough that none waits for another: what is measured is what the idle ones cost it."""

BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "%b"}]}' % (b"y" * 944)
CALL = (
    f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
    f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
).encode() + BODY
PATIENT = "[timeouts]\nheader_seconds = 3600\nkeep_alive_idle_seconds = 3600\n"


def trusting(certificates: Path) -> ssl.SSLContext:
    """:return: what a client has that trusts the daemon's certificate."""
    context = ssl.create_default_context(cafile=str(certificates / "cert.pem"))
    context.check_hostname = False
    return context


def connected(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """:return: a connection whose handshake is over."""
    plain = socket.create_connection(("127.0.0.1", port), 30)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain)


def call(connection: ssl.SSLSocket) -> None:
    """Make a call and read its answer, which has a length."""
    connection.sendall(CALL)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _some(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"not an answer: {head!r}")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
    while len(body) < length:
        body += _some(connection)


def _some(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise SystemExit("a connection was closed")
    return data


def idle(port: int, certificates: Path, count: int, fresh: bool, pipe: Connection) -> None:
    """The clients' process: connect, say so, wait for a word, look who is still there, leave."""
    context = trusting(certificates)
    connections = []
    for _ in range(count):
        connection = connected(context, port)
        if not fresh:
            call(connection)
        connections.append(connection)
    pipe.send(len(connections))
    pipe.recv()
    ended = 0
    for connection in connections:
        connection.setblocking(False)
        with suppress(ssl.SSLWantReadError):
            ended += connection.recv(1) == b""
    pipe.send(ended)
    for connection in connections:
        connection.close()


def calls(server: Server, context: ssl.SSLContext, seconds: float) -> list[float]:
    """:return: what each took, in seconds; one in ten has its handshake in it."""
    found = []
    kept = connected(context, server.port)
    began = time.monotonic()
    for number in range(int(seconds * CALLS_A_SECOND)):
        time.sleep(max(0.0, began + number / CALLS_A_SECOND - time.monotonic()))
        started = time.monotonic()
        if number % 10:
            call(kept)
        else:
            with connected(context, server.port) as new:
                call(new)
        found.append(time.monotonic() - started)
    kept.close()
    return found


def row(what: str, found: list[float]) -> float:
    """:return: the p99, in seconds; printed with the others."""
    p99 = statistics.quantiles(found, n=100)[98]
    print(
        f"  calls {what}: {len(found)}, p50 {statistics.median(found) * 1000:.1f} ms, "
        f"p99 {p99 * 1000:.1f} ms, longest {max(found) * 1000:.1f} ms"
    )
    return p99


def descriptors(server: Server) -> int:
    """:return: how many files the daemon has open."""
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


def run(server: Server, certificates: Path, count: int, seconds: float, fresh: bool) -> bool:
    """:return: all is as it should be."""
    context = trusting(certificates)
    # What is loaded by the first connections and calls is not theirs.
    calls(server, context, 2)
    row("alone", calls(server, context, seconds / 2))
    time.sleep(1)
    files, rss = descriptors(server), server.rss_mib()
    ours, theirs = multiprocessing.Pipe()
    clients = multiprocessing.Process(
        target=idle, args=(server.port, certificates, count, fresh, theirs)
    )
    started = time.monotonic()
    clients.start()
    theirs.close()
    made = ours.recv()
    took = time.monotonic() - started
    time.sleep(1)
    each = (server.rss_mib() - rss) * 1024 / made
    print(f"  {made} connections made in {took:.1f} s; open files {files} -> {descriptors(server)}")
    print(f"  RSS {rss:.1f} -> {server.rss_mib():.1f} MiB: {each:.1f} KiB for each connection")
    cpu = server.cpu_seconds()
    time.sleep(5)
    print(f"  they cost {(server.cpu_seconds() - cpu) / 5:.1%} of a core")
    p99 = row("among them", calls(server, context, seconds))
    ours.send("leave")
    ended = ours.recv()
    clients.join()
    gone = time.monotonic()
    while descriptors(server) > files and time.monotonic() < gone + GONE_SECONDS:
        time.sleep(0.05)
    left = descriptors(server) - files
    print(
        f"  ended by the daemon meanwhile: {ended}; open files {time.monotonic() - gone:.2f} s after "
        f"the last had left: {left:+d}; RSS {server.rss_mib():.1f} MiB"
    )
    return each <= MOST_KIB and p99 <= MOST_SECONDS and left <= 0 and not ended


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=9900)
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="that there are calls among them"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="connections on which nothing was asked"
    )
    chosen = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The daemon and the clients inherit it.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="idle-tls-")))
        write_certificate(folder)
        upstream = stack.enter_context(fixed_upstream(folder))
        more = PATIENT + f"[limits]\nconnections = {chosen.connections + 50}\n"
        server = stack.enter_context(gptproxy(folder, upstream.port, free_port(), folder, more))
        return 0 if run(server, folder, chosen.connections, chosen.seconds, chosen.fresh) else 1


if __name__ == "__main__":
    sys.exit(main())
