"""Any sequence of runs, changes and kills leaves what a fresh build would give."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from gptproxy.knowledge.embedding_runs import Embedding as HowToEmbed
from gptproxy.knowledge.feeding import Feeding, FeedReport
from gptproxy.knowledge.local_source import LocalSource
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.knowledge.vector_sets import EmbeddingModel
from tests.knowledge.content import content
from tests.knowledge.killing import kill_loop
from tests.knowledge.standins import Embedding, SameThread, vectors_of

_LONG = "This is a sentence of some words. " * 25


class _Killed(BaseException):
    """Stands for a kill: nothing happens after it but what the operating system does."""


_texts = st.sampled_from(
    [
        "",
        "one",
        "# A\ntwo",
        f"# A\n{_LONG}\n# B\n{_LONG}2",
        f"# B\n{_LONG}2\n# A\n{_LONG}",
        "bin\0ary",
        _LONG * 4,
    ]
)
_names = st.sampled_from(["a.md", "b.md", "c.txt", "d.py"])


class _Sequences(RuleBasedStateMachine):
    """Any sequence of changes, runs and kills leaves what a fresh build gives, once a run has ended well."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.folders = [self.root / name for name in ("x", "y")]
        for folder in self.folders:
            folder.mkdir()
        self.database = self.root / "k.db"
        self.added: list[Path] = []
        self.model = "m"
        self.settled = True

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def work(
        self, database: Path, begin: Callable[[Feeding], Deferred[FeedReport]], kill_at: int
    ) -> None:
        """Run a command, which is killed at an embedding call or a write, if it comes that far."""
        left = kill_at
        threads = SameThread()

        def step() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise _Killed

        def embed(inputs: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            step()
            return succeed(vectors_of([f"{self.model} {one}" for one in inputs]))

        outcome: list[object] = []
        how = HowToEmbed(embed, EmbeddingModel(self.model), 1)
        try:
            begin(Feeding(database, how, threads, lambda _: step(), Clock())).addBoth(
                outcome.append
            )
        except _Killed:
            outcome.append(None)
        killed = outcome and not isinstance(outcome[0], FeedReport)
        if killed:
            assert kill_at > 0, outcome
        self.settled = self.settled and not killed

    def source(self, folder: Path) -> LocalSource:
        return LocalSource(folder, SameThread())

    @rule(folder=st.integers(0, 1), name=_names, text=_texts)
    def write(self, folder: int, name: str, text: str) -> None:
        (self.folders[folder] / name).write_text(text)

    @rule(folder=st.integers(0, 1), name=_names)
    def delete(self, folder: int, name: str) -> None:
        (self.folders[folder] / name).unlink(missing_ok=True)

    @rule(model=st.sampled_from(["m", "n"]))
    def choose_model(self, model: str) -> None:
        self.model = model

    @rule(folder=st.integers(0, 1), kill_at=st.integers(0, 4))
    def add(self, folder: int, kill_at: int) -> None:
        path = self.folders[folder]
        if path not in self.added:
            self.added.append(path)
        self.work(self.database, lambda one: one.feed("c", [self.source(path)]), kill_at)

    @rule(folder=st.integers(0, 1))
    def remove(self, folder: int) -> None:
        path = self.folders[folder]
        if path in self.added and self.database.exists():
            self.added.remove(path)
            with closing(KnowledgeStore(self.database)) as store:
                store.mark_removed(
                    row.source_id for row in store.sources("c") if row.spec == str(path)
                )

    @rule(kill_at=st.integers(0, 6))
    def sync(self, kill_at: int) -> None:
        if self.database.exists():
            self.work(
                self.database, lambda one: one.sync(lambda spec: self.source(Path(spec))), kill_at
            )

    @rule()
    def settle(self) -> None:
        """A run that nobody kills, and a fresh build beside it."""
        if not self.added:
            return
        sources = sorted(self.added)
        self.work(
            self.database, lambda one: one.feed("c", [self.source(path) for path in sources]), 0
        )
        fresh = self.root / "fresh.db"
        fresh.unlink(missing_ok=True)
        self.work(fresh, lambda one: one.feed("c", [self.source(path) for path in sources]), 0)
        assert content(self.database) == content(fresh)

    @invariant()
    def whole(self) -> None:
        """No passage is without its document, no active vector without its passage, at any moment."""
        if self.database.exists():
            with closing(sqlite3.connect(self.database)) as connection:
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


SequencesTests = _Sequences.TestCase
SequencesTests.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def test_killed_feedings_come_to_the_same_end(tmp_path: Path) -> None:
    """``kill -9`` at random moments of real processes; ``make soak`` does it more often."""
    kill_loop(tmp_path, int(os.environ.get("GPTPROXY_KILLS", "5")), 120)


@pytest.mark.parametrize("count", [3000])
def test_many_tiny_files(tmp_path: Path, count: int) -> None:
    """Each is a document, in few transactions."""
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.txt").write_text(str(number))
    embedding = Embedding()
    feeding = Feeding(
        tmp_path / "k.db",
        HowToEmbed(embedding, EmbeddingModel("m")),
        SameThread(),
        lambda _: None,
        Clock(),
    )
    outcome: list[object] = []
    feeding.feed("c", [LocalSource(folder, SameThread())]).addBoth(outcome.append)
    assert outcome == [FeedReport(written=count, passages=count)]
    assert len(embedding.calls) == count // 100
