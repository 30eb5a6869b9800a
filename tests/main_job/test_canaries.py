"""A daemon asked wrongly in every way: nothing that it ever writes has a secret in it."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from .processes import Daemon, Sandbox, free_port, running_daemon, until

PIECE = "Zq8Lm2Xv7Rt5Wk9N"
"""In every canary, but in no word that is written."""

CREDENTIALS = {
    f"bearer of any kind {number}": {"authorization": f"Bearer {prefix}{PIECE}{number}{suffix}"}
    for number, (prefix, suffix) in enumerate(
        [
            ("", ""),
            ("glpat-", ""),
            ("glcbt-64_", ""),
            ("gldt-", ""),
            ("sk-", ""),
            ("sk-proj-", ""),
            ("gpt1:gpt-4|d:", ""),
            ("gpt1:gpt-4:", ":2024-10-21"),
            ("gpt1/x:gpt-4|d:", ""),
            ("eyJhbGciOiJSUzI1NiIsImtpZCI6ImsifQ.", f".{PIECE}"),
            ("", f" {PIECE}"),
            ("", "\x7f"),
        ]
    )
} | {
    name: {name: f"{PIECE}-{name}"}
    for name in ("api-key", "x-api-key", "private-token", "job-token", "deploy-token", "cookie")
}
CREDENTIALS["a protocol"] = {"sec-websocket-protocol": f"openai-insecure-api-key.{PIECE}"}
CREDENTIALS["two"] = {"authorization": f"Bearer {PIECE}", "api-key": f"{PIECE}x"}

CONFIGURATION = """\
[gitlab]
url = "{gitlab}"

[[upstream]]
name = "primary"
kind = "azure"
url = "{azure}"
api_key = "azure-key-primary"
[upstream.deployments]
"gpt-4" = "gpt-4"

[[upstream]]
name = "broken"
kind = "openai"
url = "http://127.0.0.1:{nobody}/v1"
api_key = "operators-{piece}"
[upstream.deployments]
"broken-model" = "gpt-4o"

[[user_token]]
user_id = "ann"
token = "users-{piece}"

[admin]
listen = "tcp:{admin}:interface=127.0.0.1"

[log]
format = "{form}"

[retry]
backoff_seconds = 0.01
circuit_calls = 100000
"""


@pytest.fixture(params=["json", "text"])
def guarded(
    request: pytest.FixtureRequest, tmp_path: Path, folder: Path, sandbox: Sandbox
) -> Iterator[tuple[Daemon, int]]:
    """The daemon and its admin listener's port."""
    admin = free_port()
    values = {"admin": admin, "nobody": free_port(), "piece": PIECE, "form": request.param}
    (tmp_path / "gptproxy.toml").write_text(CONFIGURATION.format(**sandbox.addresses, **values))
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with running_daemon(tmp_path, "--config", "gptproxy.toml") as daemon:
        until(lambda: _is_open(admin))
        yield daemon, admin


def _is_open(port: int) -> bool:
    try:
        return _page(port, "healthz")[0] == 200
    except OSError:
        return False


def _page(port: int, name: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/{name}") as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def _ask(
    daemon: Daemon, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=str(daemon.certificate))
    connection = http.client.HTTPSConnection("127.0.0.1", daemon.port, context=context)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException:
        return 0, b""
    finally:
        connection.close()


KNOWN = {"authorization": f"Bearer users-{PIECE}", "content-type": "application/json"}


def _chat(model: str = "gpt-4", **more: object) -> bytes:
    messages = [{"role": "user", "content": f"prompt {PIECE}"}]
    return json.dumps({"model": model, "messages": messages, **more}).encode()


def _asked_wrongly(daemon: Daemon, sandbox: Sandbox) -> set[int]:
    """:return: what was answered."""
    statuses = set()
    for headers in CREDENTIALS.values():
        statuses.add(
            _ask(daemon, "POST", f"/v1/chat/completions?api-key={PIECE}", headers, _chat())[0]
        )
    for method, path, body in [
        ("POST", "/v1/chat/completions", _chat()),
        ("POST", "/v1/chat/completions", _chat(stream=True)),
        ("POST", "/v1/chat/completions", _chat("broken-model")),
        ("POST", "/v1/chat/completions", _chat(f"sk-{PIECE}")),
        ("POST", "/v1/chat/completions", b'{"model": "' + PIECE.encode()),
        ("POST", "/v1/chat/completions", b'{"model": 1, "model": "' + PIECE.encode() + b'"}'),
        ("POST", f"/v1/{PIECE}?token={PIECE}", b""),
        ("GET", f"/v1/files/file-{PIECE}?key={PIECE}", b""),
        ("DELETE", f"/v1/models/ft:{PIECE}", b""),
        (
            "POST",
            f"/v1/embeddings?sig={PIECE}",
            json.dumps({"model": "x", "input": PIECE}).encode(),
        ),
        (f"M{PIECE}", "/v1/models", b""),
    ]:
        statuses.add(_ask(daemon, method, path, KNOWN, body)[0])
    form = f'--b\r\ncontent-disposition: form-data; name="{PIECE}"\r\n\r\n{PIECE}\r\n--b--\r\n'
    multipart = {**KNOWN, "content-type": "multipart/form-data; boundary=b"}
    for path in ("/v1/files", "/v1/audio/transcriptions"):
        statuses.add(_ask(daemon, "POST", path, multipart, form.encode())[0])
    # The upstream's words, and GitLab's.
    said = {"error": {"message": f"answer {PIECE}", "code": f"sk-{PIECE}"}}
    for fault in (
        {"fault": "status", "status": 500, "body": said},
        {"fault": "status", "status": 400, "body": said},
        {"fault": "status", "status": 401, "body": said},
        {"fault": "status", "status": 429, "body": said},
        {
            "fault": "status",
            "status": 302,
            "headers": [["location", f"https://{PIECE}@evil/{PIECE}"]],
        },
        {"fault": "cut_stream", "after_events": 2},
        {"fault": "error_event_in_stream", "after_events": 2, "body": said},
    ):
        sandbox.reset()
        sandbox.faults({"role": "azure", **fault})
        stream = "stream" in fault["fault"]
        statuses.add(_ask(daemon, "POST", "/v1/chat/completions", KNOWN, _chat(stream=stream))[0])
    for fault in ({"status": 500}, {"status": 403}, {"status": 200}):
        sandbox.reset()
        sandbox.faults({"role": "gitlab", "fault": "status", "body": said, **fault})
        headers = {"authorization": f"Bearer glpat-{PIECE}-{fault['status']}"}
        statuses.add(_ask(daemon, "GET", "/v1/models", headers)[0])
    with daemon.connection() as connection:
        connection.sendall(f"GET /{PIECE} HTTP/9\r\nx-{PIECE}: {PIECE}\r\n\r\n".encode())
        connection.recv(65536)
    return statuses


def test_nothing_that_was_written_has_a_secret(
    guarded: tuple[Daemon, int], sandbox: Sandbox, tmp_path: Path
) -> None:
    """Of credentials, prompts, queries, forms, answers, and what upstreams and GitLab say when they fail."""
    daemon, admin = guarded
    statuses = _asked_wrongly(daemon, sandbox)
    assert {200, 400, 401, 404, 502} <= statuses, statuses
    pages = {name: _page(admin, name) for name in ("metrics", "status", "readyz", "healthz")}
    assert {status for status, _ in pages.values()} <= {200, 503}
    figures = pages["metrics"][1]
    assert 'gptproxy_refusals_total{code="invalid_api_key"}' in figures
    assert 'gptproxy_gitlab_verdicts_total{verdict="refused"}' in figures
    assert json.loads(pages["status"][1])["calls"]["ended"] > 20
    daemon.process.terminate()
    daemon.process.wait()
    written = {name: text for name, (_, text) in pages.items()}
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix not in (".toml", ".pem"):
            written[path.name] = path.read_bytes().decode("utf-8", "replace")
    assert "/chat/completions" in written["daemon.log"]
    for name, text in written.items():
        lines = [line for line in text.splitlines() if PIECE.casefold() in line.casefold()]
        assert not lines, (name, lines)
    if "json" in (tmp_path / "gptproxy.toml").read_text().partition("[log]")[2]:
        for line in written["daemon.log"].splitlines():
            assert {"time", "level", "namespace"} <= set(json.loads(line)), line
