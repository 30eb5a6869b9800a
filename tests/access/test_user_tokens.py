"""The operator's own tokens are known by their digests."""

from __future__ import annotations

import hmac
import sys
from types import FrameType
from typing import Any

import pytest
from twisted.internet.task import Clock

from gptproxy.access import Authenticator, Caller
from gptproxy.access.authenticator import Stranger
from gptproxy.access.user_tokens import UserTokens
from gptproxy.access.verdicts import Digester
from gptproxy.config import Secret, UserTokenSettings
from gptproxy.http import OwnCalls
from tests.upstream.standins import ScriptedAgent

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


def steps(access: Authenticator, token: str) -> list[tuple[str, int]]:
    """:return: every instruction that is executed for a call with this token: where it stands, and which it is."""
    done: list[tuple[str, int]] = []
    before = sys.gettrace()

    def tracing(frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_globals["__name__"].startswith("gptproxy."):
            # What happens to run now: a collection of garbage.
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            done.append((frame.f_code.co_qualname, frame.f_lasti))
        return tracing

    fields = [(b"authorization", b"Bearer " + token.encode())]
    sys.settrace(tracing)
    try:
        found = access.look_up(fields)
    finally:
        sys.settrace(before)
    assert isinstance(found, Stranger)
    return done


def test_one_wrong_token_is_as_another() -> None:
    """However much of a right one it has: what is done for it is the same to the last instruction."""
    right = GIVEN[0].token.reveal()
    access = Authenticator(
        user_tokens=GIVEN,
        gitlab=None,
        calls=OwnCalls(ScriptedAgent([]), Clock(), lambda: 1.0),
        pure_proxy=False,
        clock=Clock(),
    )
    wrong = [right[:length] + "~" * (len(right) - length) for length in range(len(right))]
    # Python 3.12 tells of a function's instructions from its second run on.
    steps(access, wrong[0])
    first, *others = [steps(access, token) for token in wrong]
    assert len(first) > 100
    assert all(other == first for other in others)
