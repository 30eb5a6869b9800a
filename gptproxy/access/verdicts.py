"""
What is known about credentials that were judged lately.

Pure: imports the access room's values and the wire room. Time is passed in; what is kept of a credential is a keyed
hash of the whole of it, under a key made when the process starts.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict

from attrs import frozen

from gptproxy.access.caller import Caller
from gptproxy.config import Secret
from gptproxy.wire import Refusal

__all__ = ["Digest", "Digester", "Verdict", "VerdictCache"]

Digest = bytes
"""A keyed hash of a credential: 32 bytes."""

Verdict = Caller | Refusal
"""A caller who may come in, or the answer for one who may not."""


class Digester:
    """Hashes credentials under a random key of this process: what it gives is worth nothing elsewhere."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def digest(self, credential: Secret) -> Digest:
        """
        :param credential: the whole credential; two that differ anywhere have different digests.
        :return: its HMAC-SHA256.
        """
        return hmac.digest(self._key, credential.reveal().encode(), "sha256")


@frozen
class _Entry:
    verdict: Verdict
    since: float
    expires: float


class VerdictCache:
    """
    Verdicts by digest, the least recently used forgotten first. Callers and refusals have a bound each, so that
    made-up tokens cannot push known callers out.

    :param size: entries of either sort at most.
    :param known_seconds: how long a caller stays known.
    :param refused_seconds: how long a refusal stands.
    """

    def __init__(self, size: int, known_seconds: float, refused_seconds: float) -> None:
        self._size = size
        self._known_seconds = known_seconds
        self._refused_seconds = refused_seconds
        self._known: OrderedDict[Digest, _Entry] = OrderedDict()
        self._refused: OrderedDict[Digest, _Entry] = OrderedDict()

    def get(self, digest: Digest, now: float) -> Verdict | None:
        """
        :param digest: of the credential.
        :param now: seconds, on the clock of :meth:`put`.
        :return: the verdict, unless it has expired. One from the future has too: a clock that was set back must not
            make a revoked token last.
        """
        for entries in (self._known, self._refused):
            entry = entries.get(digest)
            if entry is None:
                continue
            if not entry.since <= now < entry.expires:
                del entries[digest]
                continue
            entries.move_to_end(digest)
            return entry.verdict
        return None

    def put(self, digest: Digest, verdict: Verdict, since: float) -> None:
        """
        :param digest: of the credential.
        :param verdict: what was found; it takes the place of what was known.
        :param since: when it was asked for, in seconds: it holds for that moment, however long its answer took.
        """
        self._known.pop(digest, None)
        self._refused.pop(digest, None)
        if isinstance(verdict, Caller):
            entries, seconds = self._known, self._known_seconds
        else:
            entries, seconds = self._refused, self._refused_seconds
        entries[digest] = _Entry(verdict, since, since + seconds)
        if len(entries) > self._size:
            entries.popitem(last=False)

    def __len__(self) -> int:
        """:return: entries of both sorts, expired ones that nobody asked for included."""
        return len(self._known) + len(self._refused)
