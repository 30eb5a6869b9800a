"""Who made what: kept in a file, asked in threads, remembered."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.ownership import ObjectTable, Ownership, StoredObject, UnusableTable, not_found
from gptproxy.ownership.ownership import REMEMBERED
from gptproxy.threads import TooBusy
from gptproxy.wire import Refusal

DAY = 86_400


class AtOnce:
    """In the place of threads."""

    def __init__(self) -> None:
        self.jobs = 0
        self.busy = False

    def run(self, f, *args, **kwargs) -> Deferred[object]:
        self.jobs += 1
        return fail(TooBusy("busy")) if self.busy else maybeDeferred(f, *args, **kwargs)

    def startService(self) -> None:
        self.busy = False

    def stopService(self) -> Deferred[None]:
        return succeed(None)


class OwnershipTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.threads, self.clock = AtOnce(), Clock()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.table = ObjectTable(Path(folder.name, "objects.db"))
        self.ownership = Ownership(self.table, self.threads, self.clock.seconds)
        self.ownership.startService()
        self.addCleanup(self.ownership.stopService)

    def done(self, coroutine) -> object:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_recorded_found_and_forgotten(self) -> None:
        self.done(self.ownership.record("alice", "up", [("f1", "file"), ("f2", "file")]))
        found = self.done(self.ownership.find(["f1", "f1", "f9", "", "x" * 300]))
        self.assertEqual(found, {"f1": StoredObject("f1", "file", "alice", "up", 0)})
        self.done(self.ownership.forget("f1"))
        self.assertEqual(self.done(self.ownership.find(["f1"])), {})
        self.assertEqual(self.done(self.ownership.places("alice", "file")), {"up": 1})

    def test_nobody_takes_over_anothers(self) -> None:
        """An upstream that tells an id again changes nothing, whether it is remembered or not."""
        self.done(self.ownership.record("alice", "up", [("f1", "file")]))
        other = Ownership(self.table, self.threads, self.clock.seconds)
        self.done(other.record("bob", "down", [("f1", "file")]))
        for each in (self.ownership, other):
            found = self.done(each.find(["f1"]))
            self.assertEqual((found["f1"].owner, found["f1"].upstream), ("alice", "up"))

    def test_all_or_none_of_an_answer_is_recorded(self) -> None:
        """What the file does not take leaves it as it was, and usable."""
        good = StoredObject("f1", "file", "alice", "up", 0)
        with pytest.raises(sqlite3.IntegrityError):
            self.table.record([good, StoredObject("f2", None, "alice", "up", 0)])  # type: ignore[arg-type]  # on purpose
        self.assertEqual(self.table.find(["f1"]), [])
        self.assertEqual(self.table.record([good]), [good])
        self.done(self.ownership.record("alice", "up", [("f3", "file")]))
        self.done(self.ownership.record("alice", "up", [("f4", "file")]))
        self.assertEqual(self.done(self.ownership.places("alice", "file")), {"up": 3})

    def test_what_is_remembered_is_not_asked_again(self) -> None:
        """Up to a bound."""
        self.done(self.ownership.record("alice", "up", [("f1", "file")]))
        jobs = self.threads.jobs
        self.done(self.ownership.find(["f1"]))
        self.done(self.ownership.record("alice", "up", [("f1", "file")]))
        self.assertEqual(self.threads.jobs, jobs)
        many = [(f"g{number}", "file") for number in range(REMEMBERED)]
        self.done(self.ownership.record("alice", "up", many))
        jobs = self.threads.jobs
        self.assertIn("f1", self.done(self.ownership.find(["f1"])))
        self.assertEqual(self.threads.jobs, jobs + 1)

    def test_when_it_cannot_be_known(self) -> None:
        """503 and never a guess."""
        self.threads.busy = True
        for asking in (
            self.ownership.find(["f1"]),
            self.ownership.record("alice", "up", [("f1", "file")]),
            self.ownership.forget("f1"),
        ):
            failure = self.failureResultOf(Deferred.fromCoroutine(asking), Refusal)
            self.assertEqual(
                (failure.value.status, failure.value.code), (503, "objects_unavailable")
            )

    def test_what_the_upstream_forgets(self) -> None:
        """Responses go after a month, files stay."""
        self.done(self.ownership.record("alice", "up", [("f1", "file"), ("r1", "response")]))
        self.assertEqual(self.table.forget_old(30 * DAY), 0)
        self.assertEqual(self.table.forget_old(32 * DAY), 1)
        self.assertEqual([row.id for row in self.table.find(["f1", "r1"])], ["f1"])

    def test_what_is_spoken(self) -> None:
        """Goes after two hours: the makers keep it for one."""
        self.done(self.ownership.record("alice", "up", [("f1", "file"), ("a1", "spoken")]))
        self.assertEqual(self.table.forget_old(7200), 0)
        self.assertEqual(self.table.forget_old(7201), 1)
        self.assertEqual([row.id for row in self.table.find(["f1", "a1"])], ["f1"])

    def test_models(self) -> None:
        self.done(self.ownership.record("alice", "up", [("ft:a", "model"), ("f1", "file")]))
        models = self.done(self.ownership.models("alice"))
        self.assertEqual([each.id for each in models], ["ft:a"])


def test_a_file_outlives_the_process(tmp_path: Path) -> None:
    for _ in range(2):
        table = ObjectTable(tmp_path / "o.db")
        table.record([StoredObject("f1", "file", "alice", "up", 1)])
        assert len(table.find(["f1"])) == 1
        table.close()


def test_hostile_ids_are_only_texts(tmp_path: Path) -> None:
    """SQL is never built from them."""
    table = ObjectTable(tmp_path / "o.db")
    hostile = "'; DROP TABLE object; --"
    table.record([StoredObject(hostile, "file", hostile, "up", 1)])
    assert table.find([hostile])[0].owner == hostile
    table.close()


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Found out at the start."""
    (tmp_path / "text").write_text("no database " * 1000)
    with pytest.raises(UnusableTable):
        ObjectTable(tmp_path / "text")
    with pytest.raises(UnusableTable):
        ObjectTable(tmp_path / "missing" / "o.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE object (x)")
    other.close()
    with pytest.raises(UnusableTable):
        ObjectTable(tmp_path / "other.db")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
def test_a_full_disk_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """What cannot be opened for want of room is opened by the first call that finds some; till then, calls fail."""
    full = sqlite3.OperationalError("no room")
    full.sqlite_errorcode = code

    def refuse(*_: object, **__: object) -> sqlite3.Connection:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", refuse)
        table = ObjectTable(tmp_path / "o.db")
        with pytest.raises(sqlite3.OperationalError):
            table.find(["f1"])
        table.close()
    assert table.record([StoredObject("f1", "file", "alice", "up", 1)])
    table.close()


def test_not_found_says_no_more() -> None:
    assert not_found("f1").message == "No such object: f1"
