"""
How a worker is started: the command line of a single process, and what is around it.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["SHELL", "is_shared", "log_options", "shell_words", "with_port", "worker_environment"]

SHELL: Final = "/bin/sh"

# sd_listen_fds(3) has the sockets named by the number of the process that is to have them, which nobody knows before it
# is there. What is typed at a terminal (Ctrl-C) reaches all processes of its group: a worker leaves that to its parent,
# or it would be told to stop twice, which means at once.
_SCRIPT: Final = "trap '' INT; LISTEN_PID=$$; export LISTEN_PID; exec \"$@\""

_NOT_HANDED_ON: Final = frozenset(
    ("LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
)
"""What the service manager tells the parent alone."""


def shell_words(name: str, command: Sequence[str]) -> list[str]:
    """
    :param name: how the shell's own messages begin.
    :param command: the program and its arguments.
    :return: the arguments of :data:`SHELL`, which makes itself into the program.
    """
    return ["sh", "-c", _SCRIPT, name, *command]


def worker_environment(
    environ: Mapping[str, str],
    sockets: int,
    notify: str,
    sign_seconds: float,
    told: Mapping[str, str],
) -> dict[str, str]:
    """
    :param environ: the parent's.
    :param sockets: how many are handed down.
    :param notify: path of the socket on which the worker tells the parent how it fares (sd_notify(3)).
    :param sign_seconds: how long it may go without a sign of life.
    :param told: what else it is told.
    :return: the worker's.
    """
    kept = {name: value for name, value in environ.items() if name not in _NOT_HANDED_ON}
    return {
        **kept,
        "LISTEN_FDS": str(sockets),
        "NOTIFY_SOCKET": notify,
        "WATCHDOG_USEC": str(int(sign_seconds * 1_000_000)),
        **told,
    }


def is_shared(description: str) -> bool:
    """
    :param description: an endpoint string.
    :return: whether several workers can listen there: on sockets of TCP, which are handed down.
    """
    kind, _, rest = description.partition(":")
    return kind == "tcp" or (kind == "ssl" and "privateKey=" not in rest)


def with_port(description: str, port: int) -> str:
    """
    :param description: an endpoint string of one of those kinds.
    :param port: where it was opened.
    :return: the same; where any port would have done (0) with that one.
    """
    return re.sub(
        r"(?<=:)(port=)?0(?=:|$)", lambda found: f"{found[1] or ''}{port}", description, count=1
    )


def log_options(options: Mapping[str, object], number: int) -> list[str]:
    """
    :param options: twistd's own, of the parent.
    :param number: the worker's.
    :return: those that say where a worker's log goes: to a file of its own where the parent has one, since each process
        renames its file when it is full.
    """
    words = []
    if options.get("logger"):
        return ["--logger", str(options["logger"])]
    if options.get("syslog"):
        return ["--syslog", "--prefix", str(options.get("prefix") or "gptproxy")]
    name = options.get("logfile") or ("-" if options.get("nodaemon") else "twistd.log")
    if name != "-":
        path = Path(str(name))
        words = ["--logfile", str(path.with_name(f"{path.stem}-{number}{path.suffix}"))]
    return words
