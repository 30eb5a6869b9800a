"""Known and refused callers against a model: time, capacity, GitLab's verdicts and silence, many at once, grace."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gptproxy.access import Authenticator, Caller
from gptproxy.access.outage import PROBE_SECONDS
from gptproxy.config import GitLabSettings
from gptproxy.http import OwnCalls
from gptproxy.wire import Refusal
from tests.upstream.standins import Answer, Asked, ScriptedAgent, Step

SIZE, KNOWN, REFUSED, GRACE, TOTAL = 3, 60.0, 30.0, 100.0, 5.0
TOKENS = [f"glpat-{number}" for number in range(4)]
STATES = {"good": 200, "revoked": 401, "blocked": 403, "narrow": 403}
ADDRESSES = count()


def user_of(token: str) -> int:
    """:return: two tokens each are one user's."""
    return int(token[-1]) // 2 + 1


class AccessAgainstModel(RuleBasedStateMachine):
    """The Authenticator against two ordered lists, and what GitLab would say."""

    tokens = st.sampled_from(TOKENS)

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.agent = ScriptedAgent(self.answer)
        self.access = Authenticator(
            user_tokens=(),
            gitlab=GitLabSettings(
                "https://git.corp.com",
                cache_size=SIZE,
                cache_seconds=KNOWN,
                refused_seconds=REFUSED,
                grace_seconds=GRACE,
            ),
            calls=OwnCalls(self.agent, self.clock, lambda: 1.0),
            pure_proxy=False,
            clock=self.clock,
        )
        self.states = dict.fromkeys(TOKENS, "good")
        self.mode = "up"
        self.known: OrderedDict[str, float] = OrderedDict()
        self.refused: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self.down = False
        self.probe_at = 0.0

    def answer(self, asked: Asked) -> Step:
        if self.mode != "up":
            return None if self.mode == "silent" else Answer(302, b"")
        if not asked.target.endswith(b"/user"):
            return Answer(404, b'{"error":"404 Not Found"}')
        token = asked.values(b"authorization")[0].decode().removeprefix("Bearer ")
        user = user_of(token)
        return {
            "good": Answer(
                200, b'{"id":%d,"username":"u%d","state":"active","bot":false}' % (user, user)
            ),
            "revoked": Answer(401, b'{"error":"invalid_token"}'),
            "blocked": Answer(403, b'{"message":"403 Forbidden - Your account has been blocked."}'),
            "narrow": Answer(403, b'{"error":"insufficient_scope"}'),
        }[self.states[token]]

    @property
    def now(self) -> float:
        return self.clock.seconds()

    @rule(seconds=st.sampled_from([0.5, 9.0, 10.0, 29.5, 30.0, 60.0, 60.0, 60.0, 95.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(mode=st.sampled_from(["up", "up", "odd", "silent"]))
    def gitlab_changes(self, mode: str) -> None:
        self.mode = mode

    @rule(token=tokens, state=st.sampled_from([*STATES]))
    def a_token_changes(self, token: str, state: str) -> None:
        self.states[token] = state

    @rule(token=tokens, state=st.sampled_from(["revoked", "blocked"]))
    def good_until_blocked(self, token: str, state: str) -> None:
        """What random steps seldom bring together: known, due again, and bad by then."""
        self.mode = "up"
        if self.states[token] == "good":
            self.call(token, 1, leaving=False)
            self.clock.advance(KNOWN)
            self.states[token] = state
            others = [each for each in TOKENS if user_of(each) == user_of(token)]
            for each in (*others, token, *others):
                self.call(each, 1, leaving=False)

    @rule(token=tokens, mode=st.sampled_from(["odd", "silent"]), late=st.booleans())
    def good_until_gitlab_goes(self, token: str, mode: str, late: bool) -> None:
        """The same for grace and its end."""
        if self.mode == "up" and self.states[token] == "good":
            self.call(token, 1, leaving=False)
            self.clock.advance(GRACE if late else KNOWN)
            self.mode = mode
            self.call(token, 1, leaving=False)

    @rule(token=tokens, other=tokens)
    def gitlab_comes_back(self, token: str, other: str) -> None:
        """Who learns of it first tells the others."""
        self.good_until_gitlab_goes(token, "silent", late=False)
        self.mode = "up"
        for each in (other, token):
            self.call(each, 1, leaving=False)

    @precondition(lambda self: self.refused)
    @rule(number=st.integers(0, SIZE))
    def a_refused_token_is_mended(self, number: int) -> None:
        self.states[[*self.refused][number % len(self.refused)]] = "good"

    @rule(token=tokens, callers=st.sampled_from([1, 1, 1, 20]), leaving=st.booleans())
    def call(self, token: str, callers: int, leaving: bool) -> None:
        before = len(self.agent.asked)
        asks = self.will_ask(token)
        address = f"10.{next(ADDRESSES) % 250}.0.1"
        outcomes: dict[int, object] = {}
        calls = []
        for number in range(callers):
            fields = [(b"authorization", f"Bearer {token}".encode())]
            asking = Deferred.fromCoroutine(self.access.caller(fields, address))
            calls.append(asking)
            asking.addBoth(lambda outcome, number=number: outcomes.update({number: outcome}))
        if self.mode == "silent" and asks:
            assert len(self.agent.asked) == before + 1, "one call for all of them"
            if leaving and callers > 1:
                calls[0].cancel()
                del outcomes[0]
            self.clock.advance(TOTAL)
        assert bool(len(self.agent.asked) - before) == asks
        expected = self.settle(token, asks, callers)
        assert outcomes
        for outcome in outcomes.values():
            if isinstance(outcome, Caller):
                assert expected == 200
                assert outcome.user_id == user_of(token)
            else:
                error = getattr(outcome, "value", None)
                assert isinstance(error, Refusal), outcome
                assert error.status == expected

    def will_ask(self, token: str) -> bool:
        """:return: whether what is known does not do, by the model."""
        since = self.known.get(token)
        if since is not None and self.now < since + KNOWN:
            return False
        if token in self.refused and self.now < self.refused[token][0] + REFUSED:
            return False
        if since is None or self.now >= since + GRACE or not self.down:
            return True
        if self.probe_at - PROBE_SECONDS <= self.now < self.probe_at:
            return False
        self.probe_at = self.now + PROBE_SECONDS
        return True

    def settle(self, token: str, asked: bool, callers: int) -> int:
        """:return: the status that everybody gets, and the model brought up to date."""
        if not asked:
            if token in self.known:
                self.known.move_to_end(token)
                return 200
            self.refused.move_to_end(token)
            return self.refused[token][1]
        if self.mode == "up":
            return self.judged(token)
        if self.mode == "silent":
            self.down, self.probe_at = True, self.now + PROBE_SECONDS
        if token in self.known and self.now < self.known[token] + GRACE:
            self.known.move_to_end(token)
            return 200
        self.known.pop(token, None)
        self.refused.pop(token, None)
        return 503

    def judged(self, token: str) -> int:
        self.down = False
        state = self.states[token]
        was_known = self.known.pop(token, None)
        self.refused.pop(token, None)
        if state == "good":
            self.known[token] = self.now
            if len(self.known) > SIZE:
                self.known.popitem(last=False)
            return 200
        # An entry beyond grace is gone when it is looked at, so nobody knows whose it was.
        if state == "blocked" and was_known is not None and self.now < was_known + GRACE:
            for other in TOKENS:
                if user_of(other) == user_of(token):
                    self.known.pop(other, None)
        self.refused[token] = (self.now, STATES[state])
        if len(self.refused) > SIZE:
            self.refused.popitem(last=False)
        return STATES[state]

    @invariant()
    def bounded(self) -> None:
        cache = self.access._verdicts
        assert len(cache._known) <= SIZE
        assert len(cache._refused) <= SIZE
        assert sum(map(len, cache._of_user.values())) == len(cache._known)
        assert len(self.access._asking) == 0
        assert not self.clock.getDelayedCalls()


TestAccessAgainstModel = AccessAgainstModel.TestCase
TestAccessAgainstModel.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
