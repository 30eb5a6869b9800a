"""A service manager for tests: the socket that it listens on."""

from __future__ import annotations

import socket
from unittest import TestCase

from tests.top.rig import folder_of


class Manager:
    """Hears what is told, and keeps it."""

    def __init__(self, test: TestCase) -> None:
        self.address = str(folder_of(test) / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        test.addCleanup(self._socket.close)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    def told(self) -> list[str]:
        """:return: what was told since the last time."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def wait(self, seconds: float) -> str:
        """:return: the next datagram; it fails where none comes."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(4096).decode()
        finally:
            self._socket.setblocking(False)
