"""
What the relay benchmark runs: an nginx with fixed answers as upstream and GitLab, an nginx as reverse proxy, gptproxy.

Each is a process of its own on a free loopback port, in a folder of its own, with one worker.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TOKEN = "glpat-benchmark-token"
READY_SECONDS = 20.0
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
TICKS = os.sysconf("SC_CLK_TCK")

_ANSWER = json.dumps(
    {
        "id": "chatcmpl-benchmark",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "x" * 800},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 200, "total_tokens": 209},
    }
)
ANSWER = _ANSWER.replace("xxx", "x" * (3 + 1024 - len(_ANSWER)), 1)
USER = json.dumps({"id": 1, "username": "benchmark", "state": "active", "bot": False})
ITS_TOKEN = json.dumps(
    {
        "id": 1,
        "user_id": 1,
        "active": True,
        "revoked": False,
        "scopes": ["api", "ai_features"],
        "expires_at": None,
    }
)
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
  access_log {log};
  keepalive_requests 100000000;
  client_body_buffer_size 64k;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {content}
}}
"""

_UPSTREAM = """
  default_type application/json;
  server {{
    listen 127.0.0.1:{port};
    location = /api/v4/user {{ return 200 '{user}'; }}
    location = /api/v4/personal_access_tokens/self {{ return 200 '{token}'; }}
    location / {{ return 200 '{answer}'; }}
  }}
"""

_PROXY = """
  upstream fixed {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  upstream paced {{ server 127.0.0.1:{paced}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} {tls};
    {certificate}
    location / {{ proxy_pass http://{fixed}; {kept} }}
    location /paced/ {{ proxy_pass http://{events}; {kept} proxy_buffering off; }}
  }}
"""

_KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'

_GPTPROXY = """
[gitlab]
url = "http://127.0.0.1:{gitlab}"
[[upstream]]
name = "fixed"
kind = "openai"
url = "http://127.0.0.1:{upstream}/v1"
api_key = "sk-benchmark-0123456789"
[upstream.deployments]
"gpt-4o" = "gpt-4o"
[[upstream]]
name = "paced"
kind = "openai"
url = "http://127.0.0.1:{paced}/paced/v1"
api_key = "sk-benchmark-0123456789"
[upstream.deployments]
"paced" = "paced"
"""


class Server:
    """
    :param process: the process whose CPU time counts; of nginx the one worker.
    :param port: on 127.0.0.1.
    :param started_seconds: from its start to its first answer.
    """

    def __init__(self, pid: int, port: int, started_seconds: float) -> None:
        self.pid = pid
        self.port = port
        self.started_seconds = started_seconds

    def cpu_seconds(self) -> float:
        """:return: user and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mib(self) -> float:
        """:return: resident memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_KIB / 1024


def nginx_path() -> str | None:
    """:return: nginx, which often stands outside of a user's PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """:return: a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def process(arguments: list[str], folder: Path, port: int) -> Iterator[tuple[int, float]]:
    """Run something until the context is left; yields its pid and the seconds until its port was open."""
    started = time.monotonic()
    with (folder / "output.log").open("w") as output:
        running = subprocess.Popen(arguments, cwd=folder, stdout=output, stderr=output)
    try:
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            if running.poll() is not None or time.monotonic() > started + READY_SECONDS:
                raise SystemExit(
                    f"{arguments[0]} did not start: {(folder / 'output.log').read_text()}"
                )
            time.sleep(0.002)
        yield running.pid, time.monotonic() - started
    finally:
        running.terminate()
        running.wait()


@contextmanager
def nginx(folder: Path, port: int, content: str, log: str) -> Iterator[Server]:
    """An nginx with one worker."""
    folder.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, content=content, log=log))
    path = nginx_path()
    if path is None:
        raise SystemExit("nginx is not installed")
    with process([path, "-p", str(folder), "-c", str(configuration)], folder, port) as (
        pid,
        seconds,
    ):
        children = Path(f"/proc/{pid}/task/{pid}/children")
        # Its port is open before its worker is there.
        while not children.read_text():
            time.sleep(0.002)
        yield Server(int(children.read_text().split()[0]), port, seconds)


@contextmanager
def fixed_upstream(folder: Path) -> Iterator[Server]:
    """An nginx that answers every call with the same 1 KiB, and GitLab's question with a user."""
    port = free_port()
    content = _UPSTREAM.format(port=port, user=USER, token=ITS_TOKEN, answer=ANSWER)
    with nginx(folder / "upstream", port, content, "off") as server:
        yield server


@contextmanager
def paced_upstream(folder: Path) -> Iterator[Server]:
    """Streams of events at a given pace (:mod:`benchmarks.paced`)."""
    port = free_port()
    folder = folder / "paced"
    folder.mkdir()
    paced = Path(__file__).with_name("paced.py")
    with process([sys.executable, str(paced), str(port)], folder, port) as (pid, seconds):
        yield Server(pid, port, seconds)


@contextmanager
def nginx_proxy(
    folder: Path, upstream: int, paced: int, certificates: Path | None, *, keeps: bool = True
) -> Iterator[Server]:
    """
    nginx as a plain reverse proxy with an access log. As it comes it opens a connection to the upstream for each call;
    told to keep them it does not.
    """
    port = free_port()
    folder = folder / f"nginx{'-kept' if keeps else ''}{'-tls' if certificates else ''}"
    certificate = (
        f"ssl_certificate {certificates}/cert.pem; ssl_certificate_key {certificates}/key.pem;"
        if certificates
        else ""
    )
    content = _PROXY.format(
        port=port,
        upstream=upstream,
        paced=paced,
        fixed="fixed" if keeps else f"127.0.0.1:{upstream}",
        events="paced" if keeps else f"127.0.0.1:{paced}",
        kept=_KEPT if keeps else "",
        tls="ssl" if certificates else "",
        certificate=certificate,
    )
    with nginx(folder, port, content, f"{folder}/access.log") as server:
        yield server


@contextmanager
def gptproxy(
    folder: Path,
    upstream: int,
    paced: int,
    certificates: Path | None,
    more: str = "",
    gitlab: int | None = None,
) -> Iterator[Server]:
    """
    The daemon, with everything on that a call passes, and whatever more its configuration shall say. The fixed upstream
    is GitLab too, where none is named.
    """
    port = free_port()
    folder = folder / ("gptproxy-tls" if certificates else "gptproxy")
    folder.mkdir()
    configuration = folder / "gptproxy.toml"
    tls = (
        f'[tls]\ncertificate = "{certificates}/cert.pem"\nprivate_key = "{certificates}/key.pem"\n'
        if certificates
        else ""
    )
    configuration.write_text(
        tls + _GPTPROXY.format(upstream=upstream, paced=paced, gitlab=gitlab or upstream) + more
    )
    endpoint = f"{'ssl' if certificates else 'tcp'}:{port}:interface=127.0.0.1"
    arguments = [sys.executable, "-c", TWISTD, "-n", "--pidfile="]
    arguments += ["gptproxy", "--config", str(configuration), "--port", endpoint]
    with process(arguments, folder, port) as (pid, seconds):
        yield Server(pid, port, seconds)
