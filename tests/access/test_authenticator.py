"""From headers to the caller: each kind of credential in its turn, GitLab once a minute at most for each."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.access import Authenticator, Caller, GitLab
from gptproxy.access.gitlab import GitLabAway
from gptproxy.access.user_tokens import UserTokens
from gptproxy.access.verdicts import Digester, VerdictCache
from gptproxy.config import Secret, UserTokenSettings
from gptproxy.http import OwnCalls
from gptproxy.wire import Refusal
from tests.upstream.standins import Answer, Asked, ScriptedAgent, Step, leaks

AZURE = "Gpt1:gpt-4|gpt-4-deployment,ada|ada2:0123456789abcdef0123456789abcdef:2024-10-21"
USER_TOKEN = "sk-user-0123456789"
ODD_USER_TOKEN = "odd:token"


def user(name: str, state: str = "active") -> Answer:
    return Answer(200, b'{"id":1,"username":"%b","state":"%b"}' % (name.encode(), state.encode()))


UNKNOWN = Answer(401, b'{"message":"401 Unauthorized"}')


class AuthenticatorTests(SynchronousTestCase):
    """Over an agent that answers by token."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.answers: dict[str, Step] = {"glpat-alice": user("alice")}
        self.agent = ScriptedAgent(self.answer)
        self.authenticator = self.make()

    def answer(self, asked: Asked) -> Step:
        (bearer,) = asked.values(b"authorization")
        return self.answers.get(bearer.decode().removeprefix("Bearer "), UNKNOWN)

    def make(self, *, pure_proxy: bool = False, gitlab: bool = True) -> Authenticator:
        digester = Digester()
        calls = OwnCalls(self.agent, self.clock, lambda: 1.0)
        return Authenticator(
            user_tokens=UserTokens(
                [
                    UserTokenSettings("user1", Secret(USER_TOKEN)),
                    UserTokenSettings("odd", Secret(ODD_USER_TOKEN)),
                    UserTokenSettings("both", Secret(AZURE)),
                ],
                digester,
            ),
            gitlab=GitLab("https://git.corp.com", calls) if gitlab else None,
            verdicts=VerdictCache(100, 60, 30),
            digester=digester,
            pure_proxy=pure_proxy,
            clock=self.clock,
        )

    def ask(self, token: str) -> Deferred[Caller]:
        fields = [(b"authorization", b"Bearer " + token.encode())]
        return Deferred.fromCoroutine(self.authenticator.caller(fields))

    def caller(self, token: str) -> Caller:
        return self.successResultOf(self.ask(token))

    def refusal(self, token: str) -> Refusal:
        failure = self.failureResultOf(self.ask(token), Refusal)
        assert isinstance(failure.value, Refusal)
        return failure.value

    def calls_made(self) -> int:
        return len(self.agent.asked)

    # The order

    def test_without_a_credential(self) -> None:
        """Nobody is asked about nothing."""
        asking = Deferred.fromCoroutine(self.authenticator.caller([(b"host", b"gpt")]))
        self.assertEqual(self.failureResultOf(asking, Refusal).value.status, 401)
        self.assertEqual(self.calls_made(), 0)

    def test_user_tokens_come_before_gitlab(self) -> None:
        """The operator's own are nothing for GitLab to see."""
        self.assertEqual(self.caller(USER_TOKEN), Caller("user_token", "user1"))
        self.assertEqual(self.calls_made(), 0)

    def test_gitlabs_tokens(self) -> None:
        """Everything else is GitLab's to know. The prefix of its tokens is its administrator's choice: "corp:", say."""
        self.answers["corp:bob"] = user("bob")
        self.assertEqual(self.caller("glpat-alice"), Caller("gitlab", "alice"))
        self.assertEqual(self.caller("corp:bob"), Caller("gitlab", "bob"))
        self.assertEqual(self.refusal("glpat-mallory").status, 401)
        self.assertEqual(self.calls_made(), 3)

    def test_without_gitlab(self) -> None:
        """Only the operator's tokens open."""
        self.authenticator = self.make(gitlab=False)
        self.assertEqual(self.caller(USER_TOKEN).name, "user1")
        refusal = self.refusal("glpat-alice")
        self.assertEqual((refusal.status, refusal.code), (401, "invalid_api_key"))

    # The pure proxy

    def test_pure_proxy(self) -> None:
        """The bearer carries the caller's own key; nobody is asked, and it comes before user tokens."""
        self.authenticator = self.make(pure_proxy=True)
        caller = self.caller(AZURE)
        self.assertEqual((caller.kind, caller.name), ("azure_key", "gpt1"))
        assert caller.azure_key is not None
        self.assertEqual(caller.azure_key.key, Secret("0123456789abcdef0123456789abcdef"))
        self.assertEqual(
            dict(caller.azure_key.deployments), {"gpt-4": "gpt-4-deployment", "ada": "ada2"}
        )
        self.assertEqual(self.calls_made(), 0)

    def test_pure_proxy_off(self) -> None:
        """The same bearer may be a user token, but nothing for GitLab to see: there is an Azure key in it."""
        self.assertEqual(self.caller(AZURE), Caller("user_token", "both"))
        refusal = self.refusal(AZURE.replace("Gpt1", "gpt2"))
        self.assertEqual((refusal.status, refusal.code), (401, "invalid_api_key"))
        self.assertEqual(self.calls_made(), 0)

    def test_pure_proxy_malformed(self) -> None:
        """401, and nobody else sees what may hold a key: hosts and paths are not built from it."""
        self.authenticator = self.make(pure_proxy=True)
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
        self.authenticator = self.make(pure_proxy=True)
        self.assertEqual(self.caller("glpat-alice").name, "alice")
        self.assertEqual(self.caller(USER_TOKEN).name, "user1")
        self.assertEqual(self.caller(ODD_USER_TOKEN).name, "odd")

    # The cache

    def test_known_for_a_minute(self) -> None:
        """GitLab is asked again when the minute is over, not before."""
        for seconds, calls in ((0, 1), (59.9, 1), (0.1, 2), (59.9, 2), (0.1, 3)):
            self.clock.advance(seconds)
            self.assertEqual(self.caller("glpat-alice").name, "alice")
            self.assertEqual(self.calls_made(), calls)

    def test_refused_for_half_a_minute(self) -> None:
        """A stale client does not hit GitLab again and again; each refusal is an exception of its own."""
        refusals = []
        for seconds, calls in ((0, 1), (29.9, 1), (0.1, 2)):
            self.clock.advance(seconds)
            refusals.append(self.refusal("glpat-mallory"))
            self.assertEqual(self.calls_made(), calls)
        self.assertEqual(len({id(refusal) for refusal in refusals}), 3)
        self.assertEqual({refusal.body() for refusal in refusals}, {refusals[0].body()})

    def test_a_revoked_token(self) -> None:
        """It is refused a minute after it was revoked, however late GitLab's answer came."""
        slow: Deferred[None] = Deferred()

        async def late(fields: object) -> Caller:
            await slow
            return Caller("gitlab", "alice")

        self.patch(GitLab, "verdict", lambda _, token: late(token))
        asking = self.ask("glpat-alice")
        # GitLab judged it, it was revoked then, and the answer is four seconds late.
        self.clock.advance(4)
        slow.callback(None)
        self.successResultOf(asking)

        async def refused() -> Refusal:
            return Refusal(401, "Revoked.")

        self.patch(GitLab, "verdict", lambda *_: refused())
        self.clock.advance(55.9)
        self.caller("glpat-alice")
        self.clock.advance(0.1)
        self.assertEqual(self.refusal("glpat-alice").message, "Revoked.")

    def test_refused_then_known(self) -> None:
        """A token that was too narrow works half a minute after it was mended."""
        self.answers["glpat-ben"] = Answer(403, b'{"error":"insufficient_scope"}')
        self.assertEqual(self.refusal("glpat-ben").status, 403)
        self.answers["glpat-ben"] = user("ben")
        self.assertEqual(self.refusal("glpat-ben").status, 403)
        self.clock.advance(30)
        self.assertEqual(self.caller("glpat-ben").name, "ben")

    def test_gitlab_away_is_not_remembered(self) -> None:
        """Strangers get 503; those who are known are served; the next call asks anew."""
        self.caller("glpat-alice")
        for trouble in (
            Answer(429, b"Retry later\n", ((b"retry-after", b"60"),)),
            Answer(200, b"<html>Sign in</html>"),
            Answer(302, b"", ((b"location", b"/users/sign_in"),)),
            Answer(204),
            Answer(403, b"Forbidden\n"),
        ):
            self.answers["glpat-ben"] = trouble
            before = self.calls_made()
            for _ in range(2):
                refusal = self.refusal("glpat-ben")
                self.assertEqual((refusal.status, refusal.code), (503, "gitlab_unavailable"))
                self.assertIn((b"retry-after", b"5"), refusal.headers)
            self.assertEqual(self.calls_made(), before + 2)
        self.assertEqual(self.caller("glpat-alice").name, "alice")
        self.answers["glpat-ben"] = user("ben")
        self.assertEqual(self.caller("glpat-ben").name, "ben")

    def test_tokens_with_equal_ends(self) -> None:
        """The whole token decides, not how it begins or ends."""
        one = "glpat-" + "a" * 40 + "b" + "c" * 40
        other = one.replace("b", "d")
        self.answers[one] = user("one")
        self.assertEqual(self.caller(one).name, "one")
        self.assertEqual(self.refusal(other).status, 401)
        self.assertEqual(self.refusal(one[:20]).status, 401)

    # Many at once

    def test_one_call_for_all(self) -> None:
        """A hundred first requests with one token are one call."""
        self.answers["glpat-alice"] = None
        asking = [self.ask("glpat-alice") for _ in range(100)]
        self.assertEqual(self.calls_made(), 1)
        asking[0].cancel()
        self.failureResultOf(asking[0], CancelledError)
        self.assertEqual(self.agent.dropped, 0)
        self.clock.advance(5)
        for each in asking[1:]:
            self.failureResultOf(each, GitLabAway)

    def test_a_caller_who_leaves(self) -> None:
        """The last one takes the call along, and nothing is remembered."""
        self.answers["glpat-alice"] = None
        asking = self.ask("glpat-alice")
        asking.cancel()
        self.failureResultOf(asking, CancelledError)
        self.assertEqual(self.agent.dropped, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.answers["glpat-alice"] = user("alice")
        self.assertEqual(self.caller("glpat-alice").name, "alice")
