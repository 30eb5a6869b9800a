"""
A call is admitted, or refused with 429.

Pure: imports the config and wire rooms and this one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from gptproxy.config import QuotaSettings
from gptproxy.limits.account import Account, Shortage
from gptproxy.wire import Refusal

__all__ = ["Admission", "Limits"]

MAX_CALLERS: Final = 100_000
"""Accounts kept at most, some 200 bytes each: more callers than any GitLab that one gateway serves has."""

_PRUNED_AT_ONCE: Final = 16
"""How many of the longest unused accounts are looked at when one is added: the work of one call stays bounded."""


class Admission:
    """
    A call that may run. It is given back exactly once.

    :param accounts: whose call it is.
    """

    __slots__ = ("_accounts",)

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._accounts = accounts

    def end(self, tokens: int, now: float) -> None:
        """
        The call has ended, however it did. A second time does nothing.

        :param tokens: what it cost, as its answer said or as it was estimated; 0 where nothing was answered.
        :param now: seconds.
        """
        accounts, self._accounts = self._accounts, ()
        for account in accounts:
            account.end(tokens, now)


class Limits:
    """
    Who has how much under way, and left.

    :param everybody: the bounds of all calls together; None: none.
    :param caller: the bounds of each caller; None: none.
    :param groups: those of groups by name.
    :param now: seconds.
    """

    def __init__(
        self,
        everybody: QuotaSettings | None,
        caller: QuotaSettings | None,
        groups: Iterable[tuple[str, QuotaSettings]],
        now: float,
    ) -> None:
        self._everybody: Account | None = None
        self._callers: OrderedDict[str, Account] = OrderedDict()
        self._groups: dict[str, Account] = {}
        self.bound_by(everybody, caller, groups, now)

    def bound_by(
        self,
        everybody: QuotaSettings | None,
        caller: QuotaSettings | None,
        groups: Iterable[tuple[str, QuotaSettings]],
        now: float,
    ) -> None:
        """
        Take new bounds: what is under way stays counted, and what is left where the bound is as it was.

        :param everybody: see :class:`Limits`.
        :param caller: likewise; the callers' accounts take it when they call again.
        :param groups: likewise.
        :param now: seconds.
        """
        self._everybody = None if everybody is None else _account(self._everybody, everybody, now)
        self._caller_quota = caller
        if caller is None:
            self._callers.clear()
        before, self._groups = self._groups, {}
        for name, quota in groups:
            self._groups[name] = _account(before.get(name), quota, now)

    @property
    def unlimited(self) -> bool:
        """Nobody is counted: nobody needs to be asked for."""
        return self._everybody is None and self._caller_quota is None and not self._groups

    def admit(self, caller: str, groups: Iterable[str], now: float) -> Admission:
        """
        :param caller: who calls, by a name that is theirs alone.
        :param groups: the counted groups that they are in; a name that is not counted is passed over.
        :param now: seconds.
        :return: what the call is ended with.
        :raise Refusal: 429; nothing is counted then.
        """
        accounts = [
            account
            for account in (
                self._everybody,
                self._caller_account(caller, now),
                *(self._groups.get(name) for name in groups),
            )
            if account is not None
        ]
        shortages = [short for account in accounts if (short := account.shortage(now)) is not None]
        if shortages:
            raise _too_many(max(shortages, key=lambda short: short.wait_seconds))
        for account in accounts:
            account.begin(now)
        return Admission(accounts)

    def _caller_account(self, caller: str, now: float) -> Account | None:
        if self._caller_quota is None:
            return None
        account = self._callers.get(caller)
        if account is None:
            self._prune(now)
            account = self._callers[caller] = Account(self._caller_quota, now)
        else:
            self._callers.move_to_end(caller)
            if account.quota is not self._caller_quota:
                account.bound_by(self._caller_quota, now)
        return account

    def _prune(self, now: float) -> None:
        """Make room: of the longest unused those that are idle; at the bound the oldest of those without a call."""
        oldest = [name for name, _ in zip(self._callers, range(_PRUNED_AT_ONCE), strict=False)]
        full = len(self._callers) >= MAX_CALLERS
        for name in oldest:
            account = self._callers[name]
            if account.is_idle(now) or (full and not account.running):
                del self._callers[name]


def _account(before: Account | None, quota: QuotaSettings, now: float) -> Account:
    if before is None:
        return Account(quota, now)
    before.bound_by(quota, now)
    return before


def _too_many(shortage: Shortage) -> Refusal:
    wait = shortage.wait_seconds
    kind = b"tokens" if shortage.of == "tokens per minute" else b"requests"
    return Refusal(
        429,
        f"Rate limit reached for {shortage.of} (limit {shortage.limit}): try again in {wait:.1f} seconds.",
        error_type=kind.decode(),
        code="rate_limit_exceeded",
        headers=(
            (b"retry-after", b"%d" % -(-wait // 1)),
            (b"retry-after-ms", b"%d" % -(-wait * 1000 // 1)),
            (b"x-ratelimit-limit-" + kind, b"%d" % shortage.limit),
            (b"x-ratelimit-remaining-" + kind, b"%d" % shortage.remaining),
            (b"x-ratelimit-reset-" + kind, f"{wait:.3f}s".encode()),
        ),
    )
