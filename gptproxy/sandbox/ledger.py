"""What the sandbox has received and sent: the last requests, and counts for each role.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque

from attrs import define

from gptproxy.sandbox.faults import ROLES
from gptproxy.sandbox.messages import Call, JsonObject

__all__ = ["Counts", "Ledger"]

_REQUESTS = 1000  # enough for any one test
_BODY_BYTES = 2**20  # of one body; a longer one is known by its length and digest
_ALL_BYTES = 64 * 2**20  # of all bodies kept, so that uploads cannot fill the memory


@define
class Counts:
    """The counts of one role.

    :param requests: received.
    :param open_streams: answers begun and not ended, those that hang included.
    :param left_early: answers that the client left before their end.
    :param bytes_written: bytes of bodies handed to the connection; back-pressure stops it.
    """

    requests: int = 0
    open_streams: int = 0
    left_early: int = 0
    bytes_written: int = 0


class Ledger:
    """The sandbox's memory, bounded in requests and in bytes."""

    def __init__(self) -> None:
        self._requests: deque[tuple[Call, bytes, str]] = deque()
        self._bytes = 0
        self._counts = {role: Counts() for role in ROLES}

    def counts(self, role: str) -> Counts:
        """:return: the counts of a role, to be changed by whoever sends its answers."""
        return self._counts[role]

    def record(self, call: Call) -> None:
        """
        :param call: is remembered; the oldest is forgotten where there are too many.
        """
        self._counts[call.role].requests += 1
        kept = call.body[:_BODY_BYTES]
        self._requests.append((call, kept, hashlib.sha256(call.body).hexdigest()))
        self._bytes += len(kept)
        while len(self._requests) > _REQUESTS or self._bytes > _ALL_BYTES:
            self._bytes -= len(self._requests.popleft()[1])

    def forget(self) -> None:
        """Forget the requests; the counts stay."""
        self._requests.clear()
        self._bytes = 0

    def reset(self) -> None:
        """Begin the counts anew, but for the streams that are open."""
        for counts in self._counts.values():
            counts.requests = counts.left_early = counts.bytes_written = 0

    def requests(self) -> list[JsonObject]:
        """:return: the requests, oldest first; header names are in lower case."""
        return [_as_json(*entry) for entry in self._requests]

    def state(self) -> JsonObject:
        """:return: the counts of every role."""
        return {
            role: {
                "requests": counts.requests,
                "open_streams": counts.open_streams,
                "left_early": counts.left_early,
                "bytes_written": counts.bytes_written,
            }
            for role, counts in self._counts.items()
        }


def _as_json(call: Call, kept: bytes, digest: str) -> JsonObject:
    truncated = len(kept) < len(call.body)
    try:
        body, encoding = kept.decode("utf-8"), "text"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(kept).decode("ascii"), "base64"
    return {
        "role": call.role,
        "number": call.number,
        "method": call.method,
        "target": call.target,
        "headers": [list(pair) for pair in call.headers],
        "body": body,
        "body_encoding": encoding,
        "body_bytes": len(call.body),
        "body_sha256": digest,
        "body_truncated": truncated,
    }
