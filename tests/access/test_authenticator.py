"""From headers to the caller: each kind of credential in its turn, GitLab once a minute at most for each."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from gptproxy.access import Caller
from gptproxy.access.caller import Identity
from gptproxy.config import Secret, UserTokenSettings
from tests.access.rig import (
    ALICE,
    JOB,
    OAUTH,
    SELF,
    USER,
    USER_TOKEN,
    AccessCase,
)
from tests.upstream.standins import Answer, leaks

AZURE = "Gpt1:gpt-4|gpt-4-deployment,ada|ada2:0123456789abcdef0123456789abcdef:2024-10-21"


class OrderTests(AccessCase):
    """Which kind of credential it is."""

    def test_without_a_credential(self) -> None:
        """Nobody is asked about nothing."""
        asking = Deferred.fromCoroutine(self.access.caller([(b"host", b"gpt")]))
        self.assertEqual(self.failureResultOf(asking).value.status, 401)
        self.assertEqual(self.calls_made(), 0)

    def test_user_tokens_come_before_gitlab(self) -> None:
        """The operator's own are nothing for GitLab to see."""
        caller = self.caller(USER_TOKEN)
        self.assertEqual(caller, Caller("user_token", "user1"))
        self.assertEqual((caller.owner, caller.user_id), ("user_token:user1", None))
        self.assertEqual(self.calls_made(), 0)

    def test_every_header(self) -> None:
        """The seed's, Azure's and GitLab's own spellings are as good as the usual one."""
        for name in (b"authorization", b"authentication", b"api-key", b"private-token"):
            self.assertEqual(self.caller(ALICE, name).name, "alice")
        self.assertEqual(self.calls_made(), 2, "one verdict for all: /user and the token itself")

    def test_personal_token(self) -> None:
        """It is known by the user's number; the token's end is asked for once, not each minute."""
        caller = self.caller(ALICE)
        self.assertEqual(caller, Caller("gitlab", "alice", identity=Identity(1, "alice")))
        self.assertEqual((caller.owner, caller.user_id), ("gitlab:1", 1))
        self.assertEqual(self.gitlab.paths(), [USER, SELF])
        self.clock.advance(60)
        self.caller(ALICE)
        self.assertEqual(self.gitlab.paths(), [USER, SELF, USER])

    def test_oauth_token(self) -> None:
        """It is no personal token; what it is good for is asked where such are known."""
        self.assertEqual(self.caller(OAUTH).owner, "gitlab:1")
        self.assertEqual(self.gitlab.paths(), [USER, SELF, "/oauth/token/info"])

    def test_job_token(self) -> None:
        """As a bearer and as JOB-TOKEN: the job's user is the caller. Its own API tells, no other does."""
        for name in (b"authorization", b"job-token"):
            caller = self.caller(JOB, name)
            self.assertEqual((caller.name, caller.owner), ("alice", "gitlab:1"))
        self.assertEqual(self.gitlab.paths(), ["/api/v4/job"] * 2)
        fields = [dict(asked.fields) for asked in self.gitlab.agent.asked]
        self.assertEqual({each.get(b"job-token") for each in fields}, {JOB.encode()})
        self.assertEqual({each.get(b"authorization") for each in fields}, {None})

    def test_job_token_without_prefix(self) -> None:
        """Prefixes are the administrator's choice: what is no user's token may be a job's."""
        self.gitlab.instead["/api/v4/job"] = Answer(
            200,
            b'{"ref":"main","tag":false,"pipeline":{"project_id":20},'
            b'"user":{"id":1,"username":"alice","state":"active"}}',
        )
        self.assertEqual(self.caller("corp-4711").owner, "gitlab:1")
        self.assertEqual(self.gitlab.paths(), [USER, "/api/v4/job"])

    def test_job_token_header_is_for_job_tokens(self) -> None:
        """A personal token there is refused, as GitLab does, and its verdict is not the bearer's."""
        self.assertEqual(self.refusal(ALICE, name=b"job-token").status, 401)
        self.assertEqual(self.caller(ALICE).name, "alice")
        self.assertEqual(self.refusal(ALICE, name=b"job-token").status, 401)
        self.assertEqual(self.refusal(USER_TOKEN, name=b"job-token").status, 401)

    def test_job_tokens_off(self) -> None:
        """Then nobody is asked about them."""
        self.make(job_tokens=False)
        self.assertIn("id_token", self.refusal(JOB).message)
        self.assertEqual(self.calls_made(), 0)
        self.assertEqual(self.refusal("glpat-mallory").status, 401)
        self.assertEqual(self.gitlab.paths(), [USER])

    def test_a_job_tokens_verdict_is_a_minutes(self) -> None:
        """Whatever the cache's time and grace are: the job may be over."""
        self.make(cache_seconds=600.0)
        self.caller(JOB)
        self.gitlab.instead["/api/v4"] = Answer(503)
        self.clock.advance(59.9)
        self.caller(JOB)
        self.clock.advance(0.1)
        self.assertEqual(self.refusal(JOB).status, 503)

    def test_kinds_that_are_no_keys(self) -> None:
        """They are refused without asking, each time."""
        for prefix in ("dt", "rt", "rtr", "ptt", "ft", "imt", "agent", "soat", "ffct", "oas"):
            refusal = self.refusal(f"gl{prefix}-0123456789")
            self.assertEqual((refusal.status, refusal.code), (401, "invalid_api_key"))
        self.assertEqual(self.calls_made(), 0)

    def test_without_gitlab(self) -> None:
        """Only the operator's tokens open."""
        self.make(without_gitlab=True)
        caller = self.caller(USER_TOKEN)
        self.assertEqual(caller.name, "user1")
        refusal = self.refusal(ALICE)
        self.assertEqual((refusal.status, refusal.code), (401, "invalid_api_key"))
        for rules, may in (((), True), (("x",), False)):
            reading = Deferred.fromCoroutine(
                self.access.may_read(caller, rules)  # type: ignore[arg-type]  # any rule
            )
            self.assertEqual(self.successResultOf(reading), may)

    # The pure proxy

    def test_pure_proxy(self) -> None:
        """The bearer carries the caller's own key; nobody is asked, and it comes before user tokens."""
        self.make(pure_proxy=True, user_tokens=[UserTokenSettings("both", Secret(AZURE))])
        caller = self.caller(AZURE)
        self.assertEqual((caller.kind, caller.name), ("azure_key", "gpt1"))
        self.assertEqual(caller.owner, "azure:gpt1")
        assert caller.azure_key is not None
        self.assertEqual(caller.azure_key.key, Secret("0123456789abcdef0123456789abcdef"))
        self.assertEqual(
            dict(caller.azure_key.deployments), {"gpt-4": "gpt-4-deployment", "ada": "ada2"}
        )
        self.assertEqual(self.calls_made(), 0)

    def test_pure_proxy_off(self) -> None:
        """The same bearer may be a user token, but nothing for GitLab to see: there is an Azure key in it."""
        self.make(user_tokens=[UserTokenSettings("both", Secret(AZURE))])
        self.assertEqual(self.caller(AZURE), Caller("user_token", "both"))
        refusal = self.refusal(AZURE.replace("Gpt1", "gpt2"))
        self.assertEqual((refusal.status, refusal.code), (401, "invalid_api_key"))
        self.assertEqual(self.calls_made(), 0)

    def test_pure_proxy_malformed(self) -> None:
        """401, and nobody else sees what may hold a key: hosts and paths are not built from it."""
        self.make(pure_proxy=True)
        for bearer in (
            AZURE.replace("Gpt1", "evil.com/#"),
            AZURE.replace("Gpt1", "user@evil.com/"),
            AZURE.replace("Gpt1", "169.254.169.254"),
            AZURE.replace("Gpt1", "[::1]/"),
            AZURE.replace("|ada2", "|../../x"),
            AZURE.replace("2024-10-21", "2024-10-21&x=y"),
            "gpt1:gpt-4|d",
            ":",
        ):
            refusal = self.refusal(bearer)
            self.assertEqual((refusal.status, refusal.code), (401, "invalid_api_key"))
            self.assertFalse(leaks("0123456789abcdef0123456789abcdef", refusal))
        self.assertEqual(self.calls_made(), 0)

    def test_pure_proxy_and_other_tokens(self) -> None:
        """Beside it the other kinds work, even a user token with a colon."""
        self.make(pure_proxy=True, user_tokens=[UserTokenSettings("odd", Secret("odd:token"))])
        self.assertEqual(self.caller(ALICE).name, "alice")
        self.assertEqual(self.caller("odd:token").name, "odd")
