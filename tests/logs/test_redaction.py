"""What looks like a credential, or is one of the settings', is in no log; what is none stays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config import Secret, UserTokenSettings
from gptproxy.logs import REDACTED, Redaction, secrets_in

CANARY = "Zq8Lm2Xv7Rt5Wk9Np3"
HEXADECIMAL = "0123456789abcdef0123456789ABCDEF"

SPELLINGS = (
    f"Authorization: Bearer {CANARY}",
    f"authorization='bearer {CANARY}'",
    f"{{'Authorization': 'Bearer {CANARY}'}}",
    f"(b'authorization', b'Bearer {CANARY}')",
    f"Basic {CANARY}==",
    f"Bearer {CANARY} {CANARY}",
    f"api-key: {CANARY}",
    f"api_key={CANARY}&x=1",
    f'{{"api_key": "{CANARY}"}}',
    f"X-Api-Key={CANARY}",
    f"Ocp-Apim-Subscription-Key: {CANARY}",
    f"PRIVATE-TOKEN: {CANARY}",
    f"JOB-TOKEN: {CANARY}",
    f"Cookie: session={CANARY}",
    f"glpat-{CANARY}",
    f"a glcbt-64_{CANARY} b",
    f"gldt-{CANARY}",
    f"sk-proj-{CANARY}",
    f"sk-{CANARY}",
    f"openai-insecure-api-key.{CANARY}",
    f"realtime, openai-insecure-api-key.{CANARY}, openai-beta",
    f"https://user:{CANARY}@host/path",
    f"https://{CANARY}@host/path",
    f"https://host/path?api-key={CANARY}",
    f"https://host/path?key={CANARY}",
    f"GET /v1/models?a=1&access_token={CANARY}&b=2 HTTP/1.1",
    f"/oauth?code=1&client_secret={CANARY}",
    f"https://blob/x?sv=1&sig={CANARY}%3D",
    f"gpt1:gpt-4|d,gpt-3.5|e:{CANARY}:2024-10-21",
    f"gpt1:gpt-4|d:{CANARY}",
    f"gpt1/x:gpt-4|d:{CANARY}",
    f"gpt1:gpt-4:{CANARY}",
    f"eyJhbGciOiJSUzI1NiJ9.{CANARY}.{CANARY}",
    f"password = {CANARY}",
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling(spelling: str) -> None:
    """Alone, in the middle of a sentence, and in a traceback's last line; a second time nothing changes."""
    redaction = Redaction()
    for text in (spelling, f"it says {spelling}, and goes on", f"\n    x\nValueError: {spelling}"):
        clean = redaction.redacted(text)
        assert CANARY not in clean
        assert REDACTED in clean
        assert redaction.redacted(clean) == clean


def test_azure_keys() -> None:
    """Old ones and new ones, by their form alone."""
    for key in (HEXADECIMAL, CANARY * 5):
        assert key not in Redaction().redacted(f"the key {key} is refused")


@pytest.mark.parametrize(
    "text",
    [
        "0a1b2c3d4e5f-1f: upstream primary answers 503 (status 503, attempt 2)",
        "cannot listen on ssl:443:interface=127.0.0.1: Address already in use",
        "refused 12 connections: 3 over [limits] connections_per_address = 1000",
        "2026-11-22T01:48:01+0000 [gptproxy.access#info] x alice POST /chat/completions gpt-4o one attempts=1",
        '  File "/usr/lib/python3/dist-packages/gptproxy/api/endpoint.py", line 80, in _answer',
        "http://127.0.0.1:9480/metrics",
        "reactor class: twisted.internet.epollreactor.EPollReactor.",
        "too many tokens: 12 of 10",
        "no connection to git.corp.com:443: ConnectionRefusedError",
        "topic fibjs: its prompt alone exceeds max_tokens and is left out",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    """An operator reads the log."""
    assert Redaction().redacted(text) == text


def test_what_stays_of_a_redacted_text() -> None:
    """Everything around it."""
    redacted = Redaction().redacted(
        f"GET https://ann:{CANARY}@host/a?b=1&token={CANARY}&c=2 failed"
    )
    assert redacted == f"GET https://{REDACTED}@host/a?b=1&token={REDACTED}&c=2 failed"


def test_known_secrets() -> None:
    """Are found whatever they look like, quoted and percent-encoded too; none is found in part of another."""
    secret, longer = "pass'word /ö", "pass'word /ö and more"
    redaction = Redaction([secret, longer, "short"])
    for text in (secret, longer, repr(f"{secret}"), "pass%27word%20%2F%C3%B6"):
        assert "word" not in redaction.redacted(text)
    assert redaction.redacted(f"<{longer}>") == f"<{REDACTED}>"
    assert redaction.redacted("a short one") == "a short one"
    redaction.know(())
    assert secret in redaction.redacted(secret)


def test_what_steers_a_terminal() -> None:
    """Is written out; line ends and tabs stay."""
    clean = Redaction().redacted("a\x1b[2Jb\r\u202ec\u2028d\x9be\n\tf")
    assert clean == "a\\x1b[2Jb\\r\\u202ec\\u2028d\\x9be\n\tf"


def test_secrets_of_settings() -> None:
    """Wherever they stand."""
    token = UserTokenSettings("ann", Secret("one-secret"))
    found = secrets_in({"a": [token, (Secret("two"),)], "b": 1, "c": frozenset([Secret("three")])})
    assert found == {"one-secret", "two", "three"}


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab:|=/?&.@ -_'\"Bearskgl1\n", max_size=200))
def test_any_text(text: str) -> None:
    """Is done with, and a second time stays as it is."""
    redaction = Redaction()
    clean = redaction.redacted(text)
    assert redaction.redacted(clean) == clean


def test_long_texts_take_no_longer_than_they_are() -> None:
    """No pattern goes back and forth: twice the text is twice the work at most. It ends, or never does."""
    for piece in ("a:", "a|", "eyJ", "bearer ", "://", "token=", "sk-", "0" * 31 + " ", "a/", "gl"):
        Redaction().redacted(piece * (60_000 // len(piece)))


def test_our_own_words_of_a_key_stay() -> None:
    """What is wrong with a key is what the operator must read."""
    for text in (
        "upstream[1].api_key: the file /etc/a.key cannot be read",
        "user_token[1].token: must be text",
    ):
        assert Redaction().redacted(text) == text
    assert "theory" not in Redaction().redacted("token: theory-1")
