"""How long verdicts stand: a minute, not past the token, shared by all who come at once."""

from __future__ import annotations

from unittest.mock import patch

from twisted.internet.defer import CancelledError

from gptproxy.access.refusals import GitLabAway
from tests.access.rig import (
    ALICE,
    BOB,
    OAUTH,
    SELF,
    USER,
    AccessCase,
    user_answer,
)
from tests.upstream.standins import Answer


class CacheTests(AccessCase):
    """How long a verdict stands."""

    def test_known_for_a_minute(self) -> None:
        """GitLab is asked again when the minute is over, not before."""
        for seconds, calls in ((0, 2), (59.9, 2), (0.1, 3), (59.9, 3), (0.1, 4)):
            self.clock.advance(seconds)
            self.assertEqual(self.caller(ALICE).name, "alice")
            self.assertEqual(self.calls_made(), calls)

    def test_a_known_caller_costs_no_task(self) -> None:
        """The path of every call: the coroutine returns at once, without one of the room's others begun."""
        self.caller(ALICE)
        unknown = type(self.access)._unknown
        with patch.object(type(self.access), "_unknown", side_effect=unknown) as begun:
            asking = self.access.caller([(b"authorization", b"Bearer " + ALICE.encode())])
            with self.assertRaises(StopIteration) as stopped:
                asking.send(None)
        self.assertEqual(stopped.exception.value.name, "alice")
        self.assertFalse(begun.called)

    def test_refused_for_half_a_minute(self) -> None:
        """A stale client does not hit GitLab again and again; each refusal is an exception of its own."""
        refusals = []
        for seconds, calls in ((0, 2), (29.9, 2), (0.1, 4)):
            self.clock.advance(seconds)
            refusals.append(self.refusal("glpat-mallory"))
            self.assertEqual(self.calls_made(), calls)
        self.assertEqual(len({id(refusal) for refusal in refusals}), 3)
        self.assertEqual({refusal.body() for refusal in refusals}, {refusals[0].body()})

    def test_a_revoked_token(self) -> None:
        """It is refused cache_seconds after it was revoked at the latest, however late GitLab's answer came."""
        self.caller(ALICE)
        self.clock.advance(60)
        self.gitlab.instead[USER] = None
        asking = self.ask(ALICE)
        # The verdict is four seconds late; the token was good when it was asked about and is revoked now.
        self.clock.advance(4)
        waiting = self.gitlab.agent
        self.assertEqual(waiting.dropped, 0)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.gitlab.instead[USER] = Answer(401, b'{"error":"invalid_token"}')
        refusal = self.refusal(ALICE)
        self.assertIn("revoked", refusal.message)
        # And grace does not bring it back.
        self.gitlab.instead[USER] = Answer(503)
        self.clock.advance(30)
        self.assertEqual(self.refusal(ALICE).status, 503)

    def test_a_tokens_end(self) -> None:
        """No verdict outlives the token: not in the cache, not by grace."""
        self.make(cache_seconds=7200.0, grace_seconds=86_400.0)
        for name, ends in (("today", "2023-11-15"), ("never", None)):
            said = f'"{ends}"' if ends else "null"
            self.gitlab.instead[SELF] = Answer(
                200,
                b'{"user_id":1,"scopes":["api"],"active":true,"revoked":false,"expires_at":%b}'
                % said.encode(),
            )
            self.gitlab.instead[USER] = user_answer(name)
            self.caller(f"glpat-{name}")
        self.gitlab.instead = {"/": Answer(503)}
        # START is 22:13:20 UTC on the 14th.
        left = 1_700_006_400 - self.clock.seconds()
        self.clock.advance(left - 0.1)
        self.assertEqual(self.caller("glpat-today").name, "today")
        self.clock.advance(0.1)
        self.assertEqual(self.refusal("glpat-today").status, 503)
        self.assertEqual(self.caller("glpat-never").name, "never")

    def test_a_blocked_user(self) -> None:
        """What GitLab says of the account ends all of that user's tokens, not others'."""
        self.caller(ALICE)
        self.caller(OAUTH)
        self.caller(BOB)
        self.clock.advance(60)
        self.gitlab.instead[USER] = lambda asked: (
            Answer(403, b'{"message":"403 Forbidden - Your account has been blocked."}')
            if asked.values(b"authorization") == [f"Bearer {ALICE}".encode()]
            else Answer(503)
        )
        self.assertEqual(self.refusal(ALICE).status, 403)
        self.assertEqual(self.refusal(OAUTH).status, 503, "not even by grace")
        asking = self.ask(BOB)
        self.clock.pump([0.5, 1.0])
        self.assertEqual(self.successResultOf(asking).name, "bob")

    def test_refused_then_known(self) -> None:
        """A token that was too narrow works half a minute after it was mended."""
        self.gitlab.instead[USER] = Answer(403, b'{"error":"insufficient_scope"}')
        self.assertEqual(self.refusal(ALICE).status, 403)
        del self.gitlab.instead[USER]
        self.assertEqual(self.refusal(ALICE).status, 403)
        self.clock.advance(30)
        self.assertEqual(self.caller(ALICE).name, "alice")

    def test_tokens_with_equal_ends(self) -> None:
        """The whole token decides, not how it begins or ends."""
        one = "glpat-" + "a" * 40 + "b" + "c" * 40
        other = one.replace("b", "d")
        self.gitlab.instead[USER] = lambda asked: (
            user_answer("one")
            if asked.values(b"authorization") == [b"Bearer " + one.encode()]
            else self.gitlab.really(asked)
        )
        self.gitlab.instead[SELF] = Answer(404, b'{"error":"404 Not Found"}')
        self.assertEqual(self.caller(one).name, "one")
        self.assertEqual(self.refusal(other).status, 401)
        self.assertEqual(self.refusal(one[:20]).status, 401)

    # Many at once

    def test_one_call_for_all(self) -> None:
        """A thousand first requests with one token are one call; one who leaves takes nothing from the others."""
        self.gitlab.instead[USER] = None
        asking = [self.ask(ALICE) for _ in range(1000)]
        self.assertEqual(self.calls_made(), 1)
        asking[0].cancel()
        self.failureResultOf(asking[0], CancelledError)
        self.assertEqual(self.gitlab.agent.dropped, 0)
        self.clock.advance(5)
        for each in asking[1:]:
            self.failureResultOf(each, GitLabAway)

    def test_a_caller_who_leaves(self) -> None:
        """The last one takes the call along, and nothing is remembered."""
        self.gitlab.instead[USER] = None
        asking = self.ask(ALICE)
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.gitlab.agent.dropped, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        del self.gitlab.instead[USER]
        self.assertEqual(self.caller(ALICE).name, "alice")
