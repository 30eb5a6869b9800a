"""GitLab is asked with the token alone, for a short time, and its answers are tables."""

from __future__ import annotations

from collections.abc import Callable

import treq
import treq.testing
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from gptproxy.access import Caller
from gptproxy.access.gitlab import VERDICT_SECONDS, GitLab
from gptproxy.access.gitlab_api import ANSWER_LIMIT_BYTES, TOTAL_SECONDS
from gptproxy.access.refusals import GitLabAway
from gptproxy.access.verdicts import Judgement
from gptproxy.config import GitLabSettings, Secret
from gptproxy.http import ConnectFailed, FirstByteTimeout, Origin, OwnCalls
from gptproxy.wire import Refusal
from tests.access.test_gitlab import ALICE, JOB, NO_VERDICTS, TOKEN, VERDICTS
from tests.upstream.standins import Answer, Asked, ScriptedAgent, Step


class AskingTests(SynchronousTestCase):
    """With the token itself, over an agent in memory."""

    URL = "https://git.corp.com/gitlab"

    def setUp(self) -> None:
        self.clock = Clock()

    def ask(
        self, script: list[Step] | Callable[[Asked], Step], token: str = TOKEN
    ) -> Deferred[Judgement]:
        self.agent = ScriptedAgent(script)
        gitlab = GitLab(
            GitLabSettings(self.URL), OwnCalls(self.agent, self.clock, lambda: 1), self.clock
        )
        return Deferred.fromCoroutine(gitlab.judge(Secret(token), None, lambda: None))

    def test_what_is_sent(self) -> None:
        """Exactly the bearer, to the configured address; no cookie, no other spelling of the token."""
        answers: list[Step] = [Answer(200, ALICE), Answer(404, b'{"error":"404 Not Found"}')]
        verdict = self.successResultOf(self.ask(answers)).verdict
        assert isinstance(verdict, Caller)
        self.assertEqual(verdict.name, "alice.b-c_d")
        self.assertEqual(
            [asked.target for asked in self.agent.asked],
            [b"/gitlab/api/v4/user", b"/gitlab/api/v4/personal_access_tokens/self"],
        )
        for asked in self.agent.asked:
            self.assertEqual(
                (asked.method, asked.origin, asked.body),
                (b"GET", Origin(True, "git.corp.com", 443), None),
            )
            self.assertEqual(
                sorted(asked.fields),
                [
                    (b"accept", b"application/json"),
                    (b"accept-encoding", b"gzip"),
                    (b"authorization", b"Bearer glpat-secret"),
                ],
            )

    def test_no_redirection_is_followed(self) -> None:
        """Wherever it points: the token goes to the configured host only."""
        for token in ("glpat-secret", "glcbt-secret"):
            for status in (301, 302, 303, 307, 308):
                page = ((b"location", b"https://git.corp.com/users/sign_in"),)
                away = self.ask([Answer(status, b"", page)], token)
                self.failureResultOf(away, GitLabAway)
                self.assertEqual(len(self.agent.asked), 1)

    def test_every_body_for_a_job_token(self) -> None:
        """The table of errors holds for ``GET /job``; 404 is what a good token of another kind gets there."""
        for status, body, expected, _, _ in VERDICTS:
            verdict = self.successResultOf(self.ask([Answer(status, body)], "glcbt-x")).verdict
            assert isinstance(verdict, Refusal)
            self.assertEqual(verdict.status, expected)
        for status, body in NO_VERDICTS:
            if status == 404:
                verdict = self.successResultOf(self.ask([Answer(status, body)], "glcbt-x")).verdict
                assert isinstance(verdict, Refusal)
                self.assertEqual(verdict.status, 401)
                continue
            away = self.ask([Answer(status, body)] * 3, "glcbt-x")
            self.clock.pump([0.5, 1.0])
            self.failureResultOf(away, GitLabAway)

    def test_a_blocked_users_job(self) -> None:
        """Their account is what is refused."""
        user = ALICE.replace(b"active", b"blocked")
        judgement = self.successResultOf(self.ask([Answer(200, JOB % (user, b""))], "glcbt-x"))
        self.assertTrue(judgement.about_account)
        self.assertEqual(judgement.user_id, 7)

    def test_trouble_that_passes(self) -> None:
        """One bad gateway while GitLab is deployed is nobody's trouble."""
        last = Answer(404, b'{"error":"404 Not Found"}')
        asking = self.ask([Answer(502, b"<html>"), ConnectionLost(), Answer(200, ALICE), last])
        self.clock.pump([0.5, 1.0])
        self.assertIsInstance(self.successResultOf(asking).verdict, Caller)

    def test_trouble_that_stays(self) -> None:
        """After three attempts GitLab is away."""
        for trouble in (
            ConnectFailed(Origin(True, "git.corp.com", 443), Failure(OSError())),
            ConnectionLost(),
            FirstByteTimeout(),
            Answer(503, b"<html>"),
        ):
            asking = self.ask([trouble] * 3)
            self.clock.pump([0.5, 1.0])
            away = self.failureResultOf(asking, GitLabAway).value
            self.assertEqual((away.status, away.down), (503, True))
            self.assertNotIn("glpat-secret", f"{away!r} {away.cause} {away.message}")

    def test_too_slow(self) -> None:
        """A call takes five seconds at most, and is given up then."""
        asking = self.ask([None])
        self.clock.advance(TOTAL_SECONDS - 0.1)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        self.assertIn("TimeoutError", self.failureResultOf(asking, GitLabAway).value.cause)
        self.assertEqual(self.agent.dropped, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many_slow_calls(self) -> None:
        """A verdict that needs several is bounded as a whole."""

        self.patch(GitLab, "_asked", lambda *_: Deferred())
        asking = self.ask([])
        self.clock.advance(VERDICT_SECONDS)
        self.failureResultOf(asking, GitLabAway)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_told_to_wait(self) -> None:
        """A Retry-After within the five seconds is waited for, one beyond them is not, nor is GitLab asked before."""
        asking = self.ask(
            [
                Answer(429, b"Retry later\n", ((b"retry-after", b"2"),)),
                Answer(401, b'{"error":"invalid_token"}'),
            ]
        )
        self.clock.advance(1.9)
        self.assertEqual(len(self.agent.asked), 1)
        self.clock.advance(0.1)
        self.successResultOf(asking)
        asking = self.ask([Answer(429, b"Retry later\n", ((b"retry-after", b"60"),))])
        away = self.failureResultOf(asking, GitLabAway).value
        self.assertEqual((away.retry_after, away.down), (60.0, False))

    def test_too_large(self) -> None:
        """A user's JSON is 2 KiB: what is above 64 KiB is not read."""
        asking = self.ask([Answer(200, ALICE.ljust(ANSWER_LIMIT_BYTES + 1))])
        self.assertIn("ResponseTooLarge", self.failureResultOf(asking, GitLabAway).value.cause)
        last = Answer(404, b'{"error":"404 Not Found"}')
        self.successResultOf(self.ask([Answer(200, ALICE.ljust(ANSWER_LIMIT_BYTES)), last]))

    def test_a_cut_answer(self) -> None:
        """Half a user is none."""
        asking = self.ask([Answer(200, ALICE, end=ConnectionLost())] * 3)
        self.clock.pump([0.5, 1.0])
        self.failureResultOf(asking, GitLabAway)

    def test_who_asks_leaves(self) -> None:
        """The call is given up, in each of its phases."""
        steps: list[tuple[Step, int, str]] = [
            (None, 1, "waiting for the head"),
            (Answer(200, ALICE, end=None), 1, "reading the body"),
            (Answer(503), 0, "waiting between attempts"),
        ]
        for step, dropped, phase in steps:
            asking = self.ask([step])
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            self.assertEqual(self.clock.getDelayedCalls(), [], phase)
            self.assertEqual(len(self.agent.asked), 1, phase)
            self.assertEqual(self.agent.dropped, dropped, phase)


class _GitLabPage(Resource):
    """GitLab's pages, as a Resource of Twisted."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        if request.getHeader("authorization") != "Bearer glpat-secret":
            request.setResponseCode(401)
            return b'{"message":"401 Unauthorized"}'
        if request.getHeader("cookie"):
            request.setResponseCode(500)
        request.addCookie(b"_gitlab_session", b"0")
        if request.path.endswith(b"/self"):
            return b'{"user_id":7,"scopes":["api"],"active":true,"revoked":false}'
        return ALICE


class StubTests(SynchronousTestCase):
    """The same over treq's own test server."""

    def test_known_and_unknown(self) -> None:
        """Both verdicts, and the session's cookie is not brought back."""
        agent, clock = treq.testing.RequestTraversalAgent(_GitLabPage()), Clock()
        calls = OwnCalls(agent, clock, lambda: 1)
        gitlab = GitLab(GitLabSettings("http://127.0.0.1"), calls, clock)
        verdicts = []
        for token in ("glpat-secret", "glpat-secret", "glpat-other"):
            asking = Deferred.fromCoroutine(gitlab.judge(Secret(token), None, lambda: None))
            agent.flush()
            agent.flush()
            verdicts.append(self.successResultOf(asking).verdict)
        self.assertIsInstance(verdicts[0], Caller)
        self.assertEqual(verdicts[0], verdicts[1])
        assert isinstance(verdicts[2], Refusal)
        self.assertEqual(verdicts[2].status, 401)
