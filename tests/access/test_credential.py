"""The one credential in a request's headers is found, or the caller is told what to send."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.access.credential import JobSecret, credential_in, is_never_a_key
from gptproxy.access.refusals import GitLabAway, forbidden, invalid_credential, too_many_invalid
from gptproxy.config import Secret
from gptproxy.wire import Refusal

A, B = b"authorization", b"authentication"
TOKEN = b"glpat-abc.DEF_123"


@pytest.mark.parametrize(
    "fields",
    [
        [(A, b"Bearer " + TOKEN)],
        [(B, b"Bearer " + TOKEN)],
        [(A, b"bearer " + TOKEN)],
        [(A, b"BEARER " + TOKEN)],
        [(A, b"bEaReR    " + TOKEN)],
        [(A, b"Bearer " + TOKEN), (B, b"bearer " + TOKEN)],
        [(A, b"Bearer " + TOKEN), (A, b"Bearer " + TOKEN)],
        [(b"host", b"gpt"), (b"x-authorization", b"Bearer other"), (A, b"Bearer " + TOKEN)],
        [(b"cookie", b"a=b"), (b"x-api-key", b"other"), (B, b"Bearer " + TOKEN)],
        [(b"api-key", TOKEN)],
        [(b"private-token", TOKEN)],
        [(b"job-token", TOKEN)],
        [(b"api-key", TOKEN), (A, b"Bearer " + TOKEN), (b"private-token", TOKEN)],
    ],
)
def test_found(fields: list[tuple[bytes, bytes]]) -> None:
    """Both spellings of the header, any case of the scheme; the same token twice is one credential."""
    assert credential_in(fields).reveal() == TOKEN.decode()


@pytest.mark.parametrize("token", [b"a", b"!", b"~" * 8192, b"a:b|c,d:e", b"Bearer", b"' OR 1=1--"])
def test_every_visible_character(token: bytes) -> None:
    """Nothing is judged by prefix or length below 8 KiB: GitLab's tokens have many forms."""
    found = token.replace(b" ", b"_")
    assert credential_in([(A, b"Bearer " + found)]).reveal() == found.decode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer\t" + TOKEN,
        b" Bearer " + TOKEN,
        b"Bearer " + TOKEN + b" ",
        b"Bearer a b",
        b"Bearer a, Bearer b",
        b"Bearer a\x00b",
        b"Bearer a\r\nb",
        b"Bearer a\n",
        b"Bearer a\x7f",
        b"Bearer \x80",
        b"Bearer t\xc3\xb6ken",
        b"Bearer " + b"a" * 8193,
        b"Basic dXNlcjpwYXNz",
        b"Bearerx" + TOKEN,
        b"Token " + TOKEN,
        TOKEN,
    ],
)
def test_malformed_is_401(value: bytes) -> None:
    """What is not a scheme and one token is no credential, and what it was is not repeated."""
    for fields in ([(A, value)], [(B, value)], [(A, b"Bearer " + TOKEN), (A, value)]):
        with pytest.raises(Refusal) as refused:
            credential_in(fields)
        assert refused.value.status == 401
        assert refused.value.code == "invalid_api_key"
        assert (b"www-authenticate", b"Bearer") in refused.value.headers
        assert TOKEN.decode() not in str(refused.value)


@pytest.mark.parametrize("fields", [[], [(b"host", b"gpt")], [(b"x-api-key", TOKEN)]])
def test_none_is_401(fields: list[tuple[bytes, bytes]]) -> None:
    """Without a credential nobody gets in, and the message says where it belongs."""
    with pytest.raises(Refusal, match="Authorization: Bearer TOKEN") as refused:
        credential_in(fields)
    assert refused.value.status == 401


@pytest.mark.parametrize(
    "fields",
    [
        [(A, b"Bearer one"), (A, b"Bearer two")],
        [(A, b"Bearer one"), (B, b"Bearer two")],
        [(A, b"Bearer one"), (B, b"Bearer one"), (A, b"bearer One")],
        [(A, b"Bearer one"), (b"api-key", b"two")],
        [(b"private-token", b"one"), (b"job-token", b"two")],
    ],
)
def test_two_different_are_400(fields: list[tuple[bytes, bytes]]) -> None:
    """Which of two callers it is, is not guessed."""
    with pytest.raises(Refusal, match="two different") as refused:
        credential_in(fields)
    assert refused.value.status == 400


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, b"api-key", b"private-token", b"job-token", b"host"]),
            st.binary(max_size=30)
            | st.binary(max_size=20).map(lambda token: b"Bearer " + token)
            | st.sampled_from([b"Bearer one", b"bearer two"]),
        ),
        max_size=3,
    )
)
def test_anything_is_a_token_or_a_refusal(fields: list[tuple[bytes, bytes]]) -> None:
    """Whatever is sent, the answer is one of the two, and the token is visible ASCII."""
    try:
        token = credential_in(fields).reveal()
    except Refusal as refusal:
        refused = refusal.status
    else:
        refused = None
        assert token.isascii()
        assert token.isprintable()
        assert " " not in token
    assert refused in (None, 400, 401)


def test_refusals_are_in_openais_form() -> None:
    """Clients raise it as AuthenticationError, by status and form."""
    refusal = invalid_credential("Do this.")
    assert (refusal.status, refusal.message, refusal.error_type) == (
        401,
        "Do this.",
        "invalid_request_error",
    )


@pytest.mark.parametrize("name", [b"api-key", b"private-token", b"job-token"])
@pytest.mark.parametrize("value", [b"", b" x", b"a b", b"Bearer one", b"a\x7f", b"a" * 8193])
def test_bare_headers_are_bare(name: bytes, value: bytes) -> None:
    """They have no scheme before the token; the refusal names the header and not what was in it."""
    with pytest.raises(Refusal, match=name.decode()) as refused:
        credential_in([(name, value)])
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("fields", "job"),
    [
        ([(b"job-token", TOKEN)], True),
        ([(b"job-token", TOKEN), (b"job-token", TOKEN)], True),
        ([(b"job-token", TOKEN), (A, b"Bearer " + TOKEN)], False),
        ([(A, b"Bearer " + TOKEN), (b"job-token", TOKEN)], False),
        ([(A, b"Bearer " + TOKEN)], False),
    ],
)
def test_what_came_as_a_job_token(fields: list[tuple[bytes, bytes]], job: bool) -> None:
    """It is marked as one, where it came in no other way; marked or not it does not show itself."""
    found = credential_in(fields)
    assert (type(found) is JobSecret) is job
    assert TOKEN.decode() not in f"{found!r} {found}"


@pytest.mark.parametrize(
    ("token", "never"),
    [
        ("gldt-x", True),
        ("glrt-x", True),
        ("glrtr-x", True),
        ("glptt-x", True),
        ("glft-x", True),
        ("glimt-x", True),
        ("glagent-x", True),
        ("glsoat-x", True),
        ("glffct-x", True),
        ("gloas-x", True),
        ("glpat-x", False),
        ("glcbt-x", False),
        ("corp-gldt-x", False),
        ("gldtx", False),
        ("GLDT-x", False),
        ("5a" * 32, False),
    ],
)
def test_kinds_that_are_no_keys(token: str, never: bool) -> None:
    """By GitLab's own list; everything else is for GitLab to judge, whatever it begins with."""
    assert is_never_a_key(Secret(token)) is never


def test_the_other_refusals() -> None:
    """Each has its status and code, and those that end by themselves say when."""
    assert (forbidden("x").status, forbidden("x").code) == (403, "access_denied")
    assert too_many_invalid(0.2).headers == ((b"retry-after", b"1"),)
    assert GitLabAway("x").headers == ((b"retry-after", b"5"),)
