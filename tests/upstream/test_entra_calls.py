"""Calls to an upstream that takes tokens of Entra ID, callers' and gptproxy's own."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from gptproxy.config import RetrySettings, StreamSettings, UpstreamSettings
from gptproxy.http import OwnCalls
from gptproxy.upstream import (
    Embedder,
    EntraTokens,
    NoEmbeddings,
    NoUpstreamAnswer,
    Sender,
    Target,
    UpstreamAnswer,
)
from tests.upstream.entra_case import CLIENT, OK, EntraCase, bearer, granted
from tests.upstream.examples import PRIMARY, a_call
from tests.upstream.sender_case import error
from tests.upstream.standins import Asked, ScriptedAgent, Step


def with_entra() -> UpstreamSettings:
    return evolve(PRIMARY, api_key=None, entra=CLIENT)


class SenderTests(EntraCase):
    """Calls to an upstream that takes tokens."""

    def send(self, tokens: EntraTokens | None, *script: Step) -> Deferred[UpstreamAnswer]:
        self.agent = ScriptedAgent(script)
        sender = Sender(
            self.agent,  # type: ignore[arg-type]  # its stand-in
            self.clock,
            lambda: 1.0,
            RetrySettings(),
            StreamSettings(),
            tokens,
        )
        targets = (Target(with_entra(), "gpt-4-east"),)
        return Deferred.fromCoroutine(sender.send(a_call(), targets, own_key=False, request_id="r"))

    def sent(self) -> list[list[bytes]]:
        return [asked.values(b"authorization") for asked in self.agent.asked]

    def test_a_token_in_the_place_of_the_key(self) -> None:
        """As Bearer; the caller's own never goes up."""
        self.successResultOf(self.send(self.tokens(granted()), OK))
        self.assertEqual(self.sent(), [bearer()])
        self.assertEqual(self.agent.asked[0].values(b"api-key"), [])

    def test_a_token_that_is_refused(self) -> None:
        """Another is fetched, and the call is sent again at once."""
        answer = self.successResultOf(
            self.send(self.tokens(granted(1), granted(2)), error(401), OK)
        )
        self.assertEqual((answer.attempts, self.sent()), (2, [bearer(1), bearer(2)]))

    def test_every_token_is_refused(self) -> None:
        """Twice is enough: the role is missing, says the 502."""
        sending = self.send(self.tokens(granted(1), granted(2)), error(401), error(401))
        refusal = self.failureResultOf(sending, NoUpstreamAnswer).value
        self.assertEqual(refusal.status, 502)

    def test_no_token(self) -> None:
        """Nothing is sent."""
        sending = self.send(self.tokens(error(401)))
        refusal = self.failureResultOf(sending, NoUpstreamAnswer).value
        self.assertEqual((refusal.status, refusal.code), (502, "upstream_credentials_refused"))
        self.assertEqual(self.agent.asked, [])

    def test_nobody_fetches(self) -> None:
        """A fault of ours, not a call without credentials."""
        self.failureResultOf(self.send(None, OK), RuntimeError)

    def test_embeddings(self) -> None:
        """The same for gptproxy's own calls."""

        def step(asked: Asked) -> Step:
            return OK

        self.agent = ScriptedAgent(step)
        calls = OwnCalls(self.agent, self.clock, lambda: 1.0)
        tokens = self.tokens(granted(), error(401))
        embedder = Embedder([with_entra()], "refuse", "ada", calls, tokens=tokens)
        self.successResultOf(Deferred.fromCoroutine(embedder.answer(["a"])))
        self.assertEqual(self.sent(), [bearer()])
        self.clock.advance(3601)
        self.failureResultOf(Deferred.fromCoroutine(embedder.answer(["a"])), NoEmbeddings)

    def test_embeddings_with_a_token_that_is_refused(self) -> None:
        """Another is fetched, once: a role that is missing is not mended by a third."""
        for second, asked in ((OK, 2), (error(401), 2)):
            self.agent = ScriptedAgent([error(401), second])
            calls = OwnCalls(self.agent, self.clock, lambda: 1.0)
            tokens = self.tokens(granted(1), granted(2))
            embedder = Embedder([with_entra()], "refuse", "ada", calls, tokens=tokens)
            asking = Deferred.fromCoroutine(embedder.answer(["a"]))
            if second is OK:
                self.successResultOf(asking)
            else:
                self.failureResultOf(asking, NoEmbeddings)
            self.assertEqual(len(self.agent.asked), asked)
            self.assertEqual(self.sent(), [bearer(1), bearer(2)])

    def test_embeddings_without_tokens(self) -> None:
        """Nobody fetches them: that is said, and nothing is sent without credentials."""
        self.agent = ScriptedAgent([])
        calls = OwnCalls(self.agent, self.clock, lambda: 1.0)
        embedder = Embedder([with_entra()], "refuse", "ada", calls)
        self.failureResultOf(Deferred.fromCoroutine(embedder.answer(["a"])), NoEmbeddings)
        self.assertEqual(self.agent.asked, [])
