"""
A small file read whole, whatever stands at its path.

Reads files; imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path
from typing import Final

__all__ = ["SILENT_SECONDS", "read_file"]

SILENT_SECONDS: Final = 5.0
"""For a pipe in a file's place: a shell's ``<(...)`` may decrypt something first, but one that nobody writes to would
hold up whoever reads, and with that every later reload and the process's end."""

_CHUNK_BYTES: Final = 65_536


def read_file(path: Path, most: int, silent_seconds: float = SILENT_SECONDS) -> bytes:
    """
    Read a file, or what a pipe gives until its other end is closed. It blocks.

    :param path: the file.
    :param most: bytes that are read at most.
    :param silent_seconds: how long all of a pipe, or of a terminal, may take.
    :return: what is in it.
    :raise OSError: it cannot be read, or takes longer; ``strerror`` says why.
    """
    # Opening a pipe for reading would wait for its writer (fifo(7)).
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(most)
        return _read_as_it_comes(descriptor, most, time.monotonic() + silent_seconds)
    finally:
        os.close(descriptor)


def _read_as_it_comes(descriptor: int, most: int, until: float) -> bytes:
    found = bytearray()
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    while len(found) < most:
        # At first: where nobody has opened the other end yet, reading would say that this is all.
        left = max(0.0, until - time.monotonic())
        if not waiting.poll(left * 1000):
            raise OSError(errno.ETIMEDOUT, "is no file, and nothing comes out of it")
        try:
            piece = os.read(descriptor, min(_CHUNK_BYTES, most - len(found)))
        except BlockingIOError:  # pragma: no cover - somebody else was faster
            continue
        if not piece:
            break
        found += piece
    return bytes(found)
