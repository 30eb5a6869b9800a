"""A token server that follows a script, as the tests of Entra ID use it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import EntraSettings, Secret
from gptproxy.http import OwnCalls
from gptproxy.upstream import EntraTokens
from gptproxy.upstream.entra import NoToken
from tests.upstream.standins import Answer, ScriptedAgent, Step, leaks

SECRET = "SECRETCANARY-3c4d5e6f7a8b"
TOKEN = "TOKENCANARY-eyJ0eXAiOiJKV1Qi"
ASSERTION = "ASSERTIONCANARY-eyJhbGciOi"
CLIENT = EntraSettings(tenant="contoso.com", client_id="app-1", client_secret=Secret(SECRET))
OK = Answer(200, b'{"id":"c1"}')
MIDNIGHT = 1_790_000_000
"""The time of day at which the tests' clock starts, in seconds since 1970."""


def granted(number: int = 1, lasts: object = 3600) -> Answer:
    """:return: the token server's answer."""
    return Answer(
        200,
        orjson.dumps(
            {"token_type": "Bearer", "expires_in": lasts, "access_token": f"{TOKEN}-{number}"}
        ),
    )


def bearer(number: int = 1) -> list[bytes]:
    return [f"Bearer {TOKEN}-{number}".encode()]


class EntraCase(SynchronousTestCase):
    """A clock, a token server that follows a script, and everything that is logged."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[dict[str, Any]] = []
        observer: Callable[[Any], None] = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def tokens(
        self, *script: Step, read: Callable[[Path], Deferred[bytes]] | None = None
    ) -> EntraTokens:
        self.server = ScriptedAgent(script)
        calls = OwnCalls(self.server, self.clock, lambda: 1.0)
        reads = read or (lambda _: succeed(ASSERTION.encode()))
        return EntraTokens(calls, self.clock, reads, lambda: MIDNIGHT + self.clock.seconds())

    def ask(self, tokens: EntraTokens, entra: EntraSettings = CLIENT) -> Deferred[bytes]:
        return Deferred.fromCoroutine(tokens.token("primary", entra))

    def no_token(self, *script: Step, entra: EntraSettings = CLIENT) -> str:
        """:return: why there is none."""
        asking = self.ask(self.tokens(*script), entra)
        self.clock.pump([1.0] * 3)
        reason = str(self.failureResultOf(asking, NoToken).value)
        self.assertFalse(leaks(SECRET, reason, *self.events))
        return reason
