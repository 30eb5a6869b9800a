"""Feeding writes document by document, goes on where it stopped, and pays for nothing twice."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred, fail, succeed

from gptproxy.knowledge.errors import KnowledgeError
from gptproxy.knowledge.feeding import Feeding, FeedReport
from gptproxy.knowledge.local_source import LocalSource
from gptproxy.knowledge.putting import Document
from gptproxy.knowledge.store import KnowledgeStore
from tests.knowledge.content import texts
from tests.knowledge.feeding_rig import FeedingCase
from tests.knowledge.standins import SameThread, vectors_of

_LONG = "This is a sentence of some words. " * 25


class FeedTests(FeedingCase):
    """Whole runs over real files and a real database."""

    def test_documents_become_passages(self) -> None:
        """Report and progress say what was done; passages are embedded with their titles."""
        self.write("a.md", "# A\nfirst")
        self.write("b.txt", "second")
        self.assertEqual(self.feed(), FeedReport(written=2, passages=2))
        self.assertEqual(
            texts(self.database), [("docs/a.md", "# A\n\nfirst"), ("docs/b.txt", "second")]
        )
        self.assertEqual(self.embedding.calls, [["A\n\n# A\n\nfirst", "second"]])
        self.assertEqual((self.progress[-1].done, self.progress[-1].total), (2, 2))

    def test_unchanged_documents_cost_nothing(self) -> None:
        """No call, no write, no new revision."""
        self.write("a.md", "# A\nfirst")
        self.feed()
        before = self.revision()
        self.assertEqual(self.sync(), FeedReport(unchanged=1))
        self.assertEqual((len(self.embedding.calls), self.revision()), (1, before))

    def test_only_what_changed_of_a_document_is_embedded(self) -> None:
        """A passage that stays keeps its id and vector; one that moves to another file keeps its vector."""
        self.write("a.md", f"# One\n{_LONG}\n# Two\n{_LONG}x\n# Three\n{_LONG}y")
        self.feed()
        with closing(sqlite3.connect(self.database)) as connection:
            ids = {
                row[0]: row[1]
                for row in connection.execute("SELECT text, passage_id FROM passages")
            }
        self.write("a.md", f"# Two\n{_LONG}x\n# One\n{_LONG}\n# New\n{_LONG}z")
        self.write("b.md", f"# Three\n{_LONG}y")
        self.feed()
        self.assertEqual(len(self.embedding.calls), 2)
        self.assertEqual([text[:8] for text in self.embedding.calls[1]], ["New\n\n# N"])
        with closing(sqlite3.connect(self.database)) as connection:
            later = {
                row[0]: row[1]
                for row in connection.execute("SELECT text, passage_id FROM passages")
            }
        same = [text for text in later if ids.get(text) == later[text]]
        self.assertEqual(sorted(text[:5] for text in same), ["# One", "# Two"])
        self.assert_fresh()

    def test_documents_that_are_gone_or_unfit_go(self) -> None:
        """What cannot be read now stays, and is told."""
        for name in ("gone.md", "binary.md", "unreadable.md"):
            self.write(name, "text")
        self.feed()
        (self.docs / "gone.md").unlink()
        self.write("binary.md", b"\0")
        unreadable = self.docs / "unreadable.md"
        unreadable.unlink()
        unreadable.symlink_to("/proc/self/mem")
        report = self.sync()
        self.assertEqual(report.removed, 2)  # the link's target is another document, and outside
        self.assertEqual(
            [one.reason for one in report.skipped],
            ["binary: it has NUL bytes", "a link that leads out of the folder"],
        )
        self.assertEqual(texts(self.database), [("docs/binary.md", None)])
        # It is known to be unfit, and told again without being cut.
        self.assertEqual(len(self.sync().skipped), 2)

    def test_a_source_that_is_away_keeps_its_documents(self) -> None:
        """A disk that is not mounted is no folder without documents."""
        self.write("a.md", "text")
        self.feed()
        self.docs.rename(self.root / "away")
        report = self.sync()
        self.assertEqual([one.reason for one in report.unread], ["No such file or directory"])
        self.assertEqual(texts(self.database), [("docs/a.md", "text")])
        nothing = self.successResultOf(
            self.feeding().feed("d", [LocalSource(self.docs, SameThread())])
        )
        self.assertEqual(len(nothing.unread), 1)

    def test_a_linked_document_is_written_once(self) -> None:
        """However many names lead to it."""
        self.write("a.md", "text")
        (self.docs / "b.md").symlink_to("a.md")
        self.assertEqual(self.feed().written, 1)
        self.assertEqual(texts(self.database), [("docs/a.md", "text")])

    def test_a_link_far_behind_its_document(self) -> None:
        """Files are looked at some at a time; what was seen among the first ones is not read again."""
        for number in range(450):
            self.write(f"{number:03}.txt", f"text {number}")
        (self.docs / "last.txt").symlink_to("000.txt")
        self.assertEqual(self.feed(), FeedReport(written=450, passages=450))
        self.write("000.txt", "other text")
        self.assertEqual(self.sync(), FeedReport(written=1, unchanged=449, passages=1))

    def test_calls_stay_within_their_bounds(self) -> None:
        """At most 100 inputs a call, small documents together, a large one in several calls at once."""
        for number in range(250):
            self.write(f"{number:03}.txt", f"text {number}")
        self.write("large.txt", "\n\n".join(f"{number} {_LONG}" for number in range(300)))
        self.feed()
        self.assertLessEqual(max(map(len, self.embedding.calls)), 100)
        self.assertLessEqual(len(self.embedding.calls), 8)
        self.assertEqual(sum(map(len, self.embedding.calls)), 550)
        self.assert_fresh()

    def test_batches_are_committed_together(self) -> None:
        """Eight at a time; when the source has been read, each as its call is answered."""
        put = KnowledgeStore.put
        committed: list[int] = []

        def counting(
            store: KnowledgeStore, source_id: int, documents: Sequence[Document], *more: object
        ) -> object:
            committed.append(len(documents))
            return put(store, source_id, documents, *more)  # type: ignore[arg-type]  # as they come

        self.patch(KnowledgeStore, "put", counting)
        for number in range(900):
            self.write(f"{number:03}.txt", f"text {number}")
        self.feed()
        self.assertEqual(committed, [800, 100])
        committed.clear()
        for number in range(300):
            self.write(f"{number:03}.txt", f"other text {number}")
        waiting: list[tuple[Sequence[str], Deferred[NDArray[np.float32]]]] = []

        def embed(inputs: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            waiting.append((inputs, Deferred()))
            return waiting[-1][1]

        feeding = self.start(embed, at_once=1)
        inputs, first = waiting[0]
        first.callback(vectors_of(inputs))
        self.assertEqual(committed, [100])  # the source has been read: nothing waits for more
        while not feeding.called:
            inputs, one = waiting[len(committed)]
            one.callback(vectors_of(inputs))
        self.assertEqual(committed, [100, 100, 100])
        self.assert_fresh()

    def test_so_many_calls_at_once(self) -> None:
        """And no more, whatever is fed."""
        waiting: list[Deferred[None]] = []

        def embed(inputs: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            gate: Deferred[None] = Deferred()
            waiting.append(gate)
            return gate.addCallback(lambda _: vectors_of(inputs))

        for number in range(500):
            self.write(f"{number:03}.txt", f"text {number}")
        feeding = self.start(embed, at_once=3)
        self.assertEqual(len(waiting), 3)
        while waiting:
            self.assertLessEqual(len(waiting), 3)
            waiting.pop(0).callback(None)
        self.assertEqual(self.successResultOf(feeding).written, 500)

    def test_another_model_is_built_beside_and_takes_over(self) -> None:
        """A kill while it is built leaves the old one active; the next run goes on where it was."""
        for number in range(900):
            self.write(f"{number:03}.txt", f"text {number}")
        self.feed()
        calls: list[int] = []

        def embed(inputs: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            calls.append(len(inputs))
            return succeed(vectors_of(inputs)) if len(calls) < 6 else fail(KnowledgeError("away"))

        self.failureResultOf(self.start(embed, model="n"), KnowledgeError)
        self.assertEqual(self.sets(), [("m", "active", 900), ("n", "building", 400)])
        report = self.sync(model="n")
        self.assertEqual((report.unchanged, report.written), (900, 0))
        self.assertEqual(sum(map(len, self.embedding.calls)), 900 + 500)
        self.assertEqual(self.sets(), [("n", "active", 900)])
        # A third one is begun, and the second is wanted again.
        self.failureResultOf(self.start(embed, model="o"), KnowledgeError)
        self.assertEqual(self.sync(model="n"), FeedReport(unchanged=900))
        self.assertEqual(self.sets(), [("n", "active", 900)])

    def sets(self) -> list[tuple[object, ...]]:
        """Models, states, vectors."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(
                "SELECT model, state, (SELECT count(*) FROM vectors WHERE set_id = embedding_sets.set_id)"
                " FROM embedding_sets ORDER BY set_id"
            ).fetchall()

    def test_without_embeddings(self) -> None:
        """Words alone; a later run with embeddings makes up for it, one without keeps what is there."""
        self.write("a.md", "one")
        words = Feeding(self.database, None, SameThread(), self.progress.append, self.clock)
        self.successResultOf(words.feed("c", [LocalSource(self.docs, SameThread())]))
        self.assertEqual(self.sets(), [])
        self.feed()
        self.assertEqual(self.sets(), [("m", "active", 1)])
        self.write("b.md", "two")
        self.successResultOf(words.sync(lambda spec: LocalSource(Path(spec), SameThread()), "c"))
        self.assertEqual(self.sets(), [("m", "active", 1)])
        self.sync()
        self.assert_fresh()

    def test_hostile_files(self) -> None:
        """Each is handled and reported, and nothing else is lost by it."""
        self.write("sql.md", "'); DROP TABLE passages; --\n\n\" OR 1=1")
        self.write("nul.md", "a\0b")
        self.write("latin.txt", "Grüße".encode("latin-1"))
        self.write("binary.txt", bytes(range(1, 256)))
        self.write("utf16.txt", "Grüße".encode("utf-16"))
        self.write("empty.md", "")
        self.write("lines.py", "x = 1\n" * 5000 + "def f(:\n")
        (self.docs / "huge.md").touch()
        os.truncate(self.docs / "huge.md", 100 * 1024 * 1024)
        (self.docs / "out.md").symlink_to("/etc/hostname")
        (self.docs / "loop.md").symlink_to("loop.md")
        os.mkfifo(self.docs / "pipe.md")
        (self.docs / os.fsdecode(b"name\xff.md")).write_text("named")
        report = self.feed()
        told = {Path(one.path).name: one.reason for one in report.skipped}
        self.assertEqual(
            {name: reason.split(":")[0] for name, reason in told.items()},
            {
                "nul.md": "binary",
                "latin.txt": "not UTF-8 at byte 2",
                "binary.txt": "not UTF-8 at byte 127",
                "huge.md": "larger than 10 MiB",
                "out.md": "a link that leads out of the folder",
                "loop.md": told["loop.md"].split(":")[0],
                "pipe.md": "not a regular file",
            },
        )
        found = dict(texts(self.database))
        self.assertEqual(found["docs/latin.txt"], found["docs/utf16.txt"])
        self.assertEqual(found["docs/name\\xff.md"], "named")
        self.assertIn("DROP TABLE", str(found["docs/sql.md"]))
        self.assertEqual(self.sync().written, 0)
