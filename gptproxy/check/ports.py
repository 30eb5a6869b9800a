"""
Can the ports be had?

Opens sockets for a moment; imports nothing of gptproxy but this room's own modules.
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable

from gptproxy.check.finding import Finding, Level

__all__ = ["check_ports"]


def check_ports(descriptions: Iterable[str]) -> list[Finding]:
    """
    :param descriptions: endpoint strings; kinds other than TCP's are passed over.
    :return: a finding for each. A port that somebody has is a warning: it is the daemon itself, where that runs.
    """
    return [
        _look(description, *place)
        for description in descriptions
        if (place := _place(description)) is not None
    ]


def _place(description: str) -> tuple[str, int] | None:
    kind, *parts = re.split(r"(?<!\\):", description)
    parts = [part.replace("\\:", ":") for part in parts]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    port = named.get("port") or (parts[0] if parts else "")
    if kind not in ("ssl", "tcp", "tcp4", "tcp6") or not (port.isascii() and port.isdigit()):
        return None
    return named.get("interface", "::" if kind == "tcp6" else ""), min(int(port), 65535)


def _look(description: str, host: str, port: int) -> Finding:
    subject = f"port {description}"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            # As Twisted does: connections that are still closing are nobody's.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except PermissionError:
        message = "you may not open it; the service may, by its unit (CAP_NET_BIND_SERVICE)"
        return Finding(Level.WARNING, subject, message)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            message = "somebody has it: the running daemon, or another program"
            return Finding(Level.WARNING, subject, message)
        return Finding(Level.ERROR, subject, f"cannot be opened: {error.strerror or error}")
    return Finding(Level.GOOD, subject, "is free")
