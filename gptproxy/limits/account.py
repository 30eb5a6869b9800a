"""
What one who is counted has under way, and has left: a caller, a group, or everybody together.

Pure: imports the config room and this one.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

from gptproxy.config import QuotaSettings
from gptproxy.limits.bucket import Bucket

__all__ = ["Account", "Shortage"]

CONCURRENT_RETRY_SECONDS: Final = 1.0
"""When a call ends nobody knows; a second later is worth a try."""


@frozen
class Shortage:
    """
    Why a call is not admitted.

    :param of: what there is not enough of.
    :param limit: how much there is in all.
    :param remaining: how much is left.
    :param wait_seconds: when to try again.
    """

    of: Literal["concurrent calls", "calls per minute", "tokens per minute"]
    limit: int
    remaining: int
    wait_seconds: float


class Account:
    """
    :param quota: its bounds.
    :param now: seconds.

    :ivar running: calls under way.
    """

    __slots__ = ("_calls", "_quota", "_tokens", "running")

    def __init__(self, quota: QuotaSettings, now: float) -> None:
        self.running = 0
        self._calls: Bucket | None = None
        self._tokens: Bucket | None = None
        self.bound_by(quota, now)

    def bound_by(self, quota: QuotaSettings, now: float) -> None:
        """
        Take new bounds. What is under way stays counted, and a bucket whose bound is as it was keeps what is in it.

        :param quota: the bounds.
        :param now: seconds.
        """
        self._quota = quota
        self._calls = _bucket(self._calls, quota.calls_per_minute, now)
        self._tokens = _bucket(self._tokens, quota.tokens_per_minute, now)

    @property
    def quota(self) -> QuotaSettings:
        """The bounds."""
        return self._quota

    def shortage(self, now: float) -> Shortage | None:
        """
        :param now: seconds.
        :return: what another call lacks; None where it may begin.
        """
        found = []
        bound = self._quota.concurrent_calls
        if bound is not None and self.running >= bound:
            found.append(Shortage("concurrent calls", bound, 0, CONCURRENT_RETRY_SECONDS))
        # Of tokens one must be there: the bucket is not overdrawn.
        if self._calls is not None and (wait := self._calls.wait_for(1.0, now)):
            found.append(Shortage("calls per minute", self._calls.per_minute, 0, wait))
        if self._tokens is not None and (wait := self._tokens.wait_for(1.0, now)):
            found.append(Shortage("tokens per minute", self._tokens.per_minute, 0, wait))
        return max(found, key=lambda shortage: shortage.wait_seconds, default=None)

    def begin(self, now: float) -> None:
        """
        Count a call as begun.

        :param now: seconds.
        """
        self.running += 1
        if self._calls is not None:
            self._calls.take(1.0, now)

    def end(self, tokens: int, now: float) -> None:
        """
        Count a call as ended.

        :param tokens: what it cost.
        :param now: seconds.
        """
        self.running -= 1
        if self._tokens is not None and tokens:
            self._tokens.take(tokens, now)

    def is_idle(self, now: float) -> bool:
        """
        :param now: seconds.
        :return: whether it could be forgotten without anybody getting more than is theirs.
        """
        return (
            not self.running
            and (self._calls is None or self._calls.is_full(now))
            and (self._tokens is None or self._tokens.is_full(now))
        )


def _bucket(before: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    if before is not None and before.per_minute == per_minute:
        return before
    return Bucket(per_minute, now)
