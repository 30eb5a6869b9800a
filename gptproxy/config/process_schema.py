"""
The process itself: the keys of ``[process]``, ``[admin]`` and ``[log]``.

Pure: imports nothing of gptproxy but this room's own modules, and nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.checks import choice, printable, seconds, whole
from gptproxy.config.fields import Key, Place, Refused, Section
from gptproxy.config.making import plain
from gptproxy.config.process_settings import AdminSettings, LogSettings, ProcessSettings

__all__ = ["ADMIN", "LOG", "PROCESS"]

_number = whole(1, 256)


def _workers(value: object, place: Place) -> int:
    """A check: how many; 0 for ``auto``."""
    if value == "auto":
        return 0
    if isinstance(value, str):
        raise Refused('must be a number from 1 to 256, or "auto"')
    return _number(value, place)


PROCESS = Section(
    keys=(Key("workers", _workers), Key("drain_seconds", seconds)),
    make=plain(ProcessSettings),
)

ADMIN = Section(keys=(Key("listen", printable),), make=plain(AdminSettings))

LOG = Section(keys=(Key("format", choice("text", "json", "journal")),), make=plain(LogSettings))
