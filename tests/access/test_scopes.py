"""Which of GitLab's tokens are taken: bots, narrow scopes, scopes that must be there."""

from __future__ import annotations

from tests.access.rig import (
    ALICE,
    AUDIENCE,
    BOB,
    BOT,
    NARROW,
    OAUTH,
    SELF,
    SERVICE,
    USER,
    AccessCase,
)
from tests.upstream.standins import Answer


class BotsAndScopesTests(AccessCase):
    """Which of GitLab's tokens are taken."""

    def test_bots(self) -> None:
        """Project and group tokens only where they are let in."""
        self.assertIn("Project and group", self.refusal(BOT).message)
        self.make(bots=True)
        self.assertEqual(self.caller(BOT).owner, "gitlab:7")

    def test_no_word_of_bots(self) -> None:
        """What GitLab does not tell is refused."""
        self.gitlab.instead[USER] = Answer(200, b'{"id":1,"username":"alice","state":"active"}')
        self.assertEqual(self.refusal(ALICE).status, 403)
        self.make(bots=True)
        self.assertEqual(self.caller(ALICE).name, "alice")

    def test_narrow(self) -> None:
        """It has no bot flag: refused, unless bots are let in, or the service token can tell."""
        self.assertIn("read_user", self.refusal(NARROW).message)
        self.make(bots=True)
        caller = self.caller(NARROW)
        self.assertEqual((caller.name, caller.owner), ("user-5", "gitlab:5"))
        self.make(service_token=SERVICE)
        self.assertEqual(self.caller(NARROW).name, "erin")

    def test_narrow_and_looked_up(self) -> None:
        """What the service token tells counts: a bot, an account that is not active, nobody."""
        self.make(service_token=SERVICE)
        for body, status, says in (
            (b'{"id":5,"username":"erin","state":"active","bot":true}', 200, "Project and group"),
            (b'{"id":5,"username":"erin","state":"blocked","bot":false}', 200, "not active"),
            (b'{"message":"404 User Not Found"}', 404, "read_user"),
        ):
            self.gitlab.instead["/api/v4/users/5"] = Answer(status, body)
            refusal = self.refusal(NARROW)
            self.assertEqual(refusal.status, 403)
            self.assertIn(says, refusal.message)
            self.clock.advance(30)

    def test_narrow_and_gone(self) -> None:
        """What the token says of itself is what a user's page would say."""
        good = '"user_id":5,"scopes":["x"],"expires_at":null'
        for answer, status in (
            (Answer(200, f'{{{good},"active":false,"revoked":false}}'.encode()), 401),
            (Answer(200, f'{{{good},"active":true,"revoked":true}}'.encode()), 401),
            (Answer(401, b'{"error":"invalid_token"}'), 401),
            (Answer(400, b'{"error":"invalid_request"}'), 403),
            (Answer(404, b'{"error":"404 Not Found"}'), 403),
            (Answer(500, b""), 503),
        ):
            self.gitlab.instead[SELF] = answer
            self.assertEqual(self.refusal(NARROW).status, status)
            self.clock.advance(60)

    def test_scopes(self) -> None:
        """A token must carry one of them, whatever else it can."""
        self.make(scopes=("ai_features", "api"), bots=True)
        self.assertIn("ai_features or api", self.refusal(ALICE).message)
        self.assertEqual(self.caller(BOB).name, "bob")
        self.assertEqual(self.caller("glpat-sandbox-duo").owner, "gitlab:5")
        self.assertEqual(self.refusal(OAUTH).status, 403)
        # A GitLab that does not tell scopes lets nobody in where they are asked for.
        self.gitlab.instead[SELF] = Answer(404, b'{"error":"404 Not Found"}')
        self.make(scopes=("api",))
        self.assertEqual(self.refusal(BOB).status, 403)

    def test_facts_that_fail(self) -> None:
        """What is asked beside the user counts as much: a refusal refuses, no answer is none."""
        for path, answer, status in (
            (SELF, Answer(401, b'{"message":"401 Unauthorized"}'), 401),
            (SELF, Answer(200, b'{"user_id":1,"scopes":[],"active":false,"revoked":false}'), 401),
            (SELF, Answer(200, b'{"user_id":1,"scopes":[],"active":true,"expires_at":"x"}'), 503),
            (SELF, Answer(200, b'{"user_id":1,"scopes":[],"active":true,"expires_at":5}'), 503),
            (SELF, Answer(200, b'{"scopes":[]}'), 503),
            (SELF, Answer(502, b""), 503),
        ):
            self.gitlab.instead = {path: answer}
            self.assertEqual(self.refusal(ALICE).status, status)
            self.clock.advance(60)
        for answer, status in (
            (Answer(401, b'{"error":"invalid_token"}'), 401),
            (Answer(200, b'{"scope":7}'), 503),
            (Answer(200, b'{"scope":"api","expires_in":"soon"}'), 503),
        ):
            self.gitlab.instead = {"/oauth/token/info": answer}
            self.assertEqual(self.refusal(OAUTH).status, status)
            self.clock.advance(60)
        self.gitlab.instead = {"/oauth/token/info": Answer(200, b'{"scope":"api read_user"}')}
        self.assertEqual(self.caller(OAUTH).name, "alice")

    def test_id_tokens_need_an_audience(self) -> None:
        """Without one they are text as any other, which GitLab does not know."""
        token = self.gitlab.id_token()
        self.assertEqual(self.refusal(token).status, 401)
        self.assertEqual(self.gitlab.paths(), [USER, "/api/v4/job"])
        self.make(audience=AUDIENCE)
        self.assertEqual(self.caller(token).owner, "gitlab:1")
        self.assertEqual(self.gitlab.paths()[2:], ["/oauth/discovery/keys"])

    def test_the_digest_is_no_token(self) -> None:
        """What is kept of a token opens nothing."""
        self.caller(ALICE)
        for digest in tuple(self.access._verdicts._known):
            self.assertEqual(self.refusal(digest.hex()).status, 401)
