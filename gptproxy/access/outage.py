"""
Whether GitLab is worth asking now.

Pure: imports the access room's values. Time is passed in. Known callers are not made to wait for a GitLab that did not
answer a moment ago, and a token that GitLab asked to be left alone about is left alone.
"""

from __future__ import annotations

from collections import OrderedDict

from gptproxy.access.refusals import GitLabAway
from gptproxy.access.verdicts import Digest

__all__ = ["Outage"]

PROBE_SECONDS = 10.0
"""While GitLab is down, one known caller in so long finds out whether it still is: twice what that takes."""

PAUSES = 10_000
"""Tokens whose Retry-After is remembered; one that is forgotten is asked about early."""


class Outage:
    """
    Remembers that GitLab did not answer, and what it asked to wait for.

    :ivar since: when it was first seen down, in seconds; None while it is not.
    """

    def __init__(self) -> None:
        self._down = False
        self.since: float | None = None
        self._probe_at = 0.0
        self._pauses: OrderedDict[Digest, float] = OrderedDict()

    def spares(self, digest: Digest, now: float) -> bool:
        """
        :param digest: of a known caller's credential, to be served if need be without asking.
        :param now: seconds.
        :return: whether asking would most likely be in vain. When it may not be any more, one caller is told to ask.
        """
        if self.pause(digest, now):
            return True
        if not self._down:
            return False
        # The first bound is for a clock that was set back.
        if self._probe_at - PROBE_SECONDS <= now < self._probe_at:
            return True
        self._probe_at = now + PROBE_SECONDS
        return False

    def pause(self, digest: Digest, now: float) -> float:
        """
        :param digest: of a credential.
        :param now: seconds.
        :return: seconds for which GitLab wants not to be asked about it; 0 where it may be.
        """
        until = self._pauses.get(digest)
        if until is None:
            return 0.0
        if now >= until:
            del self._pauses[digest]
            return 0.0
        return until - now

    def met(self, digest: Digest, away: GitLabAway, now: float) -> None:
        """
        :param digest: of the credential that was asked about.
        :param away: what came of it.
        :param now: seconds.
        """
        if away.retry_after:
            self._pauses[digest] = now + away.retry_after
            self._pauses.move_to_end(digest)
            if len(self._pauses) > PAUSES:
                self._pauses.popitem(last=False)
        if away.down:
            if not self._down:
                self.since = now
            self._down = True
            self._probe_at = now + PROBE_SECONDS

    def answered(self) -> None:
        """GitLab gave a verdict."""
        self._down = False
        self.since = None
