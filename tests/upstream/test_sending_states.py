"""What the Sender remembers of upstreams from call to call."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.logger import LogLevel

from gptproxy.upstream import Target, UpstreamState
from tests.upstream.examples import a_call
from tests.upstream.sender_case import BOTH, ONE, error
from tests.upstream.states_case import THROTTLED, UNREACHABLE, StatesCase


class StatesTests(StatesCase):
    """What is remembered from call to call."""

    def test_throttled(self) -> None:
        """Until its time the next upstream is asked first."""
        self.assertEqual(self.sent_to(self.send(THROTTLED)), ["gpt1", "gpt2"])
        self.assertEqual(self.sent_to(self.send()), ["gpt2"])
        self.assertEqual(
            self.sender.states(),
            (
                UpstreamState("primary", "throttled", 20.0, 1, 0),
                UpstreamState("secondary", "well", 0.0, 2, 0),
            ),
        )
        self.clock.advance(20)
        self.assertEqual(self.sent_to(self.send()), ["gpt1"])

    def test_throttled_for_how_long_it_does_not_say(self) -> None:
        """A second."""
        self.successResultOf(self.send(error(429)))
        self.clock.advance(0.9)
        self.assertEqual(self.sent_to(self.send()), ["gpt2"])
        self.clock.advance(0.1)
        self.assertEqual(self.sent_to(self.send()), ["gpt1"])

    def test_an_only_upstream_is_asked_though_it_throttles(self) -> None:
        """Its limits may bear a smaller call; and where it is the only one, no other is the better for it."""
        self.successResultOf(self.send(THROTTLED))
        self.assertEqual(self.sent_to(self.send(targets=ONE)), ["gpt1"])

    def test_both_throttle(self) -> None:
        """The one that lets calls in first is waited for, however often it throttled others meanwhile."""
        sending = self.send(THROTTLED, error(429, "429", (b"retry-after", b"7")))
        self.clock.advance(6.9)
        self.assertEqual(self.hosts(), ["gpt1", "gpt2"])
        late = self.send()
        self.assertEqual(self.hosts(), [])
        self.clock.advance(0.1)
        self.successResultOf(sending)
        self.assertNoResult(late)
        self.clock.advance(0.5)
        self.assertEqual(self.sent_to(late), ["gpt2", "gpt2"])

    def test_both_throttle_for_too_long(self) -> None:
        """Who was not sent gets a 503 that says when."""
        long = error(429, "429", (b"retry-after", b"100"))
        answer = self.successResultOf(self.send(long, long))
        self.assertIn((b"retry-after", b"100"), answer.fields)
        refusal = self.refused(self.send())
        self.assertEqual((refusal.status, refusal.attempts, self.hosts()), (503, 0, []))
        self.assertEqual(refusal.headers[:1], ((b"retry-after", b"100"),))
        self.assertEqual(refusal.cause, "none of primary, secondary is to be asked now")

    def test_down(self) -> None:
        """The next upstream at once; alone, a 503 that says when."""
        self.take_down()
        self.assertEqual(self.sent_to(self.send()), ["gpt2"])
        refusal = self.refused(self.send(targets=ONE))
        self.assertEqual((refusal.status, refusal.code), (503, "upstreams_unavailable"))
        self.assertEqual(refusal.headers[:1], ((b"retry-after", b"10"),))
        (line,) = self.said(LogLevel.error)
        self.assertIn("upstream primary is down", line)

    def test_the_probe(self) -> None:
        """One call is let through; an answer of any kind mends it."""
        self.take_down()
        self.clock.advance(10)
        probing = self.send(None)
        self.assertEqual(self.hosts(), ["gpt1"])
        self.assertEqual(self.sent_to(self.send()), ["gpt2"])
        # Its caller leaves: the next is the probe.
        probing.cancel()
        self.failureResultOf(probing, CancelledError)
        self.assertEqual(self.sent_to(self.send(error(400, "content_filter"))), ["gpt1", "gpt2"])
        self.assertEqual(self.said(LogLevel.info), ["upstream primary is well again"])
        self.assertEqual(self.sent_to(self.send()), ["gpt1"])

    def test_the_probe_fails(self) -> None:
        """The call goes elsewhere, and the wait doubles."""
        self.take_down()
        self.clock.advance(10)
        self.assertEqual(self.sent_to(self.send(UNREACHABLE)), ["gpt1", "gpt2"])
        self.clock.advance(19.9)
        self.assertEqual(self.sent_to(self.send()), ["gpt2"])
        self.clock.advance(0.1)
        self.assertEqual(self.sent_to(self.send()), ["gpt1"])
        self.assertEqual(self.sent_to(self.send()), ["gpt1"])

    def test_interceptions_take_nothing_down(self) -> None:
        """Nor do callers' own errors, nor refused keys."""
        for code in (error(400, "content_filter"), error(400), error(401)):
            for _ in range(10):
                self.assertEqual(self.sent_to(self.send(code))[0], "gpt1")

    def test_the_pure_proxy_leaves_no_trace(self) -> None:
        """A caller's own key says nothing about anybody's upstream."""
        for _ in range(10):
            sending = self.send(*[UNREACHABLE] * 2, targets=ONE, own_key=True)
            self.assertEqual(self.refused(sending).status, 502)
        self.assertEqual(self.sender.states(), ())

    def test_retries_have_a_budget(self) -> None:
        """Used up, the next upstream is asked at once."""
        self.sender = self.a_sender(retry_least_per_second=0, retry_share=0.0)
        self.assertEqual(self.sent_to(self.send(error(500))), ["gpt1", "gpt2"])

    def test_what_only_the_operator_can_mend_is_said_once_a_minute(self) -> None:
        """For each upstream and reason."""
        for _ in range(3):
            self.successResultOf(self.send(error(401)))
        self.successResultOf(self.send(error(404, "DeploymentNotFound")))
        self.assertEqual(len(self.said(LogLevel.error)), 2)
        self.clock.advance(60)
        self.successResultOf(self.send(error(401)))
        self.assertEqual(len(self.said(LogLevel.error)), 3)

    def test_patience(self) -> None:
        """A caller who waits ten seconds does not wait twenty."""
        impatient = evolve(a_call(), patience_seconds=10.0)
        answer = self.successResultOf(self.send(THROTTLED, call=impatient, targets=ONE))
        self.assertEqual(answer.attempts, 1)

    def test_tiers(self) -> None:
        """The lowest first, whatever the order they come in."""
        targets = tuple(
            Target(evolve(each.upstream, tier=tier), each.model)
            for each, tier in zip(BOTH, (2, 1), strict=True)
        )
        self.assertEqual(self.sent_to(self.send(targets=targets)), ["gpt2"])
