"""
``gptproxy status``: asks the running daemon how it is.

May import the config room. It is a command and may block.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

from gptproxy.config import ConfigurationError, Problem, load_settings
from gptproxy.status_screen import status_screen

__all__ = ["NotListening", "admin_address", "show_status"]

TIMEOUT_SECONDS: Final = 5.0
WATCH_SECONDS: Final = 2.0
LONGEST_BYTES: Final = 4_194_304
_CLEAR = "\x1b[H\x1b[2J"


class NotListening(Exception):
    """Nobody answers at the admin listener's address; its text says where and why."""


class _UnixConnection(http.client.HTTPConnection):
    """
    HTTP over a socket in the file system.

    :param path: where.
    """

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(self._path)


def show_status(config: Path | None, *, watch: bool) -> int:
    """
    :param config: the configuration file; None: as the daemon looks for it.
    :param watch: draw it again every two seconds, until Ctrl-C. While the daemon is away, such as for a restart, that
        is what is drawn.
    :return: the exit status: 1 where nobody answered to begin with.
    :raise ConfigurationError: the configuration is wrong, or has no admin listener.
    """
    settings = load_settings(config, environ=os.environ, working_directory=Path.cwd())
    listen = settings.admin.listen
    if listen is None:
        problem = Problem(
            settings.source,
            "admin.listen",
            'missing; the daemon tells its status there: listen = "tcp:9480:interface=127.0.0.1"',
        )
        raise ConfigurationError([problem])
    answered = False
    while True:
        try:
            screen = status_screen(_ask(listen), time.time())
            answered = True
        except NotListening as trouble:
            if not answered:
                sys.stderr.write(f"gptproxy: {trouble}\n")
                return 1
            screen = f"{trouble}; looking on\n"
        sys.stdout.write(f"{_CLEAR}{screen}" if watch and sys.stdout.isatty() else screen)
        sys.stdout.flush()
        if not watch:
            return 0
        time.sleep(WATCH_SECONDS)


def admin_address(listen: str) -> tuple[str, int] | str:
    """
    :param listen: the endpoint string of a listener.
    :return: host and port to connect to, or a socket's path.
    :raise NotListening: it is of a kind that this cannot connect to.
    """
    kind, *parts = listen.replace("\\:", "\0").split(":")
    parts = [part.replace("\0", ":") for part in parts]
    options = dict(part.split("=", 1) for part in parts if "=" in part)
    first = options.get("port") or options.get("address") or (parts[0] if parts else "")
    if kind == "unix" and first:
        return first
    if kind in ("tcp", "tcp4", "tcp6") and first.isdigit():
        host = options.get("interface", "")
        anywhere = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not listened on
        return anywhere.get(host, host), int(first)
    raise NotListening(f"{listen}: only tcp and unix listeners can be asked")


def _ask(listen: str) -> dict[str, object]:
    address = admin_address(listen)
    connection = (
        _UnixConnection(address)
        if isinstance(address, str)
        else http.client.HTTPConnection(*address, timeout=TIMEOUT_SECONDS)
    )
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        content = json.loads(answer.read(LONGEST_BYTES))
    except (OSError, http.client.HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotListening(f"no daemon answers at {listen}: {reason}") from error
    except ValueError as error:
        raise NotListening(f"what answers at {listen} is not gptproxy") from error
    finally:
        connection.close()
    if answer.status != 200 or not isinstance(content, dict):
        raise NotListening(f"what answers at {listen} is not gptproxy")
    return content
