"""
The process itself: the settings of ``[process]``, ``[admin]`` and ``[log]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

__all__ = ["AdminSettings", "LogFormat", "LogSettings", "ProcessSettings"]

LogFormat = Literal["json", "text", "journal"]


@frozen
class ProcessSettings:
    """
    ``[process]``: how many there are, and how they end.

    :param workers: processes that share the listening sockets; 0: as many as there are cores.
    :param drain_seconds: how long calls under way may take when the daemon is told to stop.
    """

    workers: int = 1
    drain_seconds: float = 30.0


@frozen
class AdminSettings:
    """
    ``[admin]``: what the operator looks at.

    :param listen: endpoint string of the listener for metrics, health and status; None: there is none.
    """

    listen: str | None = None


@frozen
class LogSettings:
    """
    ``[log]``: what a line of the log looks like.

    :param format: ``text``: for reading; ``json``: one object a line; ``journal``: fields for systemd's journal, text
        where there is none.
    """

    format: LogFormat = "text"
