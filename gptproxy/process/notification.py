"""
What the service manager is told: sd_notify(3), which is a datagram of assignments to the socket it names.

Imports nothing of gptproxy, and of Twisted its log alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.logger import Logger

__all__ = ["Notifier", "watchdog_seconds"]


class Notifier:
    """
    Tells the service manager, where there is one that listens.

    :param address: of its socket: a path, or ``@`` and a name in the abstract namespace; "" tells nobody.
    """

    _log = Logger()

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """
        :param environ: the process's; ``NOTIFY_SOCKET`` names the socket.
        :return: one that tells it. Another kind of address (``vsock:``) is a virtual machine's and not ours.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        return cls(address if address[:1] in ("/", "@") else "")

    @property
    def listened_to(self) -> bool:
        """Whether anybody is told."""
        return bool(self._address)

    def tell(self, *assignments: str) -> None:
        """
        Send one datagram. A service manager that cannot be reached is logged once: it ends the process itself when it
        misses what it waits for.

        :param assignments: for example ``READY=1``; no line breaks.
        """
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                # The loop must not wait for whoever reads the socket's queue.
                sender.setblocking(False)
                sender.sendto("\n".join(assignments).encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warn(
                    "the service manager cannot be told anything: {reason}", reason=error.strerror
                )


def watchdog_seconds(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """
    How often the service manager wants a sign of life (sd_watchdog_enabled(3)).

    :param environ: the process's.
    :param pid: its number; None asks the system.
    :return: half of what it allows, as its page advises; None where it wants none.
    """
    if environ.get("WATCHDOG_PID", "") not in ("", str(os.getpid() if pid is None else pid)):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    microseconds = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    return microseconds / 2_000_000 if microseconds else None
