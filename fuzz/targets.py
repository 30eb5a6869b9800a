"""All that is fuzzed, by name."""

from __future__ import annotations

from typing import Final

from fuzz.checking import Target
from fuzz.http_targets import CHUNKED_BODIES, REQUESTS, RESPONSES, URLS
from fuzz.wire_targets import EVENT_STREAMS, JSON_MEMBERS

__all__ = ["TARGETS"]

TARGETS: Final[dict[str, Target]] = {
    target.name: target
    for target in (REQUESTS, RESPONSES, CHUNKED_BODIES, URLS, JSON_MEMBERS, EVENT_STREAMS)
}
