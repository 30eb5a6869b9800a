"""
A token bucket: so many a minute, a minute's worth at once at most.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

__all__ = ["Bucket"]


class Bucket:
    """
    What is taken comes back evenly over time. It may be overdrawn, because what a call costs in tokens is known only
    when it has ended: who has overdrawn waits until that is made good.

    :param per_minute: what comes back in a minute, and what it holds when full; above 0.
    :param now: seconds; it is full then.
    """

    __slots__ = ("_balance", "_per_second", "_updated", "per_minute")

    def __init__(self, per_minute: int, now: float) -> None:
        self.per_minute = per_minute
        self._per_second = per_minute / 60.0
        self._balance = float(per_minute)
        self._updated = now

    def balance(self, now: float) -> float:
        """
        :param now: seconds.
        :return: what is in it; below 0 where it is overdrawn.
        """
        if now > self._updated:
            grown = self._balance + (now - self._updated) * self._per_second
            self._balance = min(grown, float(self.per_minute))
            self._updated = now
        return self._balance

    def wait_for(self, amount: float, now: float) -> float:
        """
        :param amount: what is wanted, at most ``per_minute``.
        :param now: seconds.
        :return: seconds until it is there; 0 where it is.
        """
        return max(0.0, (amount - self.balance(now)) / self._per_second)

    def take(self, amount: float, now: float) -> None:
        """
        :param amount: what is taken, whether it is there or not.
        :param now: seconds.
        """
        self._balance = self.balance(now) - amount

    def is_full(self, now: float) -> bool:
        """
        :param now: seconds.
        :return: whether nothing that was taken is missing: forgetting it then forgets nothing.
        """
        return self.balance(now) >= self.per_minute
