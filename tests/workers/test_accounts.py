"""Accounts put together."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.workers import Account, Accounts, Member, merged
from gptproxy.workers.telling import account_path, forget
from tests.top.rig import folder_of


def account(pid: int, started: float, **more: object) -> dict[str, object]:
    return {
        "version": "1.2",
        "pid": pid,
        "started": started,
        "calls": {"ended": pid, "open": 1},
        "process": {"memory_bytes": 10, "lag_seconds": pid / 1000, "shedding": pid == 8},
        "gitlab": {"url": "https://git.corp.com", "answers": pid != 8},
        "knowledge": {"database": "k.db", "topics": 2},
        "upstreams": [{"name": "a", "kind": "azure", "state": "well", "calls": 5, "failed": 1}],
        "conditions": [{"name": "gitlab", "state": "good", "detail": "here"}],
        **more,
    }


def test_the_whole() -> None:
    """What is counted is added, of the rest the worst stands, and each worker has a row."""
    bad = account(
        8,
        50.0,
        upstreams=[
            {"name": "a", "kind": "azure", "state": "down", "calls": 1, "failed": 1},
            {"name": "b", "kind": "openai", "calls": 2},
        ],
        conditions=[
            {"name": "gitlab", "state": "warning", "detail": "away"},
            {"name": "x", "state": 7},
        ],
        gitlab={"url": "https://git.corp.com", "answers": False, "away_seconds": 9.0},
    )
    assert merged([(1, account(7, 100.0)), (2, bad)], 110.0) == {
        "version": "1.2",
        "pid": 7,
        "started": 50.0,
        "calls": {"ended": 15, "open": 2},
        "process": {"memory_bytes": 20, "lag_seconds": 0.008, "shedding": True},
        "gitlab": {"url": "https://git.corp.com", "answers": False, "away_seconds": 9.0},
        "knowledge": {"database": "k.db", "topics": 2},
        "upstreams": [
            {"name": "a", "kind": "azure", "state": "well/down", "calls": 6, "failed": 2},
            {"name": "b", "kind": "openai", "calls": 2},
        ],
        "conditions": [
            {"name": "gitlab", "state": "warning", "detail": "away"},
            {"name": "x", "state": 7},
        ],
        "workers": [
            {"worker": 1, "pid": 7, "uptime_seconds": 10.0, "calls": 7, "lag_seconds": 0.007},
            {"worker": 2, "pid": 8, "uptime_seconds": 60.0, "calls": 8, "lag_seconds": 0.008},
        ],
    }


def test_what_is_missing() -> None:
    """An account may say nothing."""
    empty = {"worker": 1, "pid": None, "uptime_seconds": None, "calls": None, "lag_seconds": None}
    assert merged([(1, {})], 0.0) == {"workers": [empty]}
    odd: Account = {"upstreams": 7, "conditions": [None], "calls": {"ended": None}, "workers": []}
    assert merged([(1, odd)], 0.0) == {
        "upstreams": [],
        "conditions": [],
        "calls": {"ended": None},
        "workers": [empty],
    }


class AccountsTests(SynchronousTestCase):
    """In files of a folder."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.clock = Clock()
        self.now = self.folder.stat().st_mtime

    def accounts(self, number: int, pid: int) -> Accounts:
        member = Member(number, 3, 99, self.folder)
        return Accounts(member, lambda: account(pid, self.now), self.clock, lambda: self.now)

    def pids(self, accounts: Accounts) -> list[object]:
        rows = accounts.status()["workers"]
        assert isinstance(rows, list)
        return [(row["worker"], row["pid"]) for row in rows]

    def test_a_single_process(self) -> None:
        """Writes nothing, and its account is the whole's."""
        alone = Accounts(None, lambda: {"pid": 5}, self.clock)
        alone.startService()
        self.assertEqual(alone.status(), {"pid": 5})
        alone.stopService()
        self.assertEqual((list(self.folder.iterdir()), self.clock.getDelayedCalls()), ([], []))

    def test_all_of_them(self) -> None:
        """Whoever is asked knows the others; the pid is the parent's. One that has stopped is none of them."""
        first, second = self.accounts(1, 7), self.accounts(2, 8)
        second.startService()
        self.assertEqual(self.pids(first), [(1, 7), (2, 8)])
        first.startService()
        self.assertEqual(self.pids(second), [(1, 7), (2, 8)])
        self.assertEqual(second.status()["pid"], 99)
        first.stopService()
        self.assertEqual(self.pids(second), [(2, 8)])
        second.stopService()
        self.assertEqual((list(self.folder.iterdir()), self.clock.getDelayedCalls()), ([], []))

    def test_every_second(self) -> None:
        """What is read is a second old at most."""
        told = [7]
        first = Accounts(
            Member(1, 2, 99, self.folder), lambda: account(told[0], self.now), self.clock
        )
        first.startService()
        told[0] = 6
        self.clock.advance(1)
        self.assertEqual(self.pids(self.accounts(2, 8)), [(1, 6), (2, 8)])
        first.stopService()

    def test_what_cannot_be_used(self) -> None:
        """An old one, half of one and something else are passed over."""
        second = self.accounts(2, 8)
        path = account_path(self.folder, 1)
        for content in (b"{", b"[]", b"\xff"):
            path.write_bytes(content)
            self.assertEqual(self.pids(second), [(2, 8)])
        path.write_bytes(orjson.dumps(account(7, 0.0)))
        self.assertEqual(self.pids(second), [(1, 7), (2, 8)])
        os.utime(path, (self.now - 60, self.now - 60))
        self.assertEqual(self.pids(second), [(2, 8)])

    def test_a_folder_that_is_gone(self) -> None:
        """Is said once; the worker goes on."""
        lost = Accounts(Member(1, 2, 9, Path("/nowhere/at/all")), dict, self.clock)
        with capturedLogs() as events:
            lost.startService()
            self.clock.advance(1)
        self.assertEqual([event["reason"] for event in events], ["No such file or directory"])
        lost.stopService()

    def test_an_account_that_fails(self) -> None:
        """Is logged, and asked for again."""
        answers = [{"a": 1}]
        first = Accounts(Member(1, 2, 9, self.folder), answers.pop, self.clock)
        first.startService()
        self.clock.advance(1)
        (failure,) = self.flushLoggedErrors(IndexError)
        self.assertIsNotNone(failure)
        answers.append({"a": 2})
        self.clock.advance(1)
        self.assertEqual(account_path(self.folder, 1).read_bytes(), b'{"a":2}')
        first.stopService()

    def test_one_that_was_killed(self) -> None:
        """Its parent takes away what it said of the present, and leaves what it has counted."""
        account_path(self.folder, 1).write_bytes(b"{}")
        for name in ("gauge_livesum_1.db", "gauge_livesum_2.db", "counter_1.db"):
            (self.folder / name).write_bytes(b"")
        forget(self.folder, 1)
        forget(self.folder, 1)
        left = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(left, ["counter_1.db", "gauge_livesum_2.db"])
