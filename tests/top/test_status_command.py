"""Tests of :mod:`gptproxy.status_command` and :mod:`gptproxy.status_screen`."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, UnixStreamServer
from types import TracebackType
from typing import Self

import pytest

from gptproxy.config import ConfigurationError
from gptproxy.status_command import NotListening, admin_address, show_status
from gptproxy.status_screen import status_screen

STATUS = {
    "version": "1.2.3",
    "pid": 77,
    "started": 1000.0,
    "calls": {"ended": 12, "open": 1, "streams": 0},
    "process": {"memory_bytes": 67_108_864, "lag_seconds": 0.0012, "shedding": False},
    "upstreams": [
        {"name": "primary", "kind": "azure", "state": "open", "calls": 10, "failed": 6},
        {"name": "se\x1bcondary", "kind": "openai", "state": "closed", "calls": 2, "failed": 0},
    ],
    "conditions": [{"name": "gitlab", "state": "warning", "detail": "away for 20 s"}],
}


class _Page(BaseHTTPRequestHandler):
    status = 200
    body = json.dumps(STATUS).encode()

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def address_string(self) -> str:
        return ""


class Daemon:
    """A server that answers one request with a page."""

    def __init__(
        self, path: Path | None = None, status: int = 200, body: bytes = _Page.body
    ) -> None:
        page = type("Page", (_Page,), {"status": status, "body": body})
        self._server = (
            TCPServer(("127.0.0.1", 0), page) if path is None else UnixStreamServer(str(path), page)
        )
        self.listen = (
            f"tcp:{self._server.server_address[1]}:interface=127.0.0.1"
            if path is None
            else f"unix:{path}"
        )

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.handle_request)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Once the request is answered."""
        self._thread.join()
        self._server.server_close()


def configured(directory: Path, listen: str) -> Path:
    path = directory / "gptproxy.toml"
    path.write_text(f"[admin]\nlisten = '{listen}'\n")
    return path


def test_one_screen() -> None:
    """Everything that the daemon says, in a few lines; nothing in it steers the terminal."""
    assert status_screen(STATUS, 1000.0 + 7300).splitlines() == [
        "gptproxy 1.2.3, pid 77, up 2 h",
        "",
        "calls        ended 12, open 1, streams 0",
        "process      memory 64 MiB, lag 1.2 ms, shedding no",
        "",
        "upstream    kind    state   calls  failed",
        "primary     azure   open    10     6",
        "se?condary  openai  closed  2      0",
        "",
        "name    state    detail",
        "gitlab  warning  away for 20 s",
    ]


def test_what_is_missing_is_left_out() -> None:
    """A daemon of another version may say less, or say nothing of something."""
    assert status_screen({}, 0.0) == "gptproxy ?, pid ?\n\n"
    workers = [
        {"worker": 0, "pid": 1, "uptime_seconds": 100.0, "calls": None},
        {"worker": 1, "pid": 2},
    ]
    assert status_screen({"workers": workers}, 0.0).splitlines()[-2:] == [
        "0       1    100 s   -",
        "1       2    -       -",
    ]


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp:9480:interface=127.0.0.1", ("127.0.0.1", 9480)),
        ("tcp:9480", ("127.0.0.1", 9480)),
        ("tcp:port=9480:interface=0.0.0.0", ("127.0.0.1", 9480)),
        (r"tcp6:9480:interface=\:\:", ("::1", 9480)),
        (r"tcp:9480:interface=fd00\:\:1", ("fd00::1", 9480)),
        ("unix:/run/gptproxy/admin.sock:mode=600", "/run/gptproxy/admin.sock"),
    ],
)
def test_where_to_ask(listen: str, address: object) -> None:
    """The address that a listener's endpoint string means to a client."""
    assert admin_address(listen) == address


@pytest.mark.parametrize("listen", ["ssl:443", "tcp:name", "tcp", "systemd:domain=INET:index=0"])
def test_where_it_cannot_ask(listen: str) -> None:
    """Other kinds are named in the message."""
    with pytest.raises(NotListening, match="only tcp and unix"):
        admin_address(listen)


@pytest.mark.parametrize("unix", [False, True])
def test_it_asks_the_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str], unix: bool) -> None:
    """Over TCP and over a socket in the file system."""
    with Daemon(tmp_path / "admin.sock" if unix else None) as daemon:
        assert show_status(configured(tmp_path, daemon.listen), watch=False) == 0
    assert "gptproxy 1.2.3, pid 77" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"{}"), (200, b"[]"), (200, b"<html>"), (503, b"{}")]
)
def test_somebody_else_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int, body: bytes
) -> None:
    """What is not gptproxy's account is not shown."""
    with Daemon(None, status, body) as daemon:
        assert show_status(configured(tmp_path, daemon.listen), watch=False) == 1
    assert "is not gptproxy" in capsys.readouterr().err


def test_nobody_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that says where, and exit status 1."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"tcp:{free.getsockname()[1]}:interface=127.0.0.1"
        assert show_status(configured(tmp_path, listen), watch=False) == 1
    assert f"no daemon answers at {listen}" in capsys.readouterr().err


def test_without_an_admin_listener_there_is_nobody_to_ask(tmp_path: Path) -> None:
    """The message says what to write where."""
    path = tmp_path / "gptproxy.toml"
    path.write_text("")
    with pytest.raises(ConfigurationError, match=r"admin\.listen: missing"):
        show_status(path, watch=False)


def test_watching_draws_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every two seconds, until somebody stops it. While the daemon is restarted it says so, and goes on."""
    pauses: list[float] = []
    place = tmp_path / "admin.sock"
    daemons = [Daemon(place)]

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            daemons[0].stop()
            place.unlink()
        elif len(pauses) == 2:
            daemons.append(Daemon(place, body=_Page.body.replace(b"77", b"78")))
            daemons[1].__enter__()
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", pause)
    with daemons[0], pytest.raises(KeyboardInterrupt):
        show_status(configured(tmp_path, daemons[0].listen), watch=True)
    daemons[1].stop()
    assert pauses == [2.0] * 3
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if line.startswith(("gptproxy ", "no daemon"))]
    assert [line.partition(", up")[0].partition(": ")[0] for line in told] == [
        "gptproxy 1.2.3, pid 77",
        f"no daemon answers at unix:{place}",
        "gptproxy 1.2.3, pid 78",
    ]


def test_watching_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who never answered is not waited for."""
    listen = f"unix:{tmp_path}/none"
    assert show_status(configured(tmp_path, listen), watch=True) == 1
    assert capsys.readouterr().err.startswith(f"gptproxy: no daemon answers at {listen}")
