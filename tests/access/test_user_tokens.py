"""The operator's own tokens are known by their digests."""

from __future__ import annotations

import hmac

import pytest

from gptproxy.access import Caller
from gptproxy.access.user_tokens import UserTokens
from gptproxy.access.verdicts import Digester
from gptproxy.config import Secret, UserTokenSettings

GIVEN = [
    UserTokenSettings("ann", Secret("sk-ann-0123456789")),
    UserTokenSettings("ben", Secret("sk-ben-0123456789")),
]


def test_known_and_unknown() -> None:
    """Whose token it is; nobody's where it differs in one character."""
    digester = Digester()
    tokens = UserTokens(GIVEN, digester)
    assert tokens.caller(digester.digest(Secret("sk-ann-0123456789"))) == Caller(
        "user_token", "ann"
    )
    assert tokens.caller(digester.digest(Secret("sk-ben-0123456789"))) == Caller(
        "user_token", "ben"
    )
    for other in ("sk-ann-0123456780", "sk-ann-012345678", "sk-ann-01234567890", "SK-ANN"):
        assert tokens.caller(digester.digest(Secret(other))) is None


def test_none_given() -> None:
    """Without tokens nobody is known by one."""
    digester = Digester()
    assert UserTokens([], digester).caller(digester.digest(Secret("x"))) is None


def test_a_digest_is_no_token() -> None:
    """What is kept of a token opens nothing, in whichever spelling it is sent."""
    digester = Digester()
    tokens = UserTokens(GIVEN, digester)
    digest = digester.digest(GIVEN[0].token)
    for spelling in (digest.hex(), digest.hex().upper(), digest.decode("latin-1")):
        assert tokens.caller(digester.digest(Secret(spelling))) is None


@pytest.mark.parametrize("token", ["sk-ann-0123456789", "sk-ben-0123456789", "sk-nobody"])
def test_time_tells_nothing(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Every token is compared, each in constant time, whichever matches."""
    digester = Digester()
    tokens = UserTokens(GIVEN, digester)
    compared = []
    real = hmac.compare_digest

    def compare_digest(known: bytes, given: bytes) -> bool:
        compared.append(known)
        return real(known, given)

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    tokens.caller(digester.digest(Secret(token)))
    assert len(compared) == 2
