"""
How many attempts more than calls the whole process may make, so that an outage is not amplified.

Pure: imports the config room and this one; the time is passed in.
"""

from __future__ import annotations

from gptproxy.config import RetrySettings
from gptproxy.upstream.window import Window

__all__ = ["WINDOW_SECONDS", "RetryBudget"]

WINDOW_SECONDS = 10.0
"""How far back calls and retries are counted: long enough for a share to mean something, short enough to follow."""


class RetryBudget:
    """
    Retries at the same upstream; going to another one is outside it.

    :param retry: ``retry_share`` of the calls, and ``retry_least_per_second`` whatever the calls.
    """

    __slots__ = ("_calls", "_least", "_retries", "_share")

    def __init__(self, retry: RetrySettings) -> None:
        self._share = retry.retry_share
        self._least = retry.retry_least_per_second * WINDOW_SECONDS
        self._calls = Window(WINDOW_SECONDS)
        self._retries = Window(WINDOW_SECONDS)

    def count_call(self, now: float) -> None:
        """
        A caller's call has come.

        :param now: seconds.
        """
        self._calls.count(now)

    def allows(self, now: float) -> bool:
        """
        :param now: seconds.
        :return: one more retry is within the budget.
        """
        retries = self._retries.sum(now) + 1
        return retries <= max(self._least, self._share * self._calls.sum(now))

    def count_retry(self, now: float) -> None:
        """
        A retry is made.

        :param now: seconds.
        """
        self._retries.count(now)
