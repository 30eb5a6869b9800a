"""A streamed form whose fields are looked at before they go on."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.api.checked_upload import CheckedForm
from gptproxy.http import BodyIncomplete
from gptproxy.wire import Refusal
from tests.api.test_passed_call import form
from tests.http import serving

REFUSED = Refusal(404, "No")


class Receiver(serving.Receiver):
    """Notes the failure, too."""

    def body_failed(self, reason: Failure) -> None:
        self.end = reason


class Source:
    """In the place of a request's body."""

    length = None
    started = False
    paused = stopped = False

    def deliver(self, receiver: CheckedForm) -> Source:
        self.started = True
        self.piece_received = receiver.body_piece
        self.finished = receiver.body_finished
        self.failed = receiver.body_failed
        return self

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        self.stopped = True


class CheckedFormTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.checks: list[tuple[list[str], Deferred[None]]] = []
        self.body = Source()
        self.form = CheckedForm(self.body, b"b0", self._check)
        self.receiver = Receiver()

    async def _check(self, ids) -> None:
        waiting: Deferred[None] = Deferred()
        self.checks.append((list(ids), waiting))
        await waiting

    def test_nothing_to_check(self) -> None:
        """Every piece goes on as it comes."""
        self.form.deliver(self.receiver)
        whole = form(("a", "b"), ("c", "d"))
        for piece in (whole[:20], whole[20:]):
            self.body.piece_received(piece)
            self.assertEqual(self.receiver.pieces[-1], piece)
        self.body.finished()
        self.assertEqual(self.receiver.end, "finished")
        self.assertEqual(self.checks, [])

    def test_what_names_an_object_waits(self) -> None:
        """The client is paused meanwhile; two checks are made one after the other; the end comes last."""
        self.form.deliver(self.receiver)
        whole = form(("file_id", "f1"), ("file_id", "f2"), ("c", "d"))
        cut = whole.index(b"f2")
        self.body.piece_received(whole[:cut])
        self.assertTrue(self.body.paused)
        self.assertEqual((self.receiver.pieces, self.checks[0][0]), ([], ["f1"]))
        self.body.piece_received(whole[cut:])
        self.body.finished()
        self.assertEqual(len(self.checks), 1)
        self.checks[0][1].callback(None)
        self.assertEqual((self.receiver.pieces, self.checks[1][0]), ([], ["f2"]))
        self.checks[1][1].callback(None)
        self.assertEqual(b"".join(self.receiver.pieces), whole)
        self.assertEqual(self.receiver.end, "finished")

    def test_paused_by_either(self) -> None:
        """Who takes the body may pause it too; it goes on when neither does."""
        self.form.deliver(self.receiver)
        self.form.pauseProducing()
        self.body.piece_received(form(("file_id", "f1"), ("c", "d"))[:-5])
        self.form.resumeProducing()
        self.assertTrue(self.body.paused)
        self.checks[0][1].callback(None)
        self.assertFalse(self.body.paused)

    def test_refused(self) -> None:
        """Nothing of it goes on."""
        self.form.deliver(self.receiver)
        self.body.piece_received(form(("file_id", "f1"), ("c", "d")))
        self.checks[0][1].errback(REFUSED)
        self.assertEqual(self.receiver.pieces, [])
        self.assertIs(self.receiver.end.value, REFUSED)

    def test_broken_forms(self) -> None:
        for whole, end in [
            (b"x", False),
            (b"--b0\r\n", True),
            (form(("file_ids", "[]"))[:-4], True),
        ]:
            self.setUp()
            self.form.deliver(self.receiver)
            self.body.piece_received(whole)
            if end:
                self.body.finished()
            self.assertEqual(self.receiver.end.value.status, 400)

    def test_a_body_that_fails(self) -> None:
        self.form.deliver(self.receiver)
        self.body.failed(Failure(BodyIncomplete()))
        self.receiver.end.trap(BodyIncomplete)

    def test_given_up(self) -> None:
        """The look-up under way is cancelled."""
        self.form.deliver(self.receiver)
        self.assertTrue(self.form.started)
        self.body.piece_received(form(("file_id", "f1")))
        self.form.stopProducing()
        self.assertTrue(self.checks[0][1].called)
        self.assertIsNone(self.receiver.end)
