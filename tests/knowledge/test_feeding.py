"""Feeding writes document by document, goes on where it stopped, and pays for nothing twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.knowledge.errors import KnowledgeError, MalformedEmbeddings, OtherModel
from gptproxy.knowledge.feeding import FeedReport, Progress, feed
from gptproxy.knowledge.retrieval import Embed
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.knowledge.tokens import token_bound
from gptproxy.threads import TooBusy
from tests.knowledge.standins import Embedding, SameThread, folder_of, vectors_of

_MODEL = "text-embedding-ada-002"


class _Interrupted(Exception):
    """Stands for a kill."""


class FeedTests(SynchronousTestCase):
    """A whole run over real files and a real database."""

    def setUp(self) -> None:
        self.root = folder_of(self)
        self.docs = self.root / "docs"
        self.docs.mkdir(parents=True)
        self.database = self.root / "knowledge.db"
        self.embedding = Embedding()
        self.progress: list[Progress] = []

    def write(self, name: str, text: str | bytes) -> None:
        """Put a file into the folder that is fed."""
        data = text if isinstance(text, bytes) else text.encode()
        (self.docs / name).write_bytes(data)

    def start(
        self, embed: Embed | None = None, model: str = _MODEL, threads: object = None
    ) -> Deferred[FeedReport]:
        """Begin to feed the folder."""
        return feed(
            self.database,
            "fibjs",
            [self.docs],
            embed=embed or self.embedding,
            model=model,
            threads=threads or SameThread(),  # type: ignore[arg-type]  # stand-ins
            progress=self.progress.append,
        )

    def feed(self) -> FeedReport:
        """Feed the folder to the end."""
        report: FeedReport = self.successResultOf(self.start())
        return report

    def content(self) -> list[tuple[object, ...]]:
        """What the database says, without the ids."""
        with closing(sqlite3.connect(self.database)) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(connection.execute("PRAGMA foreign_key_check").fetchall(), [])
            return connection.execute(
                "SELECT source, content_hash, ordinal, heading, text, embedding"
                " FROM documents LEFT JOIN passages USING (document_id) ORDER BY source, ordinal"
            ).fetchall()

    def texts(self) -> list[tuple[object, ...]]:
        """Sources and texts in the database."""
        return [(row[0], row[4]) for row in self.content()]

    def test_documents_become_passages(self) -> None:
        """Report and progress say what was done; passages are embedded with their titles."""
        self.write("a.md", "# A\nfirst")
        self.write("b.txt", "second")
        self.write("broken.md", b"\xff")
        report = self.feed()
        self.assertEqual((report.written, report.unchanged, report.passages), (2, 0, 2))
        self.assertEqual([one.reason for one in report.skipped], ["not UTF-8 at byte 0"])
        self.assertEqual(self.texts(), [("docs/a.md", "# A\n\nfirst"), ("docs/b.txt", "second")])
        self.assertEqual(self.embedding.calls, [["A\n\n# A\n\nfirst", "second"]])
        last = str((self.docs / "broken.md").resolve())
        self.assertEqual(self.progress, [Progress(3, 3, 2, last)])

    def test_unchanged_documents_are_not_embedded_again(self) -> None:
        """Only what changed is paid for, and its old passages go; what vanished stays."""
        self.write("a.md", "first")
        self.write("b.md", "second")
        self.feed()
        self.write("a.md", "changed")
        (self.docs / "b.md").unlink()
        self.write("c.md", "third")
        report = self.feed()
        self.assertEqual((report.written, report.unchanged), (2, 0))
        self.assertEqual(self.embedding.calls[1:], [["changed", "third"]])
        expected = [("docs/a.md", "changed"), ("docs/b.md", "second"), ("docs/c.md", "third")]
        self.assertEqual(self.texts(), expected)
        report = self.feed()
        self.assertEqual((report.written, report.unchanged, len(self.embedding.calls)), (0, 2, 2))

    def test_nothing_to_feed(self) -> None:
        """An empty folder is no error."""
        self.assertEqual(self.feed(), FeedReport(0, 0, 0, ()))
        self.assertEqual(self.progress, [Progress(0, 0, 0, "")])

    def test_an_empty_document(self) -> None:
        """It asks for no vectors; where there were passages of it there are none."""
        self.write("a.md", "first")
        self.feed()
        self.write("a.md", "")
        self.feed()
        self.assertEqual(self.texts(), [("docs/a.md", None)])
        self.assertEqual(len(self.embedding.calls), 1)

    def test_calls_stay_within_their_bounds(self) -> None:
        """At most 100 inputs and 100,000 tokens a call, small documents together, in order."""
        for number in range(260):
            self.write(f"{number:03}.md", f"small {number}")
        large = [f"## Section {number}\n" + f"word{number} " * 160 for number in range(250)]
        self.write("large.md", "\n\n".join(large))
        report = self.feed()
        self.assertEqual(report.written, 261)
        for call in self.embedding.calls:
            self.assertLessEqual(len(call), 100)
            self.assertLessEqual(sum(map(token_bound, call)), 100_000)
        self.assertEqual([len(call) for call in self.embedding.calls][:3], [100, 100, 60])
        self.assertEqual(sum(map(len, self.embedding.calls)), report.passages)
        for row in self.content():
            title = f"{row[3]}\n\n" if row[3] else ""
            (expected,) = vectors_of([f"{title}{row[4]}"])
            expected /= np.linalg.norm(expected)
            stored = np.frombuffer(row[5], "<f4")  # type: ignore[call-overload]  # a BLOB
            self.assertTrue(np.allclose(stored, expected, atol=1e-6))
        done = [one.done_documents for one in self.progress]
        self.assertEqual((done[:3], done[-1]), ([100, 200, 260], 261))

    def test_progress_while_nothing_has_changed(self) -> None:
        """A run over many unchanged files is not silent."""
        for number in range(450):
            self.write(f"{number:03}.md", "x")
        self.feed()
        self.progress.clear()
        self.assertEqual(self.feed().unchanged, 450)
        self.assertEqual([one.done_documents for one in self.progress], [200, 400, 450])

    def test_a_kill_at_any_call_leaves_whole_documents(self) -> None:
        """What a run wrote stays, the next goes on, and the end is what one clean run gives."""
        for number in range(30):
            self.write(f"{number:02}.md", f"# T{number}\n" + "word words " * (number * 90))
        self.feed()
        clean = self.content()
        calls = len(self.embedding.calls)
        self.assertGreater(calls, 3)
        self.database.unlink()
        whole = {row[0]: sum(one[0] == row[0] for one in clean) for row in clean}
        for allowed in range(calls):
            left = [allowed]

            def embed(
                texts: Sequence[str], left: list[int] = left
            ) -> Deferred[NDArray[np.float32]]:
                left[0] -= 1
                return fail(_Interrupted()) if left[0] < 0 else succeed(vectors_of(texts))

            outcome = self.start(embed)
            if left[0] < 0:
                self.failureResultOf(outcome, _Interrupted)
            there = self.content()
            for source in {row[0] for row in there}:
                self.assertEqual(sum(row[0] == source for row in there), whole[source])
        self.feed()
        self.assertEqual(self.content(), clean)

    def test_another_model_is_refused_before_it_is_paid_for(self) -> None:
        """One collection, one model."""
        self.write("a.md", "first")
        self.feed()
        self.write("a.md", "changed")
        self.failureResultOf(self.start(model="another"), OtherModel)
        self.assertEqual(len(self.embedding.calls), 1)
        self.assertEqual(self.texts(), [("docs/a.md", "first")])

    def test_answers_that_do_not_fit_are_refused(self) -> None:
        """Too few vectors, NaN, or another length in the middle: nothing of the document is in."""
        self.write("a.md", "\n\n".join(f"# {n}\n" + "word " * 200 for n in range(150)))
        answers = [
            [np.ones((1, 3), np.float32)],
            [np.full((100, 3), np.nan, np.float32)],
            [np.ones((100, 3), np.float32), np.ones((100, 4), np.float32)],
        ]
        for answer in answers:

            def embed(
                texts: Sequence[str], answer: list[NDArray[np.float32]] = answer
            ) -> Deferred[NDArray[np.float32]]:
                return succeed(answer.pop(0)[: len(texts)])

            self.failureResultOf(self.start(embed), MalformedEmbeddings)
            self.assertEqual(self.content(), [])

    def test_cancelling_cancels_the_call_and_closes_the_file(self) -> None:
        """Nothing is left open, and no write-ahead log lies about."""
        self.write("a.md", "first")
        cancelled: list[object] = []
        waiting: Deferred[NDArray[np.float32]] = Deferred(cancelled.append)
        running = self.start(lambda _: waiting)
        running.cancel()
        self.failureResultOf(running, CancelledError)
        self.assertEqual(cancelled, [waiting])
        self.assertEqual(sorted(one.name for one in self.root.iterdir()), ["docs", "knowledge.db"])

    def test_threads_that_are_stopped_meanwhile(self) -> None:
        """The file is closed all the same."""
        self.write("a.md", "first")
        jobs = [2]

        class Stopping(SameThread):
            def run(self, f, *args, **kwargs):  # type: ignore[no-untyped-def]  # as its base has it
                jobs[0] -= 1
                return super().run(f, *args, **kwargs) if jobs[0] >= 0 else fail(TooBusy())

        self.failureResultOf(self.start(threads=Stopping()), TooBusy)
        self.assertEqual(sorted(one.name for one in self.root.iterdir()), ["docs", "knowledge.db"])

    def test_a_database_that_cannot_be_made(self) -> None:
        """The error names it, nothing was asked of anyone."""
        self.database.write_bytes(b"something else" * 50)
        self.write("a.md", "first")
        failure = self.failureResultOf(self.start(), KnowledgeError)
        self.assertIn(str(self.database), str(failure.value))
        self.assertEqual(self.embedding.calls, [])

    def test_two_runs_at_once(self) -> None:
        """What another run has written meanwhile is not written again."""
        self.write("a.md", "first")

        def embed(texts: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            self.assertEqual(self.feed().written, 1)
            return succeed(vectors_of(texts))

        report = self.successResultOf(self.start(embed))
        self.assertEqual((report.written, report.unchanged, report.passages), (0, 1, 0))
        with closing(KnowledgeStore(self.database)):
            self.assertEqual(self.texts(), [("docs/a.md", "first")])
