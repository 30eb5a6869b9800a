"""While GitLab is away nobody who is known is lost and no stranger gets in; it is never asked too much."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.access import Caller
from gptproxy.access.invalid_limit import BURST, SECONDS_EACH, SHARED_BURST, InvalidTokens
from gptproxy.access.outage import PAUSES, PROBE_SECONDS, Outage
from gptproxy.access.refusals import GitLabAway
from gptproxy.access.slots import MOST, WAIT_SECONDS, WAITING, Slots
from gptproxy.wire import Refusal
from tests.access.rig import ALICE, BOB, SELF, USER, AccessCase, user_answer
from tests.upstream.standins import Answer, Asked, Step

SILENCE: list[Step] = [None, ConnectionLost(), Answer(503, b"<html>"), Answer(429, b"Retry later")]
FACTS = Answer(200, b'{"user_id":1,"scopes":["api"],"active":true,"revoked":false}')


class TenMinutesTests(AccessCase):
    """GitLab is stopped under load."""

    def test_zero_lost_and_zero_strangers(self) -> None:
        """A hundred known callers call every two seconds, and strangers too; then it comes back."""
        known = [f"glpat-known-{number}" for number in range(100)]
        self.gitlab.instead = {
            USER: lambda asked: (
                user_answer(asked.values(b"authorization")[0].decode().rpartition("-")[2] + "x", 1)
                if b"known" in asked.values(b"authorization")[0]
                else Answer(401, b'{"message":"401 Unauthorized"}')
            ),
            SELF: FACTS,
        }
        for token in known:
            self.caller(token)
        working = dict(self.gitlab.instead)
        lost = strangers = 0
        pending: list[Deferred[object]] = []

        for seconds in range(0, 600, 2):
            if seconds % 150 == 0:
                self.gitlab.instead = {"/": SILENCE[seconds // 150]}
            for token in known:

                def gone(_: object) -> None:
                    nonlocal lost
                    lost += 1

                pending.append(self.ask(token).addErrback(gone))

            def let_in(_: Caller) -> None:
                nonlocal strangers
                strangers += 1

            def turned_away(failure: object) -> None:
                error = getattr(failure, "value", None)
                assert isinstance(error, Refusal)
                self.assertEqual(error.status, 503)

            stranger = self.ask(f"glpat-stranger-{seconds}").addCallbacks(let_in, turned_away)
            pending.append(stranger)
            self.clock.pump([0.5] * 4)
        self.clock.pump([1.0] * 20)
        self.assertTrue(all(each.called for each in pending))
        self.assertEqual((lost, strangers), (0, 0))
        # It is left in peace meanwhile: strangers' three attempts, and one known caller in ten seconds.
        self.assertLess(self.calls_made(), 200 + 300 * 3 + 60 * 3 + 600)
        # Back again: all are asked about anew.
        self.gitlab.instead = working
        self.clock.advance(PROBE_SECONDS)
        before = self.calls_made()
        for token in known:
            self.caller(token)
        self.assertEqual(self.calls_made(), before + 100)

    def test_grace_has_an_end(self) -> None:
        """It counts from the last confirmation, not from the outage."""
        self.caller(ALICE)
        self.clock.advance(30)
        self.caller(ALICE)
        self.gitlab.instead = {"/": Answer(503)}
        self.clock.advance(869.9)
        asking = self.ask(ALICE)
        self.assertNoResult(asking)
        self.clock.advance(0)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.clock.advance(0.1)
        self.assertEqual(self.refusal(ALICE).status, 503)

    def test_known_callers_do_not_wait(self) -> None:
        """The first finds out that GitLab is away; for ten seconds the others are served at once, then one probes."""
        for token in (ALICE, BOB):
            self.caller(token)
        self.clock.advance(60)
        self.gitlab.instead = {"/": None}
        probing = self.ask(ALICE)
        self.clock.advance(5)
        self.assertEqual(self.successResultOf(probing).name, "alice")
        before = self.calls_made()
        for token in (ALICE, BOB):
            self.caller(token)
        self.assertEqual(self.calls_made(), before)
        self.clock.advance(PROBE_SECONDS)
        probing = self.ask(BOB)
        self.assertNoResult(probing)
        self.assertEqual(self.caller(ALICE).name, "alice")
        self.gitlab.instead = {}
        self.clock.advance(5)
        self.successResultOf(probing)

    def test_a_forgotten_caller(self) -> None:
        """Grace is only for who is still known when the answer does not come."""
        self.caller(ALICE)
        self.clock.advance(60)
        self.gitlab.instead = {"/": None}
        asking = self.ask(ALICE)
        self.access._verdicts.forget_user(1)
        self.clock.advance(5)
        self.failureResultOf(asking, GitLabAway)

    def test_not_remembered(self) -> None:
        """No verdict is no verdict: the next call asks anew."""
        for trouble in (Answer(200, b"<html>Sign in</html>"), Answer(204), Answer(403, b"x")):
            self.gitlab.instead = {USER: trouble}
            before = self.calls_made()
            for _ in range(2):
                refusal = self.refusal(ALICE)
                self.assertEqual((refusal.status, refusal.code), (503, "gitlab_unavailable"))
                self.assertIn((b"retry-after", b"5"), refusal.headers)
            self.assertEqual(self.calls_made(), before + 2)
        self.gitlab.instead = {}
        self.assertEqual(self.caller(ALICE).name, "alice")

    def test_retry_after(self) -> None:
        """GitLab is not asked about a token before it wants to be; known ones are good meanwhile."""
        self.caller(BOB)
        self.clock.advance(60)
        self.gitlab.instead = {
            "/": Answer(429, b"Retry later\n", ((b"retry-after", b"60"),)),
        }
        self.assertEqual(self.caller(BOB).name, "bob")
        self.assertIn((b"retry-after", b"60"), self.refusal(ALICE).headers)
        self.gitlab.instead = {}
        before = self.calls_made()
        self.clock.advance(30)
        self.assertEqual(self.caller(BOB).name, "bob")
        self.assertIn((b"retry-after", b"30"), self.refusal(ALICE).headers)
        self.assertEqual(self.calls_made(), before)
        self.clock.advance(30)
        self.assertEqual(self.caller(ALICE).name, "alice")
        self.assertEqual(self.caller(BOB).name, "bob")
        self.assertEqual(self.calls_made(), before + 3)


class SlotTests(AccessCase):
    """Twenty calls in flight."""

    def test_the_twenty_first_waits(self) -> None:
        """It is made when another is over."""
        self.gitlab.instead = {USER: None}
        asking = [self.ask(f"glpat-{number}") for number in range(MOST + 1)]
        self.assertEqual(self.calls_made(), MOST)
        asking[3].cancel()
        self.failureResultOf(asking[3], CancelledError)
        self.assertEqual(self.calls_made(), MOST + 1)
        self.clock.advance(5)
        for each in asking[:3] + asking[4:]:
            self.failureResultOf(each, GitLabAway)

    def test_who_waits_in_vain(self) -> None:
        """503 after five seconds; who leaves the queue takes no place."""
        slots, clock = Slots(self.clock), self.clock
        never: list[Deferred[None]] = [Deferred() for _ in range(MOST)]
        running = [Deferred.fromCoroutine(slots.run(lambda each=each: each)) for each in never]
        waiting = [Deferred.fromCoroutine(slots.run(Deferred)) for _ in range(WAITING)]
        full = Deferred.fromCoroutine(slots.run(Deferred))
        self.assertIn("wait to be asked", self.failureResultOf(full, GitLabAway).value.cause)
        waiting[0].cancel()
        self.failureResultOf(waiting[0], CancelledError)
        clock.advance(WAIT_SECONDS)
        for each in waiting[1:]:
            self.failureResultOf(each, GitLabAway)
        for each in never:
            each.callback(None)
        for run in running:
            self.successResultOf(run)
        self.assertEqual(clock.getDelayedCalls(), [])
        done = [Deferred.fromCoroutine(slots.run(self._at_once)) for _ in range(MOST + 1)]
        self.assertEqual([self.successResultOf(each) for each in done], [7] * (MOST + 1))

    async def _at_once(self) -> int:
        return 7

    def test_a_long_queue_of_short_calls(self) -> None:
        """A thousand who end at once, one behind the other, are no stack a thousand deep."""
        slots = Slots(Clock())
        first: list[Deferred[None]] = [Deferred() for _ in range(MOST)]
        running = [Deferred.fromCoroutine(slots.run(lambda each=each: each)) for each in first]
        waiting = [Deferred.fromCoroutine(slots.run(self._at_once)) for _ in range(WAITING)]
        first[0].callback(None)
        self.assertEqual({self.successResultOf(each) for each in waiting}, {7})
        for each in first[1:]:
            each.callback(None)
        for run in running:
            self.successResultOf(run)


class InvalidTokenTests(AccessCase):
    """Nobody makes GitLab lock the gateway out."""

    def test_an_address_that_guesses(self) -> None:
        """Thirty, then ten a minute; the others, and those who are known, are not in its way."""
        self.caller(ALICE)
        for number in range(BURST):
            self.assertEqual(self.refusal(f"glpat-{number}").status, 401)
        before = self.calls_made()
        refusal = self.refusal("glpat-more")
        self.assertEqual((refusal.status, refusal.code), (429, "too_many_invalid_tokens"))
        self.assertIn((b"retry-after", b"6"), refusal.headers)
        self.assertEqual(self.refusal("glpat-1").status, 401, "known to be invalid")
        self.assertEqual(self.calls_made(), before)
        self.assertEqual(self.refusal("glpat-more", "192.0.2.2").status, 401)
        self.assertEqual(self.caller(ALICE).name, "alice")
        self.clock.advance(60)
        self.assertEqual(self.caller(ALICE).name, "alice", "asked about anew, for it was good")
        for number in range(10):
            self.assertEqual(self.refusal(f"glpat-again-{number}").status, 401)
        self.assertEqual(self.refusal("glpat-again").status, 429)

    def test_all_at_once(self) -> None:
        """Those in flight are few: what comes behind them meets an empty bucket."""
        self.gitlab.instead = {"/": self.held}
        asking = [self.ask(f"glpat-{number}") for number in range(500)]
        statuses: list[int] = []
        for each in asking:
            each.addErrback(lambda failure: statuses.append(failure.value.status))
        self.clock.advance(0.5)
        self.gitlab.instead = {}
        self.clock.pump([0.5, 1.0, 1.0, 1.0, 1.0])
        self.assertEqual(len(statuses), 500)
        self.assertLessEqual(statuses.count(401), BURST + MOST)
        self.assertLess(self.calls_made(), (BURST + MOST) * 4)

    def held(self, asked: Asked) -> Step:
        return Answer(503)

    def test_good_tokens_cost_nothing(self) -> None:
        """A fleet of runners behind one address."""
        self.gitlab.instead = {USER: user_answer("alice"), SELF: FACTS}
        for number in range(200):
            self.caller(f"glpat-good-{number}")

    def test_id_tokens_count_too(self) -> None:
        """Verifying costs this machine, not GitLab; it is bounded as well."""
        self.make(audience="https://elsewhere.example.com")
        for number in range(BURST):
            self.assertEqual(self.refusal(self.gitlab.id_token(f"age={number}")).status, 401)
        self.assertEqual(self.refusal(self.gitlab.id_token("age=99")).status, 429)


class BucketTests(SynchronousTestCase):
    """The table of buckets."""

    def spend(self, buckets: InvalidTokens, address: str, now: float) -> int:
        count = 0
        while not buckets.wait(address, now):
            buckets.sent(address, now)
            count += 1
        return count

    def test_networks(self) -> None:
        """IPv6 by /64, IPv4 in IPv6 as IPv4; loopback and the unknown have one large bucket for everybody."""
        buckets = InvalidTokens()
        self.assertEqual(self.spend(buckets, "192.0.2.1", 0), BURST)
        self.assertGreater(buckets.wait("::ffff:192.0.2.1", 0), 0)
        self.assertEqual(buckets.wait("192.0.2.2", 0), 0)
        self.assertEqual(self.spend(buckets, "2001:db8::1", 0), BURST)
        self.assertGreater(buckets.wait("2001:db8::ffff:1", 0), 0)
        self.assertEqual(buckets.wait("2001:db8:0:1::1", 0), 0)
        self.assertEqual(self.spend(buckets, "127.0.0.1", 0), SHARED_BURST)
        for other in ("::1", "127.9.9.9", ""):
            self.assertGreater(buckets.wait(other, 0), 0)

    def test_refilled(self) -> None:
        """One in six seconds, up to thirty; a clock that was set back locks nobody out for long."""
        buckets = InvalidTokens()
        self.spend(buckets, "192.0.2.1", 1000)
        self.assertAlmostEqual(buckets.wait("192.0.2.1", 1000), SECONDS_EACH)
        self.assertEqual(self.spend(buckets, "192.0.2.1", 1000 + SECONDS_EACH), 1)
        self.assertEqual(self.spend(buckets, "192.0.2.1", 9000), BURST)
        self.assertLessEqual(buckets.wait("192.0.2.1", 0), SECONDS_EACH)
        buckets.sent("192.0.2.1", 0)
        self.assertLessEqual(buckets.wait("192.0.2.1", 0), 2 * SECONDS_EACH)

    def test_those_on_their_way(self) -> None:
        """Whose verdicts come when the bucket is empty already are paid for, before there is one more."""
        buckets = InvalidTokens()
        self.spend(buckets, "192.0.2.1", 1000)
        for _ in range(MOST):
            buckets.sent("192.0.2.1", 1000)
        self.assertAlmostEqual(buckets.wait("192.0.2.1", 1000), (MOST + 1) * SECONDS_EACH)
        self.assertEqual(self.spend(buckets, "192.0.2.1", 1000 + MOST * SECONDS_EACH), 0)
        self.assertEqual(self.spend(buckets, "192.0.2.1", 1000 + (MOST + 1) * SECONDS_EACH), 1)

    def test_bounded(self) -> None:
        """However many addresses somebody has."""
        buckets = InvalidTokens(addresses=100)
        for number in range(1000):
            buckets.sent(f"10.0.{number // 256}.{number % 256}", 0)
        self.assertEqual(len(buckets), 100)


class OutageTests(SynchronousTestCase):
    """What is remembered of GitLab itself."""

    def test_pauses_are_bounded(self) -> None:
        """The oldest is forgotten, and a pause that is over too."""
        outage = Outage()
        for number in range(PAUSES + 1):
            outage.met(b"%d" % number, GitLabAway("x", retry_after=60), 0)
        self.assertEqual(outage.pause(b"0", 1), 0)
        self.assertEqual(outage.pause(b"1", 1), 59)
        self.assertEqual(outage.pause(b"1", 60), 0)
        self.assertEqual(outage.pause(b"1", 0), 0)

    def test_a_clock_that_was_set_back(self) -> None:
        """The probe is not put off for hours."""
        outage = Outage()
        outage.met(b"d", GitLabAway("x", down=True), 10_000)
        self.assertTrue(outage.spares(b"d", 10_001))
        self.assertFalse(outage.spares(b"d", 1))
        self.assertTrue(outage.spares(b"d", 2))
        outage.answered()
        self.assertFalse(outage.spares(b"d", 2))
