"""An answer is held back for as long as it can be exchanged, and no byte of it is lost by that."""

from __future__ import annotations

import orjson
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import StreamSettings
from gptproxy.http import Response, collect_body
from gptproxy.upstream import Call
from gptproxy.upstream.holding import BrokenOff, Intercepted, hold
from tests.http.asking import Taker, Upstream
from tests.upstream.examples import a_call

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
Held = Response | Intercepted | BrokenOff


def event(content: object) -> bytes:
    return b"data: %b\n\n" % (content if isinstance(content, bytes) else orjson.dumps(content))


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


PROMPT = event({"choices": [], "prompt_filter_results": []})
ROLE = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
WORD = event({"choices": [{"delta": {"content": "otter"}, "finish_reason": None}]})
FILTERED = event({"choices": [{"delta": {}, "finish_reason": "content_filter"}]})
ERROR = event({"error": {"code": "server_error"}})
QUOTA = event({"error": {"code": "insufficient_quota"}})
OWN_FAULT = event({"error": {"code": "context_length_exceeded"}})
DONE = event(b"[DONE]")
CLEAN = orjson.dumps({"choices": [{"finish_reason": "stop"}]})
HIT = orjson.dumps({"choices": [{"finish_reason": "content_filter"}]})


class HoldCase(SynchronousTestCase):
    settings = StreamSettings()

    def setUp(self) -> None:
        self.upstream = Upstream()

    def tearDown(self) -> None:
        self.upstream.check_nothing_is_left()

    def held(self, *pieces: bytes, call: Call | None = None) -> Deferred[Held]:
        """:return: what becomes of an answer that begins so, each piece a read."""
        asked = self.upstream.ask()
        self.upstream.answer(*pieces)
        response = self.successResultOf(asked)
        holding = Deferred.fromCoroutine(
            hold(call or a_call(), response, self.upstream.clock, self.settings)
        )
        self.upstream.transport.settle()
        return holding

    def relayed(self, holding: Deferred[Held]) -> Response:
        response = self.successResultOf(holding)
        assert isinstance(response, Response)
        return response

    def body(self, response: Response) -> bytes:
        """:return: all of it, which has come."""
        whole = response.take_whole()
        if whole is not None:
            return whole
        collecting = collect_body(response, 10_000_000)
        self.upstream.transport.settle()
        return self.successResultOf(collecting)

    def intercepted(self, holding: Deferred[Held]) -> Response:
        result = self.successResultOf(holding)
        assert isinstance(result, Intercepted)
        return result.answer

    def broken(self, holding: Deferred[Held]) -> BrokenOff:
        result = self.successResultOf(holding)
        assert isinstance(result, BrokenOff)
        return result


class StreamTests(HoldCase):
    def test_it_is_relayed_from_the_first_content_on_what_was_held_first(self) -> None:
        holding = self.held(STREAM, chunked(PROMPT))
        self.upstream.answer(chunked(ROLE))
        self.assertNoResult(holding)
        self.upstream.answer(chunked(WORD))
        response = self.relayed(holding)
        taker = Taker()
        response.deliverBody(taker)
        self.assertEqual(taker.data, PROMPT + ROLE + WORD)
        self.upstream.answer(chunked(FILTERED), END)
        self.assertEqual(taker.data, PROMPT + ROLE + WORD + FILTERED)
        self.assertIsNotNone(taker.end)

    def test_content_that_came_with_the_head_is_relayed_at_once(self) -> None:
        response = self.relayed(self.held(STREAM + chunked(PROMPT + ROLE + WORD)))
        self.assertEqual(self.upstream.clock.getDelayedCalls()[1:], [])
        response.abandon()

    def test_a_filter_finish_before_content_is_an_interception(self) -> None:
        """The answer goes on being read, so that it is whole should it be wanted."""
        answer = self.intercepted(self.held(STREAM, chunked(PROMPT), chunked(ROLE + FILTERED)))
        self.upstream.answer(chunked(DONE), END)
        self.assertEqual(answer.take_whole(), PROMPT + ROLE + FILTERED + DONE)
        self.assertEqual(self.upstream.idle, 1)

    def test_a_filter_finish_behind_content_is_not(self) -> None:
        """Even where both came at once: the order decides, not the network."""
        response = self.relayed(self.held(STREAM + chunked(WORD + FILTERED) + END))
        self.assertEqual(self.body(response), WORD + FILTERED)

    def test_an_error_before_content(self) -> None:
        broken = self.broken(self.held(STREAM, chunked(PROMPT, ERROR), END))
        self.assertTrue(broken.retryable)
        assert broken.answer is not None
        self.assertEqual(self.body(broken.answer), PROMPT + ERROR)

    def test_a_used_up_quota_is_not_tried_again_there(self) -> None:
        self.assertFalse(self.broken(self.held(STREAM, chunked(QUOTA), END)).retryable)

    def test_the_callers_own_fault_is_the_callers_answer(self) -> None:
        response = self.relayed(self.held(STREAM, chunked(OWN_FAULT), END))
        self.assertEqual(self.body(response), OWN_FAULT)

    def test_a_stream_that_dies_before_content(self) -> None:
        holding = self.held(STREAM, chunked(PROMPT))
        self.upstream.transport.leave(ConnectionLost())
        broken = self.broken(holding)
        self.assertEqual((broken.retryable, broken.answer), (True, None))
        self.assertIn("ConnectionLost", broken.reason)

    def test_a_stream_that_ends_without_content_is_relayed(self) -> None:
        for pieces in ((), (PROMPT, ROLE), (PROMPT, DONE)):
            with self.subTest(pieces):
                self.setUp()
                response = self.relayed(self.held(STREAM, chunked(*pieces), END))
                self.assertEqual(self.body(response), b"".join(pieces))
                response = self.relayed(self.held(STREAM + chunked(*pieces) + END))
                self.assertEqual(self.body(response), b"".join(pieces))

    def test_after_so_many_seconds_it_is_relayed(self) -> None:
        """However much comes meanwhile."""
        holding = self.held(STREAM, chunked(PROMPT))
        self.upstream.wait(19)
        self.upstream.answer(chunked(ROLE))
        self.assertNoResult(holding)
        self.upstream.wait(1)
        response = self.relayed(holding)
        self.upstream.answer(chunked(FILTERED), END)
        self.assertEqual(self.body(response), PROMPT + ROLE + FILTERED)

    def test_after_so_many_bytes_it_is_relayed(self) -> None:
        """And the upstream waits, until somebody takes them."""
        holding = self.held(STREAM, *[chunked(b": %b\n\n" % (b"x" * 10_000))] * 7)
        response = self.relayed(holding)
        self.assertLess(len(response.waiting), 80_000)
        self.upstream.answer(*[chunked(b"x" * 10_000)] * 20, END)
        self.assertFalse(self.upstream.transport.reading)
        self.assertLess(len(response.waiting), 80_000)
        self.assertEqual(len(self.body(response)), 7 * 10_004 + 200_000)

    def test_a_line_longer_than_that_is_relayed_unread(self) -> None:
        line = b'data: {"choices":[{"delta":{"content":"' + b"x" * 70_000
        response = self.relayed(self.held(STREAM, chunked(line)))
        self.assertEqual(response.waiting, line)
        response.abandon()

    def test_what_is_no_event_of_the_api_is_relayed(self) -> None:
        response = self.relayed(self.held(STREAM, chunked(b"data: hello\n\n"), END))
        self.assertEqual(self.body(response), b"data: hello\n\n")

    def test_a_caller_who_leaves_drops_the_upstream(self) -> None:
        holding = self.held(STREAM, chunked(PROMPT))
        holding.cancel()
        self.failureResultOf(holding, CancelledError)
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(1, 400), max_size=12), st.sampled_from([WORD, FILTERED, ERROR]))
    def test_however_it_is_cut(self, cuts: list[int], last: bytes) -> None:
        """The verdict is the same, and the bytes are."""
        self.upstream = Upstream()
        text = PROMPT + ROLE + last + DONE
        places = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
        pieces = [text[a:b] for a, b in zip([0, *places], places, strict=False)]
        holding = self.held(STREAM, *map(chunked, pieces), END)
        result = self.successResultOf(holding)
        expected = {WORD: Response, FILTERED: Intercepted, ERROR: BrokenOff}[last]
        assert isinstance(result, expected)
        answer = result if isinstance(result, Response) else result.answer
        assert answer is not None
        self.assertEqual(self.body(answer), text)
        self.upstream.check_nothing_is_left()


class WholeTests(HoldCase):
    settings = StreamSettings(inspect_bytes=100_000)

    def test_an_answer_that_came_with_its_head(self) -> None:
        response = self.relayed(self.held(JSON + chunked(CLEAN) + END))
        self.assertEqual(response.take_whole(), CLEAN)
        answer = self.intercepted(self.held(JSON + chunked(HIT) + END))
        self.assertEqual(answer.take_whole(), HIT)

    def test_a_whole_stream_is_read_as_one(self) -> None:
        self.intercepted(self.held(STREAM + chunked(PROMPT + FILTERED) + END))

    def test_an_answer_in_pieces_is_held_until_it_is_whole(self) -> None:
        holding = self.held(JSON, chunked(b" " + HIT[:20]))
        self.assertNoResult(holding)
        self.upstream.wait(19)
        self.upstream.answer(chunked(HIT[20:]))
        self.upstream.wait(19)
        self.assertNoResult(holding)
        self.upstream.answer(END)
        self.assertEqual(self.intercepted(holding).take_whole(), b" " + HIT)
        response = self.relayed(self.held(JSON, chunked(CLEAN), END))
        self.assertEqual(response.take_whole(), CLEAN)

    def test_a_silent_one_is_relayed_in_the_end(self) -> None:
        holding = self.held(JSON, chunked(HIT))
        self.upstream.wait(20)
        response = self.relayed(holding)
        self.upstream.answer(END)
        self.assertEqual(self.body(response), HIT)

    def test_a_long_one_is_relayed_uninspected(self) -> None:
        """At once where its length is told."""
        long = HIT + b" " * 100_000
        holding = self.held(JSON, chunked(long[:60_000]), chunked(long[60_000:]))
        response = self.relayed(holding)
        self.upstream.answer(END)
        self.assertEqual(self.body(response), long)
        head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(long)
        response = self.relayed(self.held(head + b"{"))
        response.abandon()

    def test_one_that_dies(self) -> None:
        holding = self.held(JSON, chunked(b"{"))
        self.upstream.transport.leave(ConnectionLost())
        self.assertEqual(self.broken(holding).answer, None)

    def test_a_caller_who_leaves_drops_the_upstream(self) -> None:
        holding = self.held(JSON, chunked(b"{"))
        holding.cancel()
        self.failureResultOf(holding, CancelledError)
        self.upstream.transport.settle()
        self.assertTrue(self.upstream.transport.aborted)

    def test_what_is_not_looked_at(self) -> None:
        """Routes without a filter, other methods, compressed answers: they are not waited for."""
        gzip = JSON.replace(b"\r\ntransfer", b"\r\ncontent-encoding: gzip\r\ntransfer")
        get = evolve(a_call(), method=b"GET")
        for head, call in (
            (JSON, a_call(route="/embeddings")),
            (JSON, get),
            (gzip, a_call()),
        ):
            self.setUp()
            response = self.relayed(self.held(head, chunked(b"{"), call=call))
            response.abandon()
            self.upstream.check_nothing_is_left()
        self.setUp()
