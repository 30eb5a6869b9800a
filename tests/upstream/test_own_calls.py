"""What gptproxy asks for itself, over the script of an agent: every sort of trouble, every phase."""

from __future__ import annotations

import gzip
import inspect

from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseFailed
from twisted.web.iweb import IAgent
from zope.interface.verify import verifyObject

from gptproxy.http import (
    Agent,
    ConnectFailed,
    FirstByteTimeout,
    MalformedMessage,
    NoAnswer,
    Origin,
    OwnAnswer,
    OwnCalls,
    ResponseNeverReceived,
    backoff_seconds,
)
from tests.upstream.standins import Answer, ScriptedAgent, Step, is_sent_again_by_the_agent

LOST = Failure(ConnectionLost())
OK = Answer(200, b"fine")


def test_the_stand_in_is_like_the_agent() -> None:
    """It has the agent's interface, and the same parameters of the call one layer lower."""
    assert verifyObject(IAgent, ScriptedAgent([]))
    for name in ("ask", "request"):
        standin = inspect.signature(getattr(ScriptedAgent, name)).parameters
        assert list(standin) == list(inspect.signature(getattr(Agent, name)).parameters)


@settings(max_examples=100, deadline=None)
@given(
    attempt=st.integers(1, 10_000),
    first=st.floats(0.01, 100),
    longest=st.floats(0.01, 1000),
    chance=st.floats(0, 1),
)
def test_backoff_is_bounded(attempt: int, first: float, longest: float, chance: float) -> None:
    """From 0 to a bound that doubles up to the longest; it never overflows."""
    wait = backoff_seconds(
        attempt, first_seconds=first, longest_seconds=longest, random=lambda: chance
    )
    bound = min(longest, first * 2 ** (attempt - 1)) if attempt < 60 else longest
    assert 0 <= wait == chance * bound <= longest


class OwnCallsTests(SynchronousTestCase):
    """Over an agent in memory; waits are as long as they can be."""

    def setUp(self) -> None:
        self.clock = Clock()

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(
        self, *script: Step, body: bytes | None = None, attempts: int = 3, total: float = 20.0
    ) -> Deferred[OwnAnswer]:
        self.agent = ScriptedAgent(script)
        calls = OwnCalls(self.agent, self.clock, lambda: 1.0, attempts=attempts)
        asking = calls.ask(
            "GET" if body is None else "POST",
            "https://api.corp.com/v1/x?a=b",
            {"authorization": "Bearer secret"},
            body,
            limit_bytes=100,
            total_seconds=total,
        )
        return Deferred.fromCoroutine(asking)

    def test_what_is_sent(self) -> None:
        """The fields and the body as given, in one piece that the agent may repeat; an empty body is one."""
        for body in (b"{}", b""):
            self.successResultOf(self.ask(OK, body=body))
            (asked,) = self.agent.asked
            self.assertEqual(
                (asked.method, asked.origin, asked.target, asked.body),
                (b"POST", Origin(True, "api.corp.com", 443), b"/v1/x?a=b", body),
            )
            self.assertEqual(asked.values(b"authorization"), [b"Bearer secret"])
            self.assertTrue(is_sent_again_by_the_agent(asked))

    def test_statuses(self) -> None:
        """Most are answers at once; some are worth another try, and the last of those stands."""
        for status in (200, 201, 204, 301, 304, 307, 400, 401, 403, 404, 409, 422, 501):
            location = (b"location", b"https://evil.example/")
            self.assertEqual(
                self.successResultOf(self.ask(Answer(status, b"body", (location,)))).status, status
            )
            self.assertEqual(len(self.agent.asked), 1)
        for status in (408, 429, 500, 502, 503, 504):
            asking = self.ask(Answer(status), Answer(status), Answer(status, b"last"))
            for advance, made in ((0.49, 1), (0.01, 2), (0.99, 2), (0.01, 3)):
                self.clock.advance(advance)
                self.assertEqual(len(self.agent.asked), made)
            self.assertEqual(self.successResultOf(asking), OwnAnswer(status, b"last"))

    def test_trouble_of_the_network(self) -> None:
        """Every sort is tried again, before the head or in the body, and named when it stays."""
        troubles: list[tuple[Exception, str]] = [
            (
                ConnectFailed(Origin(True, "api.corp.com", 443), LOST),
                "no connection to api.corp.com:443: ConnectionLost",
            ),
            (ConnectionDone(), "ConnectionDone"),
            (ConnectionLost(), "ConnectionLost"),
            (FirstByteTimeout(), "FirstByteTimeout"),
            (MalformedMessage("no HTTP"), "MalformedMessage"),
            (ResponseNeverReceived(False, LOST), "ResponseNeverReceived"),
            (ResponseFailed([LOST]), "ResponseFailed"),
            (TLSError([]), "Error"),
        ]
        for trouble, name in troubles:
            asking = self.ask(trouble, Answer(200, b"half", end=trouble), OK)
            self.clock.pump([0.5, 1.0])
            self.assertEqual(self.successResultOf(asking).body, b"fine", name)
            asking = self.ask(trouble, trouble, trouble)
            self.clock.pump([0.5, 1.0])
            no_answer = self.failureResultOf(asking, NoAnswer).value
            self.assertEqual((no_answer.cause, str(no_answer)), (name, name))

    def test_a_fault_of_ours(self) -> None:
        """It is not taken for the network's."""
        self.failureResultOf(self.ask(ZeroDivisionError()), ZeroDivisionError)

    def test_no_other_attempt(self) -> None:
        """None is left, or no time for its wait: what there is, is told at once."""
        throttled = Answer(429, b"", ((b"retry-after", b"9"),))
        self.assertEqual(self.successResultOf(self.ask(Answer(503), attempts=1)).status, 503)
        self.failureResultOf(self.ask(ConnectionLost(), attempts=1), NoAnswer)
        self.assertEqual(self.successResultOf(self.ask(Answer(500), total=0.5)).status, 500)
        self.failureResultOf(self.ask(ConnectionLost(), total=0.5), NoAnswer)
        answer = self.successResultOf(self.ask(throttled, total=9.0))
        self.assertEqual((answer.status, answer.retry_after), (429, "9"))
        asking = self.ask(throttled, OK)
        self.clock.advance(8.9)
        self.assertEqual(len(self.agent.asked), 1)
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(asking).status, 200)

    def test_retry_after_that_is_no_number(self) -> None:
        """A date without the time, a sign, digits of other scripts or far too many: no wait of its own."""
        for value in ("Wed, 21 Oct 2026 07:28:00 GMT", "-1", "", "\u0663", "9" * 13, None):
            self.assertEqual(OwnAnswer(429, b"", value).wait_seconds(), 0.0)
        self.assertEqual(OwnAnswer(429, b"", "120").wait_seconds(), 120.0)

    def test_total_time_and_leaving(self) -> None:
        """Both end everything in every phase: what is under way is given up, and nothing sent after it."""
        for script, dropped in (
            ((None,), 1),
            ((Answer(200, b"half", end=None),), 1),
            ((Answer(500), None), 1),
            ((Answer(503, b"", ((b"retry-after", b"2"),)),), 0),
        ):
            asking = self.ask(*script)
            self.clock.advance(0.5)
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            self.assertEqual(self.agent.dropped, dropped)
            self.assertEqual(self.clock.getDelayedCalls(), [])
            if dropped:
                asking = self.ask(*script, total=3.0)
                self.clock.pump([0.5, 2.4])
                self.assertNoResult(asking)
                self.clock.advance(0.1)
                self.assertEqual(self.failureResultOf(asking, NoAnswer).value.cause, "TimeoutError")
                self.assertEqual(self.agent.dropped, dropped)

    def test_too_large(self) -> None:
        """What is above the limit is dropped and not asked for again; it counts decompressed."""
        zipped = ((b"content-encoding", b"gzip"),)
        for size, fits in ((100, True), (101, False)):
            for body, fields in ((b"x" * size, ()), (gzip.compress(b"x" * size), zipped)):
                asking = self.ask(
                    Answer(200, body, fields, end=None) if not fits else Answer(200, body, fields)
                )
                if fits:
                    self.assertEqual(self.successResultOf(asking).body, b"x" * size)
                    continue
                no_answer = self.failureResultOf(asking, NoAnswer).value
                self.assertEqual(no_answer.cause, "ResponseTooLarge")
                self.assertEqual((len(self.agent.asked), self.agent.dropped), (1, 1))

    def test_no_cookies(self) -> None:
        """None is kept, whatever it is set for, and none is sent."""
        cookies = (
            (b"set-cookie", b"a=1; Path=/"),
            (b"set-cookie", b"b=2; Domain=corp.com; Path=/; Secure"),
            (b"set-cookie2", b"c=3; Version=1"),
        )
        agent = ScriptedAgent([Answer(200, b"", cookies)] * 3)
        calls = OwnCalls(agent, self.clock, lambda: 1.0)
        for url in ("https://api.corp.com/x", "https://api.corp.com/x", "https://git.corp.com/"):
            asking = calls.ask("GET", url, {}, limit_bytes=10, total_seconds=1)
            self.successResultOf(Deferred.fromCoroutine(asking))
        self.assertEqual([asked.values(b"cookie") for asked in agent.asked], [[]] * 3)
