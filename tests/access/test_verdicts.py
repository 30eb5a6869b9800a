"""What was judged lately is remembered: as long as it may be, as much as there is room for, and by digest only."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gptproxy.access import Caller
from gptproxy.access.caller import Identity
from gptproxy.access.credential import JobSecret
from gptproxy.access.refusals import forbidden, invalid_credential
from gptproxy.access.verdicts import Digester, Judgement, TokenFacts, Verdict, VerdictCache
from gptproxy.config import Secret

ALICE = Caller("gitlab", "alice")
NO = invalid_credential("No.")


@pytest.mark.parametrize(
    ("verdict", "after", "remembered"),
    [
        (ALICE, 0.0, True),
        (ALICE, 59.9, True),
        (ALICE, 60.0, False),
        (ALICE, 1e9, False),
        (ALICE, -0.1, False),
        (ALICE, -3600.0, False),
        (NO, 0.0, True),
        (NO, 29.9, True),
        (NO, 30.0, False),
        (NO, -0.1, False),
    ],
)
def test_how_long(verdict: Verdict, after: float, remembered: bool) -> None:
    """Expiry is checked on reading; a clock that was set back makes nothing last."""
    cache = VerdictCache(10, 60, 30)
    cache.put(b"d", Judgement(verdict), 1000.0)
    assert cache.get(b"d", 1000.0 + after) is (verdict if remembered else None)


def test_an_expired_entry_is_gone() -> None:
    """It does not come back when the clock is set back."""
    cache = VerdictCache(10, 60, 30)
    cache.put(b"d", Judgement(ALICE), 0.0)
    assert len(cache) == 1
    assert cache.get(b"d", 60.0) is None
    assert len(cache) == 0
    assert cache.get(b"d", 1.0) is None


@pytest.mark.parametrize("verdict", [ALICE, NO])
def test_the_least_recently_used_goes(verdict: Verdict) -> None:
    """Reading counts as use."""
    cache = VerdictCache(2, 60, 30)
    cache.put(b"1", Judgement(verdict), 0.0)
    cache.put(b"2", Judgement(verdict), 0.0)
    cache.get(b"1", 1.0)
    cache.put(b"3", Judgement(verdict), 1.0)
    assert [cache.get(key, 1.0) for key in (b"1", b"2", b"3")] == [verdict, None, verdict]


def test_made_up_tokens_push_nobody_out() -> None:
    """Refusals have a bound of their own."""
    cache = VerdictCache(3, 60, 30)
    cache.put(b"alice", Judgement(ALICE), 0.0)
    for number in range(100):
        cache.put(b"%d" % number, Judgement(NO), 0.0)
    assert cache.get(b"alice", 1.0) is ALICE
    assert len(cache) == 4


def test_a_new_verdict_replaces_the_old() -> None:
    """Of either sort: a refusal ends a caller's welcome, and the other way round."""
    cache = VerdictCache(3, 60, 30)
    cache.put(b"d", Judgement(ALICE), 0.0)
    cache.put(b"d", Judgement(NO), 1.0)
    assert cache.get(b"d", 1.0) is NO
    assert cache.get(b"d", 31.0) is None
    cache.put(b"d", Judgement(NO), 2.0)
    cache.put(b"d", Judgement(ALICE), 3.0)
    assert cache.get(b"d", 3.0) is ALICE
    assert len(cache) == 1


def test_no_room() -> None:
    """A size of nothing keeps nothing."""
    cache = VerdictCache(0, 60, 30)
    cache.put(b"d", Judgement(ALICE), 0.0)
    cache.put(b"e", Judgement(NO), 0.0)
    assert len(cache) == 0
    assert cache.get(b"d", 0.0) is None


class CacheAgainstModel(RuleBasedStateMachine):
    """The cache against two ordered lists of (key, verdict, since)."""

    SIZE, KNOWN, REFUSED = 3, 60.0, 30.0
    keys = st.sampled_from([b"%d" % number for number in range(6)])
    verdicts = st.sampled_from([ALICE, Caller("gitlab", "bob"), NO])

    def __init__(self) -> None:
        super().__init__()
        self.cache = VerdictCache(self.SIZE, self.KNOWN, self.REFUSED)
        self.known: OrderedDict[bytes, tuple[Verdict, float]] = OrderedDict()
        self.refused: OrderedDict[bytes, tuple[Verdict, float]] = OrderedDict()
        self.now = 0.0

    @rule(seconds=st.sampled_from([0.0, 1.0, 29.0, 30.0, 31.0, 59.0, 60.0, -5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(key=keys, verdict=verdicts, late=st.sampled_from([0.0, 4.0]))
    def put(self, key: bytes, verdict: Verdict, late: float) -> None:
        self.cache.put(key, Judgement(verdict), self.now - late)
        self.known.pop(key, None)
        self.refused.pop(key, None)
        entries = self.known if isinstance(verdict, Caller) else self.refused
        entries[key] = (verdict, self.now - late)
        while len(entries) > self.SIZE:
            entries.popitem(last=False)

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        expected = None
        for entries, seconds in ((self.known, self.KNOWN), (self.refused, self.REFUSED)):
            if key in entries:
                verdict, since = entries[key]
                if since <= self.now < since + seconds:
                    expected = verdict
                    entries.move_to_end(key)
                else:
                    del entries[key]
        assert self.cache.get(key, self.now) is expected

    @invariant()
    def bounded(self) -> None:
        assert len(self.cache) == len(self.known) + len(self.refused) <= 2 * self.SIZE


TestCacheAgainstModel = CacheAgainstModel.TestCase
TestCacheAgainstModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def known(user_id: int) -> Caller:
    return Caller("gitlab", f"u{user_id}", identity=Identity(user_id, f"u{user_id}"))


def test_welcome_through_grace() -> None:
    """After it has expired, as long as grace or the token lasts, whichever ends first."""
    cache = VerdictCache(9, 60, 30, 900)
    cache.put(b"d", Judgement(ALICE), 0.0)
    cache.put(b"e", Judgement(ALICE, ends=100.0), 0.0)
    cache.put(b"f", Judgement(ALICE, ends=10.0), 0.0)
    for key, last in ((b"d", 899.9), (b"e", 99.9), (b"f", 9.9)):
        assert cache.welcome(key, last) is ALICE
        assert cache.welcome(key, last + 0.1) is None
        assert cache.welcome(key, -1.0) is None
    assert cache.get(b"f", 10.0) is None
    assert cache.get(b"d", 899.0) is None
    assert cache.welcome(b"d", 899.0) is ALICE
    assert cache.get(b"d", 900.0) is None
    assert cache.welcome(b"d", 0.0) is None, "gone"
    assert cache.welcome(b"x", 0.0) is None


def test_facts_stay_with_the_known() -> None:
    """They need not be asked for again while the token is good."""
    cache, facts = VerdictCache(3, 60, 30, 900), TokenFacts(frozenset({"api"}), 5e9)
    cache.put(b"d", Judgement(ALICE, facts=facts), 0.0)
    assert cache.facts(b"d") is facts
    assert cache.facts(b"x") is None
    cache.put(b"d", Judgement(NO), 0.0)
    assert cache.facts(b"d") is None


def test_a_user_is_forgotten_as_a_whole() -> None:
    """By what is said of the account; a refusal of one token alone leaves the others."""
    cache = VerdictCache(9, 60, 30, 900)
    for key, user_id in ((b"1", 1), (b"2", 1), (b"3", 2), (b"4", 1)):
        cache.put(key, Judgement(known(user_id)), 0.0)
    cache.put(b"1", Judgement(NO), 0.0)
    assert cache.get(b"2", 0.0) == known(1)
    cache.put(b"2", Judgement(forbidden("Blocked."), about_account=True), 0.0)
    assert cache.get(b"4", 0.0) is None
    assert cache.welcome(b"4", 0.0) is None
    assert cache.get(b"3", 0.0) == known(2)
    cache.put(b"x", Judgement(forbidden("Blocked."), about_account=True, user_id=2), 0.0)
    assert cache.get(b"3", 0.0) is None
    cache.put(b"y", Judgement(forbidden("Blocked."), about_account=True), 0.0)
    assert len(cache) == 4


def test_job_tokens_have_digests_of_their_own() -> None:
    """The same text as a bearer may be another kind, with another verdict."""
    digester = Digester()
    assert digester.digest(Secret("t")) != digester.digest(JobSecret("t"))
    assert digester.digest(JobSecret("t")) == digester.digest(JobSecret("t"))


@pytest.mark.parametrize("token", ["t", "glpat-" + "a" * 20, "e" * 8192])
def test_digests_are_hmac_sha256(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Each sort under a key of its own: neither key is what any credential's digest could be."""
    keys = [b"k" * 32, b"j" * 32]
    made = iter(keys)
    monkeypatch.setattr(secrets, "token_bytes", lambda size: next(made))
    digester = Digester()
    text = token.encode()
    for key, credential in zip(keys, (Secret(token), JobSecret(token)), strict=True):
        assert digester.digest(credential) == hmac.digest(key, text, "sha256")


def test_the_whole_token_matters() -> None:
    """Two tokens that differ anywhere are two, whatever their ends have in common."""
    digester = Digester()
    base = "glpat-" + "a" * 8186
    digests = {digester.digest(Secret(base))}
    for position in (6, 20, 21, 100, 4000, len(base) - 21, len(base) - 1):
        other = f"{base[:position]}b{base[position + 1 :]}"
        digests.add(digester.digest(Secret(other)))
    digests.add(digester.digest(Secret(base + "a")))
    digests.add(digester.digest(Secret(base[:-1])))
    assert len(digests) == 10
    assert digester.digest(Secret(base)) in digests


def test_a_digest_is_worth_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has a key of its own, of 32 random bytes."""
    sizes = []
    real = secrets.token_bytes

    def token_bytes(size: int) -> bytes:
        sizes.append(size)
        return real(size)

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    assert Digester().digest(Secret("t")) != Digester().digest(Secret("t"))
    assert sizes == [32] * 4
    assert len(Digester().digest(Secret("t"))) == 32


def test_refusals_are_forgotten() -> None:
    """Whoever was refused under other rules is asked about anew; who is known stays."""
    cache = VerdictCache(10, 60, 30)
    cache.put(b"a", Judgement(known(1)), 0.0)
    cache.put(b"b", Judgement(forbidden("no")), 0.0)
    cache.forget_refusals()
    assert cache.get(b"a", 1.0) is not None
    assert cache.get(b"b", 1.0) is None
