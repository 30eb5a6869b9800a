"""Embeddings for gptproxy's own use, from whichever upstream gives them."""

from __future__ import annotations

import orjson
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import UpstreamSettings
from gptproxy.http import OwnCalls
from gptproxy.upstream import Embedder, NoEmbeddings
from gptproxy.upstream.embedding import ANSWER_LIMIT_BYTES
from gptproxy.wire import Refusal
from tests.upstream.examples import KEY, LOCAL, OPENAI, PRIMARY
from tests.upstream.standins import Answer, ScriptedAgent, Step, leaks

VECTORS = b'{"object":"list","data":[]}'


class EmbedderTests(SynchronousTestCase):
    """Over an agent in memory."""

    def setUp(self) -> None:
        self.clock = Clock()

    def ask(
        self, *script: Step, upstreams: tuple[UpstreamSettings, ...] = (PRIMARY, OPENAI)
    ) -> Deferred[bytes]:
        self.agent = ScriptedAgent(script)
        calls = OwnCalls(self.agent, self.clock, lambda: 1.0)
        embedder = Embedder(upstreams, "refuse", "ada", calls, 30.0)
        return Deferred.fromCoroutine(embedder.answer(["one", 'tw"ö']))

    def test_from_azure(self) -> None:
        """The deployment in the path and the body, Azure's key, vectors in base64."""
        self.assertEqual(self.successResultOf(self.ask(Answer(200, VECTORS))), VECTORS)
        (asked,) = self.agent.asked
        self.assertEqual(
            (asked.method, asked.origin.host, asked.target),
            (
                b"POST",
                "gpt1.openai.azure.com",
                b"/openai/deployments/ada2/embeddings?api-version=2024-10-21",
            ),
        )
        self.assertEqual(asked.values(b"api-key"), [KEY.encode()])
        self.assertEqual(asked.values(b"authorization"), [])
        self.assertEqual(asked.values(b"content-type"), [b"application/json"])
        self.assertEqual(
            orjson.loads(asked.body or b""),
            {"model": "ada2", "input": ["one", 'tw"ö'], "encoding_format": "base64"},
        )

    def test_from_openai(self) -> None:
        """A bearer, and the model's own name."""
        self.successResultOf(self.ask(Answer(200, VECTORS), upstreams=(OPENAI,)))
        (asked,) = self.agent.asked
        self.assertEqual(asked.target, b"/v1/embeddings")
        self.assertEqual(asked.values(b"authorization"), [b"Bearer " + KEY.encode()])
        self.assertEqual(orjson.loads(asked.body or b"")["model"], "ada")

    def test_the_next_upstream(self) -> None:
        """A status of 300 and above is an error, whatever comes with it; what fails is not waited for twice."""
        for status in (300, 302, 400, 401, 404):
            asking = self.ask(Answer(status, VECTORS), Answer(200, b"second"))
            self.assertEqual(self.successResultOf(asking), b"second")
            self.assertEqual(
                [asked.origin.host for asked in self.agent.asked],
                ["gpt1.openai.azure.com", "api.openai.com"],
            )

    def test_trouble_that_passes(self) -> None:
        """The same upstream is asked again, as for every own call."""
        asking = self.ask(Answer(503), ConnectionLost(), Answer(200, VECTORS))
        self.clock.pump([0.5, 1.0])
        self.assertEqual(self.successResultOf(asking), VECTORS)

    def test_none(self) -> None:
        """The reasons name each upstream and its trouble, nothing else."""
        asking = self.ask(Answer(401, KEY.encode()), *[ConnectionLost()] * 3)
        self.clock.pump([0.5, 1.0])
        none = self.failureResultOf(asking, NoEmbeddings).value
        self.assertEqual(str(none), "upstream primary: status 401; upstream openai: ConnectionLost")
        self.assertFalse(leaks(KEY, none))

    def test_too_slow(self) -> None:
        """Each upstream has its time, and no more."""
        asking = self.ask(None, None)
        self.clock.advance(30)
        self.assertEqual((self.agent.dropped, len(self.agent.asked)), (1, 2))
        self.clock.advance(30)
        self.failureResultOf(asking, NoEmbeddings)

    def test_too_large(self) -> None:
        """What no answer needs is not read."""
        huge = Answer(200, b"x" * (ANSWER_LIMIT_BYTES + 1))
        self.failureResultOf(self.ask(huge, upstreams=(PRIMARY,)), NoEmbeddings)

    def test_leaving(self) -> None:
        """It ends the call; the next upstream is not asked."""
        asking = self.ask(None, Answer(200, VECTORS))
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual((self.agent.dropped, len(self.agent.asked)), (1, 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_has_the_model(self) -> None:
        """That is known at the start."""
        with self.assertRaises(Refusal):
            self.ask(upstreams=(LOCAL,))
