"""Where calls come in."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.access import Caller
from gptproxy.api import Gate, Streams, busy_answer
from gptproxy.config import AllowSettings, QuotaSettings
from gptproxy.limits import Limits, Overload
from gptproxy.upstream import Usage
from gptproxy.wire import Refusal

ALICE = Caller("user_token", "alice")


class Exchange:
    """What a gate sees of a call."""

    def __init__(self, usage: Usage | None = None, events: int = 0) -> None:
        self.usage = usage
        self.events = events
        self.fields = ((b"host", b"h"), (b"content-length", b"400"))
        self.cuts = 0

    def cut(self) -> None:
        self.cuts += 1


class Members:
    """Alice is in group a."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def may_read(self, caller: Caller, rules: tuple[AllowSettings, ...]) -> bool:
        (rule,) = rules
        self.asked.append(rule.group)
        return rule.group == "a"


class GateTests(SynchronousTestCase):
    """Calls are counted while they run."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.members = Members()

    def gate(self, limits: Limits | None = None, **more: object) -> Gate:
        return Gate(self.clock, limits, members=self.members, **more)  # type: ignore[arg-type]  # as Gate's own

    def status(self, gate: Gate, exchange: Exchange) -> int:
        gate.enter(exchange)  # type: ignore[arg-type]  # a stand-in
        found: list[int] = []
        admitting = Deferred.fromCoroutine(gate.admit(exchange, ALICE))  # type: ignore[arg-type]  # likewise
        admitting.addCallbacks(
            lambda _: found.append(200), lambda failure: found.append(failure.value.status)
        )
        return found[0]

    def test_no_limits(self) -> None:
        """Nobody is counted, and nobody is asked who they are."""
        gate = self.gate(Limits(None, None, (), 0.0), groups=("a",))
        self.assertEqual(self.status(gate, Exchange()), 200)
        self.assertEqual(self.members.asked, [])
        self.assertIsNone(gate.refusal())

    def test_groups(self) -> None:
        """The group's bound holds for its members; a call that has left gives its place back, once."""
        one = QuotaSettings(concurrent_calls=1)
        gate = self.gate(Limits(None, None, [("a", one), ("b", one)], 0.0), groups=("a", "b"))
        first, second = Exchange(), Exchange()
        self.assertEqual([self.status(gate, first), self.status(gate, second)], [200, 429])
        gate.leave(second)
        gate.leave(first)
        gate.leave(first)
        self.assertEqual(self.status(gate, Exchange()), 200)
        self.assertEqual(self.members.asked[:2], ["a", "b"])

    def test_tokens(self) -> None:
        """Are what the answer tells; a stream that does not tell is estimated, anything else costs none."""
        for exchange, cost in (
            (Exchange(Usage(70, 30)), 100),
            (Exchange(events=50), 150),
            (Exchange(), 0),
        ):
            quota = QuotaSettings(tokens_per_minute=max(cost, 1))
            gate = self.gate(Limits(quota, None, (), 0.0))
            self.status(gate, exchange)
            gate.leave(exchange)
            self.assertEqual(self.status(gate, Exchange()), 429 if cost else 200)

    def test_streams(self) -> None:
        """So many at a time, over all gates; a call counts once."""
        streams = Streams(1)
        gates = [self.gate(streams=streams) for _ in range(2)]
        first, second = Exchange(), Exchange()
        gates[0].enter(first)
        gates[1].enter(second)
        gates[0].begin_stream(first)
        gates[0].begin_stream(first)
        with self.assertRaises(Refusal) as caught:
            gates[1].begin_stream(second)
        self.assertEqual((caught.exception.status, streams.open), (503, 1))
        gates[0].leave(first)
        gates[1].begin_stream(second)
        gates[1].leave(second)
        self.assertEqual(streams.open, 0)
        self.gate().begin_stream(first)

    def test_overload(self) -> None:
        """Refuses before anybody is asked for, by an answer that says when to come again."""
        overload = Overload(0.25, 10)
        gate = self.gate(overload=overload)
        self.assertIsNone(gate.refusal())
        overload.look(0.0, 11, 0.0, 0.05)
        refusal = gate.refusal()
        assert refusal is not None
        self.assertEqual((refusal.status, dict(refusal.headers)[b"retry-after"]), (503, b"1"))
        answer = busy_answer(3)
        self.assertTrue(answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n"))
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(b"content-length: %d" % len(body), head)
        self.assertIn(b"x-should-retry: true", head)
        self.assertIn(b"retry-after: 3\r\n", head)

    def test_running(self) -> None:
        """The overload knows how many run: all that have entered, and not left."""
        overload = Overload(0.25, None)
        gate, first, second = self.gate(overload=overload), Exchange(), Exchange()
        gate.enter(first)  # type: ignore[arg-type]  # a stand-in
        gate.enter(second)  # type: ignore[arg-type]  # likewise
        self.assertEqual(overload.running, 2)
        gate.leave(first)  # type: ignore[arg-type]  # likewise
        gate.leave(first)  # type: ignore[arg-type]  # likewise
        self.assertEqual(overload.running, 1)

    def test_empty(self) -> None:
        """It tells when the last call has left; at once where there is none."""
        gate = self.gate()
        self.successResultOf(gate.when_empty())
        first, second = Exchange(), Exchange()
        gate.enter(first)
        gate.enter(second)
        empty = gate.when_empty()
        gate.leave(first)
        self.assertNoResult(empty)
        gate.cut()
        self.assertEqual((first.cuts, second.cuts), (0, 1))
        gate.leave(second)
        self.successResultOf(empty)
