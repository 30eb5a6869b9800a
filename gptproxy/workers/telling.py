"""
Each worker's account of itself, in a file where the others find it.

May import Twisted, prometheus_client and this room's own modules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import orjson
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from gptproxy.workers.accounts import Account, merged
from gptproxy.workers.member import Member

__all__ = ["Accounts", "account_path", "forget"]

WRITE_SECONDS: Final = 1.0
STALE_SECONDS: Final = 10.0
"""An account that is older is not counted: its worker hangs, or is gone."""


class Accounts(Service):
    """
    Writes a worker's account of itself once a second, and puts those of all together for whoever asks. The files are a
    few KiB in a folder that is in memory for as long as it matters: writing one takes some 50 microseconds.

    :param member: which worker this is; None: the only process, which writes nothing.
    :param account: makes the worker's own account, as ``/status`` of a single process shows it.
    :param clock: for the rhythm.
    :param now: seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        member: Member | None,
        account: Callable[[], Account],
        clock: IReactorTime,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._member = member
        self._account = account
        self._clock = clock
        self._now = now
        self._next: IDelayedCall | None = None
        self._failed = False

    def startService(self) -> None:
        """Begin to write."""
        super().startService()
        if self._member is not None:
            self._write(self._member)

    def stopService(self) -> None:
        """End it, and take the file away: this worker takes no more calls."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._member is not None:
            account_path(self._member.directory, self._member.number).unlink(missing_ok=True)

    def status(self) -> Account:
        """:return: the account of the whole."""
        member = self._member
        if member is None:
            return self._account()
        accounts = [(member.number, self._account())]
        for number in range(1, member.workers + 1):
            if number != member.number:
                other = self._read(account_path(member.directory, number))
                if other is not None:
                    accounts.append((number, other))
        accounts.sort(key=lambda one: one[0])
        return {**merged(accounts, self._now()), "pid": member.parent}

    def _read(self, path: Path) -> Account | None:
        try:
            if self._now() - path.stat().st_mtime > STALE_SECONDS:
                return None
            account = orjson.loads(path.read_bytes())
        except (OSError, ValueError):
            return None
        return account if isinstance(account, dict) else None

    def _write(self, member: Member) -> None:
        self._next = self._clock.callLater(WRITE_SECONDS, self._write, member)
        path = account_path(member.directory, member.number)
        try:
            # Whoever reads sees the old one or the new one, never half of one.
            beside = path.with_suffix(".new")
            beside.write_bytes(orjson.dumps(self._account()))
            beside.replace(path)
        except OSError as error:
            if not self._failed:
                self._failed = True
                self._log.warn(
                    "the status of this worker cannot be written: {reason}", reason=error.strerror
                )
        except Exception:  # noqa: BLE001 - whatever an account trips over, the next second has another
            self._log.failure("the account of this worker")


def account_path(directory: Path, number: int) -> Path:
    """
    :param directory: of all workers.
    :param number: the worker's.
    :return: where its account stands.
    """
    return directory / f"status-{number}.json"


def forget(directory: Path, number: int) -> None:
    """
    A worker has ended: what it said of the present is no longer so. What it has counted stays.

    :param directory: of all workers.
    :param number: its own.
    """
    with suppress(OSError):
        account_path(directory, number).unlink(missing_ok=True)
        if any(directory.glob("*.db")):
            # Somebody counts.
            from prometheus_client.multiprocess import mark_process_dead

            mark_process_dead(number, str(directory))
