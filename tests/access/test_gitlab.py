"""What GitLab says of a token is a verdict, or it is none; it is asked with the token alone."""

from __future__ import annotations

import pytest
import treq
import treq.testing
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request

from gptproxy.access import Caller, GitLab
from gptproxy.access.gitlab import ANSWER_LIMIT_BYTES, TOTAL_SECONDS, GitLabAway, judge
from gptproxy.access.verdicts import Verdict
from gptproxy.config import Secret
from gptproxy.http import ConnectFailed, FirstByteTimeout, Origin, OwnAnswer, OwnCalls
from gptproxy.wire import Refusal
from tests.upstream.standins import Answer, ScriptedAgent, Step

ALICE = b'{"id":7,"username":"alice.b-c_d","state":"active","email":"a@corp.com","bot":false}'
LOGIN_PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"


def test_a_user() -> None:
    """The name is for the log; nothing else of the user is kept."""
    assert judge(OwnAnswer(200, ALICE)) == Caller("gitlab", "alice.b-c_d")


@pytest.mark.parametrize(
    ("status", "body", "expected", "code", "says"),
    [
        (401, b'{"message":"401 Unauthorized"}', 401, "invalid_api_key", "not a valid GitLab"),
        (
            401,
            (
                b'{"error":"invalid_token","error_description":"Token was revoked. You have to '
                b're-authorize from the user."}'
            ),
            401,
            "invalid_api_key",
            "expired or revoked",
        ),
        (
            401,
            (
                b'{"error":"invalid_token","error_description":"Token is expired. You can either do '
                b're-authorization or token refresh."}'
            ),
            401,
            "invalid_api_key",
            "expired or revoked",
        ),
        (
            401,
            (
                b'{"error":"invalid_token","error_description":"Token is an impersonation token but '
                b'impersonation was disabled."}'
            ),
            401,
            "invalid_api_key",
            "expired or revoked",
        ),
        (401, b'{"error":"dpop_error"}', 401, "invalid_api_key", "not a valid GitLab"),
        (401, b'{"error":["x"]}', 401, "invalid_api_key", "not a valid GitLab"),
        (
            403,
            (
                b'{"error":"insufficient_scope","error_description":"The request requires higher '
                b'privileges than provided by the access token.","scope":"api read_user read_api"}'
            ),
            403,
            "access_denied",
            "read_user",
        ),
        (
            403,
            b'{"message":"403 Forbidden - Your account has been blocked."}',
            403,
            "access_denied",
            "ask your GitLab administrator",
        ),
        (
            403,
            b'{"message":"403 Forbidden - Your account has been deactivated by your administrator."}',
            403,
            "access_denied",
            "ask your GitLab administrator",
        ),
        (
            200,
            b'{"id":7,"username":"alice","state":"blocked"}',
            403,
            "access_denied",
            "not active",
        ),
        (200, b'{"id":7,"username":"alice","state":"ldap_blocked"}', 403, "access_denied", ""),
        (200, b'{"id":7,"username":"alice","state":"banned"}', 403, "access_denied", ""),
    ],
)
def test_refused(status: int, body: bytes, expected: int, code: str, says: str) -> None:
    """401 and 403 in GitLab's words are verdicts, with what to do about it."""
    verdict = judge(OwnAnswer(status, body))
    assert isinstance(verdict, Refusal)
    assert not isinstance(verdict, GitLabAway)
    assert (verdict.status, verdict.code) == (expected, code)
    assert says in verdict.message
    assert (expected == 401) == ((b"www-authenticate", b"Bearer") in verdict.headers)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, LOGIN_PAGE),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"null"),
        (200, b'{"id":7'),
        (200, b"\xff"),
        (200, b'{"message":"ok"}'),
        (200, b'{"id":7,"state":"active"}'),
        (200, b'{"id":7,"username":"","state":"active"}'),
        (200, b'{"id":7,"username":7,"state":"active"}'),
        (200, b'{"id":"7","username":"alice","state":"active"}'),
        (200, b'{"id":true,"username":"alice","state":"active"}'),
        (200, b'{"username":"alice","state":"active"}'),
        (200, b'{"id":7,"username":"alice"}'),
        (200, b'{"id":7,"username":"alice","state":null}'),
        (200, b'{"id":7,"username":"al\\nice","state":"active"}'),
        (200, b'{"id":7,"username":"al ice","state":"active"}'),
        (200, b'{"id":7,"username":"' + b"a" * 256 + b'","state":"active"}'),
        (201, ALICE),
        (202, ALICE),
        (204, b""),
        (206, ALICE),
        (301, b""),
        (302, LOGIN_PAGE),
        (304, b""),
        (400, b'{"error":"bad"}'),
        (401, b""),
        (401, LOGIN_PAGE),
        (403, b"Forbidden\n"),
        (403, LOGIN_PAGE),
        (404, b'{"message":"404 Not Found"}'),
        (407, b""),
        (429, b"Retry later\n"),
        (429, b'{"message":{"error":"This endpoint has been requested too many times."}}'),
        (500, b'{"message":"500 Internal Server Error"}'),
        (502, b"<html>502 Bad Gateway</html>"),
        (503, ALICE),
        (504, b""),
    ],
)
def test_no_verdict(status: int, body: bytes) -> None:
    """Everything else says nothing about the token: 503, never 401, and come again."""
    with pytest.raises(GitLabAway) as away:
        judge(OwnAnswer(status, body))
    assert (away.value.status, away.value.code) == (503, "gitlab_unavailable")
    assert (b"retry-after", b"5") in away.value.headers
    assert str(status) in away.value.cause


class AskingTests(SynchronousTestCase):
    """GET /api/v4/user with the token itself, over an agent in memory."""

    def setUp(self) -> None:
        self.clock = Clock()

    def ask(self, *script: Step) -> Deferred[Verdict]:
        self.agent = ScriptedAgent(script)
        gitlab = GitLab("https://git.corp.com/gitlab", OwnCalls(self.agent, self.clock, lambda: 1))
        return Deferred.fromCoroutine(gitlab.verdict(Secret("glpat-secret")))

    def test_what_is_sent(self) -> None:
        """Exactly the bearer, to the configured address; no cookie, no other spelling of the token."""
        verdict = self.successResultOf(self.ask(Answer(200, ALICE)))
        self.assertEqual(verdict, Caller("gitlab", "alice.b-c_d"))
        (asked,) = self.agent.asked
        self.assertEqual(
            (asked.method, asked.origin, asked.target, asked.body),
            (b"GET", Origin(True, "git.corp.com", 443), b"/gitlab/api/v4/user", None),
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
        for status in (301, 302, 303, 307, 308):
            away = self.ask(
                Answer(status, b"", ((b"location", b"https://git.corp.com/users/sign_in"),))
            )
            self.failureResultOf(away, GitLabAway)
            self.assertEqual(len(self.agent.asked), 1)

    def test_trouble_that_passes(self) -> None:
        """One bad gateway while GitLab is deployed is nobody's trouble."""
        asking = self.ask(Answer(502, b"<html>"), ConnectionLost(), Answer(200, ALICE))
        self.clock.pump([0.5, 1.0])
        self.assertEqual(self.successResultOf(asking), Caller("gitlab", "alice.b-c_d"))

    def test_trouble_that_stays(self) -> None:
        """After three attempts GitLab is away."""
        for trouble in (
            ConnectFailed(Origin(True, "git.corp.com", 443), Failure(OSError())),
            ConnectionLost(),
            FirstByteTimeout(),
            Answer(503, b"<html>"),
        ):
            asking = self.ask(*[trouble] * 3)
            self.clock.pump([0.5, 1.0])
            away = self.failureResultOf(asking, GitLabAway).value
            self.assertEqual(away.status, 503)
            self.assertNotIn("glpat-secret", f"{away!r} {away.cause} {away.message}")

    def test_too_slow(self) -> None:
        """A caller waits five seconds at most, and the call is given up then."""
        asking = self.ask(None)
        self.clock.advance(TOTAL_SECONDS - 0.1)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        self.assertIn("TimeoutError", self.failureResultOf(asking, GitLabAway).value.cause)
        self.assertEqual(self.agent.dropped, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_told_to_wait_too_long(self) -> None:
        """A Retry-After beyond the five seconds is not waited for, nor is GitLab asked before it."""
        asking = self.ask(Answer(429, b"Retry later\n", ((b"retry-after", b"60"),)))
        self.assertIn("429", self.failureResultOf(asking, GitLabAway).value.cause)

    def test_too_large(self) -> None:
        """A user's JSON is 2 KiB: what is above 64 KiB is not read."""
        asking = self.ask(Answer(200, ALICE.ljust(ANSWER_LIMIT_BYTES + 1)))
        self.assertIn("ResponseTooLarge", self.failureResultOf(asking, GitLabAway).value.cause)
        asking = self.ask(Answer(200, ALICE.ljust(ANSWER_LIMIT_BYTES)))
        self.successResultOf(asking)

    def test_a_cut_answer(self) -> None:
        """Half a user is none."""
        asking = self.ask(*[Answer(200, ALICE, end=ConnectionLost())] * 3)
        self.clock.pump([0.5, 1.0])
        self.failureResultOf(asking, GitLabAway)

    def test_who_asks_leaves(self) -> None:
        """The call is given up, in each of its phases."""
        for step, dropped, phase in (
            (None, 1, "waiting for the head"),
            (Answer(200, ALICE, end=None), 1, "reading the body"),
            (Answer(503), 0, "waiting between attempts"),
        ):
            asking = self.ask(step)
            asking.cancel()
            self.failureResultOf(asking, CancelledError)
            self.assertEqual(self.clock.getDelayedCalls(), [], phase)
            self.assertEqual(len(self.agent.asked), 1, phase)
            self.assertEqual(self.agent.dropped, dropped, phase)


class _UserPage(Resource):
    """GitLab's page, as a Resource of Twisted."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        if request.getHeader("authorization") != "Bearer glpat-secret":
            request.setResponseCode(401)
            return b'{"message":"401 Unauthorized"}'
        if request.getHeader("cookie"):
            request.setResponseCode(500)
        request.addCookie(b"_gitlab_session", b"0")
        return ALICE


class StubTests(SynchronousTestCase):
    """The same over treq's own test server."""

    def test_known_and_unknown(self) -> None:
        """Both verdicts, and the session's cookie is not brought back."""
        agent = treq.testing.RequestTraversalAgent(_UserPage())
        gitlab = GitLab("http://127.0.0.1", OwnCalls(agent, Clock(), lambda: 1))
        verdicts = []
        for token in ("glpat-secret", "glpat-secret", "glpat-other"):
            asking = Deferred.fromCoroutine(gitlab.verdict(Secret(token)))
            agent.flush()
            verdicts.append(self.successResultOf(asking))
        self.assertEqual(verdicts[:2], [Caller("gitlab", "alice.b-c_d")] * 2)
        self.assertEqual(verdicts[2].status, 401)
