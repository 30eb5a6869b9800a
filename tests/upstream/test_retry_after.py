"""How long an upstream asks to be left alone, in each form in which it says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.upstream.retry_after import retry_after_seconds

REQUESTS, TOKENS = b"x-ratelimit-reset-requests", b"x-ratelimit-reset-tokens"
LEFT_REQUESTS, LEFT_TOKENS = b"x-ratelimit-remaining-requests", b"x-ratelimit-remaining-tokens"
NOW = (b"date", b"Wed, 21 Oct 2026 07:27:30 GMT")


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ([], None),
        ([(b"retry-after", b"22")], 22.0),
        ([(b"retry-after", b"0")], 0.0),
        ([(b"retry-after", b" 1.5 ")], 1.5),
        ([(b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after-ms", b"0.5")], 0.0005),
        ([(b"retry-after", b"2"), (b"retry-after-ms", b"1500")], 1.5),
        ([(b"retry-after", b"2"), (b"retry-after-ms", b"soon")], 2.0),
        ([(b"retry-after", b"3"), (b"retry-after", b"4")], 3.0),
        # A date, read against the answer's own.
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT"), NOW], 30.0),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:27:00 GMT"), NOW], 0.0),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 GMT")], None),
        ([(b"retry-after", b"Wed, 21 Oct 2026 07:28:00 -0000"), NOW], None),
        ([(b"retry-after", b"Wed, 99 Oct 2026 07:28:00 GMT"), NOW], None),
        ([(b"retry-after", b"-1")], None),
        ([(b"retry-after", b"+1")], None),
        ([(b"retry-after", b"1e9")], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b"inf")], None),
        ([(b"retry-after", b"1.2.3")], None),
        ([(b"retry-after", b".")], None),
        ([(b"retry-after", b"")], None),
        ([(b"retry-after", b"1_0")], None),
        ([(b"retry-after", "\u0663".encode())], None),
        ([(b"retry-after", b"9" * 12)], 999999999999.0),
        ([(b"retry-after", b"9" * 13)], None),
        ([(b"x-retry-after", b"1")], None),
        # OpenAI's durations, Azure's numbers.
        ([(REQUESTS, b"1s")], 1.0),
        ([(TOKENS, b"6m0s")], 360.0),
        ([(TOKENS, b"120ms")], 0.12),
        ([(TOKENS, b"1h2m3.5s")], 3723.5),
        ([(TOKENS, b"1d")], 86_400.0),
        ([(REQUESTS, b"10")], 10.0),
        ([(REQUESTS, b"1792567650")], None),
        ([(REQUESTS, b"soon")], None),
        # The limit that is used up, the later of two.
        ([(REQUESTS, b"1s"), (TOKENS, b"6m0s"), (LEFT_TOKENS, b"0")], 360.0),
        ([(REQUESTS, b"9s"), (TOKENS, b"6s"), (LEFT_TOKENS, b"0"), (LEFT_REQUESTS, b"0")], 9.0),
        ([(REQUESTS, b"1s"), (LEFT_REQUESTS, b"9"), (TOKENS, b"6s"), (LEFT_TOKENS, b"0")], 6.0),
        ([(REQUESTS, b"8.64s"), (LEFT_REQUESTS, b"0.0")], 8.64),
        ([(TOKENS, b"7"), (LEFT_TOKENS, b"-1")], 7.0),
        # Something remains of each: it is another limit that throttles, and these say nothing of it.
        ([(REQUESTS, b"9s"), (TOKENS, b"6s"), (LEFT_TOKENS, b"4"), (LEFT_REQUESTS, b"5")], None),
        ([(REQUESTS, b"8.64s"), (LEFT_REQUESTS, b"9999")], None),
        # Nothing says what remains: the nearest of those that may be used up.
        ([(REQUESTS, b"9s"), (TOKENS, b"6s")], 6.0),
        ([(REQUESTS, b"9s"), (TOKENS, b"6s"), (LEFT_TOKENS, b"4")], 9.0),
        ([(TOKENS, b"6s"), (LEFT_TOKENS, b"some")], 6.0),
        ([(b"retry-after", b"2"), (TOKENS, b"6m0s")], 2.0),
        ([(b"retry-after", b"soon"), (TOKENS, b"6s")], 6.0),
    ],
)
def test_fields(fields: list[tuple[bytes, bytes]], seconds: float | None) -> None:
    """Milliseconds before seconds and dates, those before the limits' own."""
    found = retry_after_seconds(tuple(fields))
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        (
            "Requests have exceeded call rate limit of your current OpenAI S0 tier. Please retry after 22 seconds.",
            22.0,
        ),
        (
            "Rate limit of 300000 per 60s exceeded for UserByModelByMinute. Please wait 23 seconds before retrying.",
            23.0,
        ),
        ("Please retry after 1 second.", 1.0),
        ("Please retry after 500 milliseconds.", 0.5),
        ("Rate limit reached. Please try again in 20s. Visit ...", 20.0),
        ("Rate limit reached. Please try again in 6m0s.", 360.0),
        ("Rate limit reached. Please try again in 1m26.4s.", 86.4),
        ("Rate limit reached. Please try again in 120ms.", 0.12),
        ("Try again in 2 minutes", 120.0),
        ("wait 1 hour", 3600.0),
        ("wait for 3 seconds", 3.0),
        ("Rate limit of 300000 per 60s exceeded", None),
        ("await 5 seconds", None),
        ("retry after 5 moons", None),
        ("x" * 5000 + "retry after 22 seconds", None),
        ("", None),
    ],
)
def test_words(message: str, seconds: float | None) -> None:
    """The last resort."""
    found = retry_after_seconds((), message)
    assert found == (None if seconds is None else pytest.approx(seconds))
    assert retry_after_seconds(((b"retry-after", b"7"),), message) == 7.0


def test_something_remains_but_the_words_say_when() -> None:
    """What no header knows of, the message may."""
    fields = ((REQUESTS, b"8.64s"), (LEFT_REQUESTS, b"9999"))
    assert retry_after_seconds(fields, "Please try again in 120ms.") == pytest.approx(0.12)


@settings(max_examples=100, deadline=None)
@given(
    fields=st.lists(
        st.tuples(
            st.sampled_from(
                [b"retry-after", b"retry-after-ms", b"date", REQUESTS, TOKENS, LEFT_TOKENS]
            ),
            st.binary(max_size=40) | st.text("0123456789.msh GMT,:-+", max_size=30).map(str.encode),
        )
    ),
    message=st.text(max_size=50),
)
def test_any(fields: list[tuple[bytes, bytes]], message: str) -> None:
    """Whatever stands there: no wait, or one of a length."""
    found = retry_after_seconds(tuple(fields), message)
    assert found is None or found >= 0


def test_when_limits_are_full_again_says_nothing_of_other_trouble() -> None:
    """Every answer of OpenAI's has these headers, a 500 too; a Retry-After counts there as everywhere."""
    fields = ((REQUESTS, b"8.64s"), (LEFT_REQUESTS, b"0"))
    assert retry_after_seconds(fields) == 8.64
    assert retry_after_seconds(fields, throttled=False) is None
    assert retry_after_seconds((*fields, (b"retry-after", b"2")), throttled=False) == 2.0
