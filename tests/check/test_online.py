"""Tests of :mod:`gptproxy.check.online`."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.check import Finding, Level, check_online
from gptproxy.config import (
    EntraSettings,
    GitLabSettings,
    KnowledgeSettings,
    Secret,
    Settings,
    UpstreamSettings,
)
from gptproxy.config.operation_schema import tls_beside
from gptproxy.http import OwnCalls
from gptproxy.upstream import EntraTokens
from tests.top.rig import folder_of
from tests.upstream.examples import KEY, LOCAL, OPENAI, PRIMARY
from tests.upstream.standins import Answer, Asked, ScriptedAgent, Step

MODELS = Answer(200, b'{"data":[]}')
VERSION = Answer(200, b'{"version":"18.2.1"}')
GITLAB = GitLabSettings(url="https://git.example.com")
SERVICE = evolve(GITLAB, service_token=Secret("glpat-CANARY"))
ENTRA = evolve(
    PRIMARY,
    api_key=None,
    entra=EntraSettings(tenant="t", client_id="c", client_secret=Secret("SECRETCANARY")),
)


class OnlineTests(SynchronousTestCase):
    """Over an agent in memory."""

    def settings(
        self, *upstreams: UpstreamSettings, gitlab: GitLabSettings | None = None
    ) -> Settings:
        return Settings(
            source="g.toml", tls=tls_beside(folder_of(self)), upstreams=upstreams, gitlab=gitlab
        )

    def found(self, settings: Settings, answer: Callable[[Asked], Step] | Step) -> list[Finding]:
        clock = Clock()
        self.agent = ScriptedAgent(answer if callable(answer) else lambda _: answer)
        calls = OwnCalls(self.agent, clock, lambda: 1.0)
        tokens = EntraTokens(calls, clock, lambda _: succeed(b""))
        looking = Deferred.fromCoroutine(check_online(settings, calls, tokens))
        clock.pump([1.0] * 60)
        return self.successResultOf(looking)

    def one(self, what: UpstreamSettings | GitLabSettings, answer: Step) -> tuple[Level, str]:
        settings = (
            self.settings(what)
            if isinstance(what, UpstreamSettings)
            else self.settings(gitlab=what)
        )
        (finding,) = self.found(settings, answer)
        self.assertNotIn("CANARY", str(finding))
        return finding.level, finding.message

    def test_all_are_asked(self) -> None:
        """Upstreams for their models, with their keys, and GitLab for its version; in order."""

        def answer(asked: Asked) -> Step:
            return VERSION if asked.origin.host == "git.example.com" else MODELS

        findings = self.found(self.settings(PRIMARY, OPENAI, LOCAL, gitlab=SERVICE), answer)
        self.assertEqual(
            [(each.level, each.subject) for each in findings],
            [
                (Level.GOOD, "upstream primary"),
                (Level.GOOD, "upstream openai"),
                (Level.GOOD, "upstream local"),
                (Level.GOOD, "GitLab"),
            ],
        )
        self.assertEqual(findings[3].message, "https://git.example.com is version 18.2.1")
        self.assertIn("no key", findings[2].message)
        azure, openai, local, gitlab = self.agent.asked
        self.assertEqual(azure.target, b"/openai/models?api-version=2024-10-21")
        self.assertEqual(azure.values(b"api-key"), [KEY.encode()])
        self.assertEqual((openai.method, openai.target), (b"GET", b"/v1/models"))
        self.assertEqual(openai.values(b"authorization"), [b"Bearer " + KEY.encode()])
        self.assertEqual(local.values(b"authorization"), [])
        self.assertEqual(gitlab.target, b"/api/v4/version")
        self.assertEqual(gitlab.values(b"private-token"), [b"glpat-CANARY"])

    def test_an_upstream(self) -> None:
        """What its answers mean."""
        for answer, words in [
            (Answer(401, b"{}"), "refuses the key (status 401)"),
            (Answer(403, b"{}"), "refuses the key (status 403)"),
            (Answer(404, b"{}"), "answers 404: see to its url"),
            (Answer(200, b"<html>"), "answers 200, and not with JSON"),
            (Answer(200, b"[]"), "answers 200, and not with JSON"),
            (ConnectionLost(), "does not answer: ConnectionLost"),
            (None, "does not answer: TimeoutError"),
        ]:
            level, message = self.one(PRIMARY, answer)
            self.assertEqual(level, Level.ERROR)
            self.assertIn(words, message)
        self.assertIn("wants a key", self.one(LOCAL, Answer(401))[1])

    def test_entra(self) -> None:
        """A token is fetched and shown; where there is none, that is the finding."""

        def answer(asked: Asked) -> Step:
            if asked.method == b"POST":
                return Answer(200, b'{"access_token":"abc","expires_in":3600}')
            return MODELS if asked.values(b"authorization") == [b"Bearer abc"] else Answer(401)

        (finding,) = self.found(self.settings(ENTRA), answer)
        self.assertEqual(finding.level, Level.GOOD)
        self.assertIn("takes the token", finding.message)
        level, message = self.one(ENTRA, Answer(401, b'{"error":"invalid_client"}'))
        self.assertEqual(level, Level.ERROR)
        self.assertIn("invalid_client: see to [upstream.entra]", message)

    def test_gitlab(self) -> None:
        """Without a token it does not say its version; a login page is not GitLab."""
        for gitlab, answer, level, words in [
            (GITLAB, Answer(401, b'{"message":"401 Unauthorized"}'), Level.GOOD, "answers; which"),
            (SERVICE, Answer(401, b'{"message":"x"}'), Level.ERROR, "refuses the service_token"),
            (SERVICE, Answer(403, b'{"message":"x"}'), Level.ERROR, "refuses the service_token"),
            (GITLAB, Answer(200, b"<html>"), Level.ERROR, "not as GitLab does"),
            (GITLAB, Answer(404, b"[]"), Level.ERROR, "not as GitLab does"),
            (GITLAB, ConnectionLost(), Level.ERROR, "does not answer"),
        ]:
            found = self.one(gitlab, answer)
            self.assertEqual(found[0], level)
            self.assertIn(words, found[1])

    def test_a_server_for_embeddings(self) -> None:
        """Is none of the upstreams, and is asked like one."""
        knowledge = KnowledgeSettings(
            folder_of(self) / "k.db",
            embedding_url="http://127.0.0.1:7/v1",
            embedding_key=Secret("x"),
        )
        findings = self.found(evolve(self.settings(OPENAI), knowledge=knowledge), MODELS)
        self.assertEqual(
            [each.subject for each in findings], ["upstream openai", "upstream embeddings"]
        )

    def test_a_look_that_fails(self) -> None:
        """Is a finding, and the others are told."""

        def answer(asked: Asked) -> Step:
            return ZeroDivisionError("x") if asked.origin.host == "127.0.0.1" else MODELS

        first, second = self.found(self.settings(LOCAL, OPENAI), answer)
        self.assertEqual(
            (first.level, first.message), (Level.ERROR, "cannot be asked: ZeroDivisionError")
        )
        self.assertEqual(second.level, Level.GOOD)
