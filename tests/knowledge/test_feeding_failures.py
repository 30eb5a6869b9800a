"""Whatever fails or is cancelled, nothing is left open and nothing is in by half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from gptproxy.knowledge.database import exclusively
from gptproxy.knowledge.errors import KnowledgeError, MalformedEmbeddings, OtherModel
from gptproxy.threads import TooBusy
from tests.knowledge.content import texts
from tests.knowledge.feeding_rig import FeedingCase
from tests.knowledge.standins import SameThread, vectors_of

_LONG = "This is a sentence of some words. " * 25


class FailureTests(FeedingCase):
    """Runs that do not come to their end."""

    def test_answers_that_do_not_fit_are_refused(self) -> None:
        """Too few vectors, NaN, or another length: nothing of the document is in."""
        self.write("a.md", "text")
        for matrix in (np.zeros((0, 4)), np.full((1, 4), np.nan), np.zeros((1, 4))):
            wrong = matrix.astype(np.float32)
            self.failureResultOf(
                self.start(lambda _, wrong=wrong: succeed(wrong)), MalformedEmbeddings
            )  # type: ignore[misc]  # a default binds
        self.assertEqual(texts(self.database), [(None, None)])
        self.feed()
        self.write("b.md", "more")
        self.failureResultOf(self.start(lambda _: succeed(np.ones((1, 3), np.float32))), OtherModel)
        self.assertEqual(texts(self.database), [("docs/a.md", "text")])

    def test_a_failing_call_ends_the_others(self) -> None:
        """And the run fails with what it failed with."""
        gates: list[Deferred[NDArray[np.float32]]] = []
        ended: list[int] = []

        def embed(inputs: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            end = partial(ended.append, len(gates))
            gate: Deferred[NDArray[np.float32]] = Deferred(lambda _: end())
            gates.append(gate)
            return gate

        for number in range(300):
            self.write(f"{number:03}.txt", f"text {number}")
        feeding = self.start(embed)
        gates[1].errback(KnowledgeError("away"))
        self.failureResultOf(feeding, KnowledgeError)
        self.assertEqual(sorted(ended), [0, 2])
        self.assert_closed()

    def test_cancelling_cancels_the_calls_and_closes_the_file(self) -> None:
        """Nothing is left open, and no write-ahead log lies about."""
        calls: list[Deferred[NDArray[np.float32]]] = []

        def embed(_: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            calls.append(Deferred())
            return calls[-1]

        for number in range(450):
            self.write(f"{number:03}.txt", f"text {number}")
            if number + 1 not in (50, 150, 450):
                continue
            calls.clear()
            feeding = self.start(embed, at_once=3)
            if number == 149:
                calls[0].callback(vectors_of(["x"] * 100))
            feeding.cancel()
            self.failureResultOf(feeding, CancelledError)
            for call in calls:
                self.assertTrue(call.called)
            self.assert_closed()

    def assert_closed(self) -> None:
        self.assertFalse(self.database.with_name("knowledge.db-wal").exists())
        with exclusively(self.database):
            pass

    def test_threads_that_are_stopped_meanwhile(self) -> None:
        """The file is closed all the same."""

        class Stopping(SameThread):
            stopped = False

            def run(
                self, f: Callable[..., object], *args: object, **kwargs: object
            ) -> Deferred[object]:  # type: ignore[override]  # a stand-in
                return fail(TooBusy("stopped")) if self.stopped else super().run(f, *args, **kwargs)

        threads = Stopping()
        self.write("a.md", "text")

        def embed(inputs: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            threads.stopped = True
            return succeed(vectors_of(inputs))

        self.failureResultOf(self.start(embed, threads=threads), TooBusy)
        self.assert_closed()

    def test_one_command_at_a_time(self) -> None:
        """The second is told; so is one whose folder is not there."""
        with exclusively(self.database):
            failure = self.failureResultOf(self.start(), KnowledgeError)
        self.assertIn("another `gptproxy docs` command is writing", str(failure.value))
        self.database = self.root / "nowhere" / "k.db"
        self.assertIn(
            "no such folder", str(self.failureResultOf(self.start(), KnowledgeError).value)
        )
