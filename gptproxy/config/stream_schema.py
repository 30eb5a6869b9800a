"""
How answers are looked at before they are relayed: the keys of ``[stream]``.

Pure: imports nothing of gptproxy but this room's own modules, and nothing of Twisted.
"""

from __future__ import annotations

from gptproxy.config.checks import seconds, whole
from gptproxy.config.fields import Key, Section
from gptproxy.config.making import plain
from gptproxy.config.upstream_settings import StreamSettings

__all__ = ["STREAM"]

STREAM = Section(
    keys=(
        Key("hold_back_seconds", seconds),
        Key("hold_back_bytes", whole(1024, 16_777_216)),
        Key("heartbeat_seconds", seconds),
        Key("inspect_bytes", whole(1024, 67_108_864)),
    ),
    make=plain(StreamSettings),
)
