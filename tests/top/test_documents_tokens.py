"""Embeddings of an upstream that takes no key but Entra ID's tokens."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import EntraSettings, KnowledgeSettings, Secret
from gptproxy.documents import embed_with, question_embedding
from gptproxy.http import OwnCalls
from gptproxy.upstream import EntraTokens
from tests.api.rig import SETTINGS
from tests.upstream.examples import PRIMARY
from tests.upstream.standins import Answer, ScriptedAgent

ENTRA = EntraSettings(tenant="t", client_id="c", client_secret=Secret("entra-secret"))
UPSTREAM = evolve(PRIMARY, api_key=None, entra=ENTRA, deployments={"ada": "ada2"})
TOKEN = Answer(200, b'{"access_token":"a-token","expires_in":3600,"token_type":"Bearer"}')
VECTORS = Answer(200, b'{"data":[{"index":0,"embedding":[1.0,0.0]}],"model":"ada","object":"list"}')


class TokensTests(SynchronousTestCase):
    def test_they_are_fetched(self) -> None:
        """For documents that are added, and for questions."""
        clock = Clock()
        settings = evolve(SETTINGS, upstreams=(UPSTREAM,))
        knowledge = KnowledgeSettings(Path("unused.db"), embedding_model="ada")
        for questions in (False, True):
            agent = ScriptedAgent((TOKEN, VECTORS))
            calls = OwnCalls(agent, clock, lambda: 1.0)
            tokens = EntraTokens(calls, clock, lambda _: Deferred())
            if questions:
                embed = question_embedding(settings, knowledge, calls, tokens)("ada", None)
            else:
                embed = embed_with(settings, knowledge, calls, 30.0, tokens=tokens)
            self.assertEqual(self.successResultOf(embed(["one"])).shape, (1, 2))
            self.assertEqual(agent.asked[1].values(b"authorization"), [b"Bearer a-token"])
