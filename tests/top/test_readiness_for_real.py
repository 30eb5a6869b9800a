"""``/readyz`` of the real daemon, while its upstreams are down and when one is back."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer

from twisted.trial.unittest import SynchronousTestCase

from tests.process.rig import Manager
from tests.top.rig import SECONDS, TWISTD, environment, folder_of

CONFIGURATION = """\
[[user_token]]
user_id = "user1"
token = "sk-user1-0123456789"
[admin]
listen = "tcp:{admin}:interface=127.0.0.1"
[retry]
attempts = 1
circuit_calls = 2
circuit_probe_seconds = 0.001
[[upstream]]
name = "first"
kind = "openai"
url = "http://127.0.0.1:{first}/v1"
api_key = "sk-first-0123456789"
deployments = {{ "gpt-4o" = "gpt-4o" }}
[[upstream]]
name = "second"
kind = "openai"
url = "http://127.0.0.1:{second}/v1"
api_key = "sk-second-0123456789"
deployments = {{ "gpt-4o" = "gpt-4o" }}
"""
CALL = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}).encode()


class _Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Asked:
    """
    One answer.

    :param port: of whom.
    :param path: what for; a call where it is one of OpenAI's.
    """

    def __init__(self, port: int, path: str) -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
            method, body = ("POST", CALL) if path.startswith("/v1/") else ("GET", None)
            fields = {
                "authorization": "Bearer sk-user1-0123456789",
                "content-type": "application/json",
            }
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            self.status, self.text = answer.status, answer.read().decode()


class ReadinessTests(SynchronousTestCase):
    """Two upstreams."""

    def setUp(self) -> None:
        probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
        ports = [probe.getsockname()[1] for probe in probes]
        for probe in probes:
            probe.close()
        self.port, self.admin, first, self.second = ports
        file = folder_of(self) / "gptproxy.toml"
        file.write_text(CONFIGURATION.format(admin=self.admin, first=first, second=self.second))
        manager = Manager(self)
        words = [sys.executable, "-c", TWISTD, "-n", "--pidfile=", "gptproxy"]
        words += ["--config", str(file), "--port", f"tcp:{self.port}:interface=127.0.0.1"]
        daemon = subprocess.Popen(words, env=environment(NOTIFY_SOCKET=manager.address))
        self.addCleanup(daemon.wait)
        self.addCleanup(daemon.terminate)
        while not manager.wait(SECONDS).startswith("READY=1"):
            pass

    def answer_as_second(self) -> None:
        """Listen there from now on."""
        upstream = HTTPServer(("127.0.0.1", self.second), _Upstream)
        self.addCleanup(upstream.server_close)
        thread = threading.Thread(target=upstream.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(upstream.shutdown)

    def call(self) -> int:
        """:return: the status of a call."""
        return Asked(self.port, "/v1/chat/completions").status

    def upstreams(self) -> tuple[str, str]:
        """:return: what the operator is told of them."""
        rows = json.loads(Asked(self.admin, "/readyz").text)["conditions"]
        return next((row["state"], row["detail"]) for row in rows if row["name"] == "upstreams")

    def test_all_are_down(self) -> None:
        """
        Ready as long as nothing is known of them; 503 when the circuits of all are open, to the public without saying
        why; the loop turns all the while. When one answers again: ready, with a warning.
        """
        self.assertEqual(Asked(self.port, "/readyz").status, 200)
        self.assertEqual(self.upstreams(), ("good", "2 open"))

        # Nobody listens there: each call fails at both.
        self.assertLessEqual({self.call() for _ in range(3)}, {502, 503})
        public = Asked(self.port, "/readyz")
        self.assertEqual((public.status, Asked(self.admin, "/readyz").status), (503, 503))
        self.assertNotIn("first", public.text)
        self.assertEqual(self.upstreams(), ("failed", "down: first, second"))
        self.assertEqual(Asked(self.port, "/healthz").status, 200)

        self.answer_as_second()
        # A probe is let through when its time has come; each try is a call.
        while self.call() != 200:
            pass
        self.assertEqual(Asked(self.port, "/readyz").status, 200)
        self.assertEqual(self.upstreams(), ("warning", "down: first"))
