"""GitLab's keys are fetched rarely, from the configured GitLab only, and what they sign is good for a while."""

from __future__ import annotations

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from gptproxy.access.signing_keys import (
    AFTER_FAILURE_SECONDS,
    BETWEEN_SECONDS,
    FRESH_SECONDS,
    STALE_SECONDS,
)
from tests.access.rig import ALICE, AUDIENCE, AccessCase
from tests.access.test_id_token import CLAIMS, KEY, KEYS, OTHER_KEY, forged, listed, pem
from tests.upstream.standins import Answer


class KeysTests(AccessCase):
    """GitLab's keys are fetched rarely, from the configured GitLab only."""

    def setUp(self) -> None:
        super().setUp()
        self.make(audience=AUDIENCE)

    def keys_of(self, *keys: dict[str, object]) -> None:
        self.gitlab.instead[KEYS] = Answer(200, json.dumps({"keys": keys}).encode())

    def token(self, number: int, kid: str = "k1", key: rsa.RSAPrivateKey = KEY) -> str:
        now = int(self.clock.seconds())
        claims = {
            **CLAIMS,
            "iss": "http://127.0.0.1:8929",
            "exp": now + 10**6,
            "nbf": now,
            "jti": str(number),
        }
        return jwt.encode(claims, pem(key), algorithm="RS256", headers={"kid": kid})

    def test_one_fetch(self) -> None:
        """A thousand jobs at once make one call, without any credential; the next thousand none."""
        tokens = [self.gitlab.id_token(f"age={number}") for number in range(20)]
        self.gitlab.instead[KEYS] = None
        asking = [self.ask(token) for token in tokens]
        self.assertEqual(self.gitlab.paths(), [KEYS])
        self.assertEqual(self.gitlab.agent.asked[0].values(b"authorization"), [])
        self.clock.advance(5)
        for each in asking:
            self.assertEqual(self.failureResultOf(each).value.status, 503)
        self.clock.advance(AFTER_FAILURE_SECONDS)
        del self.gitlab.instead[KEYS]
        for token in tokens:
            self.assertEqual(self.caller(token).owner, "gitlab:1")
        self.assertEqual(self.gitlab.paths(), [KEYS] * 2)

    def test_until_it_expires(self) -> None:
        """The verdict ends with the token, whatever the cache's time."""
        self.make(audience=AUDIENCE, cache_seconds=7200.0)
        token = self.gitlab.id_token()
        self.clock.advance(3599)
        self.caller(token)
        self.clock.advance(30.9)
        self.assertEqual(self.caller(token).name, "alice")
        self.clock.advance(0.1)
        self.assertIn("expired", self.refusal(token).message)

    def test_an_unknown_key(self) -> None:
        """It is looked for once a minute; a new one is found then."""
        self.keys_of(listed())
        self.caller(self.token(1))
        self.clock.advance(1)
        for number in range(5):
            self.assertEqual(self.refusal(self.token(number, "k2", OTHER_KEY)).status, 401)
        self.assertEqual(self.gitlab.paths(), [KEYS])
        self.keys_of(listed(), listed(OTHER_KEY, kid="k2"))
        self.clock.advance(BETWEEN_SECONDS)
        self.caller(self.token(6, "k2", OTHER_KEY))
        self.caller(self.token(7))
        self.assertEqual(self.gitlab.paths(), [KEYS] * 2)

    def test_a_withdrawn_key(self) -> None:
        """It is trusted for an hour at most."""
        self.keys_of(listed())
        self.caller(self.token(1))
        self.keys_of(listed(OTHER_KEY, kid="k2"))
        self.clock.advance(FRESH_SECONDS - 1)
        self.caller(self.token(2))
        self.clock.advance(1)
        self.assertEqual(self.refusal(self.token(3)).status, 401)

    def test_gitlab_away(self) -> None:
        """Known keys are good for a day more; unknown ones are nobody's fault: 503, without a call each time."""
        self.keys_of(listed())
        self.caller(self.token(1))
        self.gitlab.instead[KEYS] = Answer(302, b"")
        self.clock.advance(FRESH_SECONDS)
        self.caller(self.token(2))
        for number in range(10):
            self.assertEqual(self.refusal(self.token(number, "k2")).status, 503)
        self.assertEqual(self.gitlab.paths(), [KEYS] * 2)
        self.clock.advance(STALE_SECONDS)
        self.assertEqual(self.refusal(self.token(3)).status, 503)
        for answer in (Answer(200, b"<html>"), Answer(500)):
            self.gitlab.instead[KEYS] = answer
            self.clock.advance(AFTER_FAILURE_SECONDS)
            self.assertEqual(self.refusal(self.token(4)).status, 503)

    def test_a_clock_that_was_set_back(self) -> None:
        """The keys are fetched anew rather than kept for ever."""
        self.keys_of(listed())
        self.caller(self.token(1))
        self.clock.rightNow -= 1000
        self.caller(self.token(2))
        self.assertEqual(self.gitlab.paths(), [KEYS] * 2)

    def test_no_word_of_gitlabs_health(self) -> None:
        """An offline verdict is not taken for GitLab's being back."""
        self.keys_of(listed())
        self.caller(self.token(1))
        self.caller(ALICE)
        self.clock.advance(60)
        self.gitlab.instead["/api"] = None
        asking = self.ask(ALICE)
        self.clock.advance(5)
        self.successResultOf(asking)
        self.caller(self.token(2))
        self.assertEqual(self.caller(ALICE).name, "alice", "at once")

    def test_tokens_that_are_not_gitlabs(self) -> None:
        """Nobody is asked about a token of another algorithm or without a key's name."""
        for header in ({"alg": "none", "kid": "k1"}, {"alg": "RS256"}):
            self.assertEqual(self.refusal(forged(header)).status, 401)
        self.assertEqual(self.calls_made(), 0)
