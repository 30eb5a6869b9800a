"""
A worker that is started ahead: it has imported all that a worker needs, and waits for the word to be one.

``python -c``, :data:`CODE`, and the code of a worker as its one argument. From the word on it is a worker like any
other: it reads the configuration then, and not before.

May import the process room; what a worker is stands above this one, and is imported by name.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from gptproxy.process import Notifier

__all__ = ["CODE", "WAITS", "spare_words", "wait", "word"]

WAITS: Final = "STATUS=waits"
"""What it says of itself when it has imported everything (sd_notify(3))."""

CODE: Final = "from gptproxy.workers.spare import wait; wait()"

_IMPORTED: Final = (
    "gptproxy.tap",
    "gptproxy.daemon",
    "twisted.internet.epollreactor",
    "twisted.scripts._twistd_unix",
)
"""Measured: with these a worker's port answers 0.03 s after the word, without 0.5 s. None of them takes a reactor or
reads a file; where one is missing, whoever needs it says so."""

_READ_BYTES: Final = 65_536


def spare_words(words: Sequence[str]) -> list[str] | None:
    """
    :param words: a worker's program and arguments: python, options of its own, ``-c``, the code, arguments.
    :return: the program and arguments of one that waits to be told the rest; None: they are of another form.
    """
    if "-c" not in words:
        return None
    at = words.index("-c")
    return [*words[: at + 1], CODE, words[at + 1]]


def word(words: Sequence[str], told: Mapping[str, str]) -> bytes:
    """
    :param words: a worker's program and arguments.
    :param told: by its environment, besides what was known when the spare one was started.
    :return: what has the spare one be that worker.
    """
    arguments = words[words.index("-c") + 2 :]
    return json.dumps({"arguments": arguments, "environ": dict(told)}).encode() + b"\n"


def wait(descriptor: int = 0) -> None:
    """
    Import what a worker needs, wait for the word, and be a worker.

    :param descriptor: where the word comes; its end means that nobody is there to give one.
    """
    for name in _IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    Notifier.from_environment(os.environ).tell(WAITS)
    heard = b""
    while not heard.endswith(b"\n"):
        more = os.read(descriptor, _READ_BYTES)
        if not more:
            return
        heard += more
    told = json.loads(heard)
    os.environ.update(told["environ"])
    code = sys.argv[1]
    sys.argv[1:] = told["arguments"]
    # As python's own -c does with it: the code comes from whoever has started this process.
    exec(code, {"__name__": "__main__"})  # noqa: S102 - see above
