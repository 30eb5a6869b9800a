"""
systemd's journal, spoken to in its own form.

May import nothing of gptproxy and nothing of Twisted. An entry is a datagram of fields
(https://systemd.io/JOURNAL_NATIVE_PROTOCOL/). Journald takes it or not at once; nothing waits for it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["IDENTIFIER", "JOURNAL", "JournalSink", "datagram", "goes_to_journal"]

JOURNAL: Final = "/run/systemd/journal/socket"

_LONGEST: Final = 49_152
"""Bytes of one value: all of an entry must fit into a datagram, some 200 KiB where nobody has changed the kernel's."""

IDENTIFIER: Final = "gptproxy"
"""What ``journalctl -t`` looks for."""


def datagram(fields: Iterable[tuple[str, str]]) -> bytes:
    """
    :param fields: names of capital letters, digits and underscores, and values of whatever there is.
    :return: the entry; a value with a line end has its length before it, so that it cannot begin a field of its own.
    """
    lines = []
    for name, text in (("SYSLOG_IDENTIFIER", IDENTIFIER), *fields):
        value = text.encode("utf-8", "backslashreplace")[:_LONGEST]
        if b"\n" in value:
            lines.append(b"%b\n%b%b\n" % (name.encode(), len(value).to_bytes(8, "little"), value))
        else:
            lines.append(b"%b=%b\n" % (name.encode(), value))
    return b"".join(lines)


def goes_to_journal(environ: Mapping[str, str], descriptor: int = 2) -> bool:
    """
    :param environ: the process's environment; systemd says in ``JOURNAL_STREAM`` which device and inode the stream has
        that it made (systemd.exec(5)).
    :param descriptor: of the standard error.
    :return: whether that is where it still goes: not where somebody has redirected it.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(descriptor)
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    except (OSError, ValueError):
        return False


class JournalSink:
    """
    Takes entries to the journal.

    :param path: its socket.

    :ivar dropped: entries that it did not take: it was busy, or being restarted.
    """

    def __init__(self, path: str = JOURNAL) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self.dropped = 0

    def put(self, entry: bytes) -> None:
        """
        :param entry: as :func:`datagram` makes it.
        """
        if not self._send(entry):
            self.dropped += 1
        elif self.dropped:
            words = f"{self.dropped} log entries were not taken by the journal"
            if self._send(datagram((("MESSAGE", words), ("PRIORITY", "4")))):
                self.dropped = 0

    def _send(self, entry: bytes) -> bool:
        """:return: whether it was taken. Journald makes its socket anew when it is restarted: once more, then."""
        for _ in range(2):
            try:
                self._connected().send(entry)
            except BlockingIOError:
                return False
            except OSError:
                self.close()
            else:
                return True
        return False

    def close(self) -> None:
        """Let go of the socket; the next entry connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket = made
            made.setblocking(False)
            made.connect(self._path)
        return self._socket
