"""What a server asks to wait is understood in each form that it may be said in, and in no other."""

from __future__ import annotations

import pytest

from gptproxy.http import OwnAnswer, asked_seconds

DATE = "Sun, 22 Nov 2026 06:00:00 GMT"


@pytest.mark.parametrize(
    ("milliseconds", "retry_after", "date", "expected"),
    [
        ("", "", "", None),
        ("", "7", "", 7.0),
        ("", "0", DATE, 0.0),
        ("", "1.5", "", 1.5),
        ("250", "7", "", 0.25),
        ("soon", "7", "", 7.0),
        ("", "-1", "", None),
        ("", "1e3", "", None),
        ("", "٣", "", None),
        ("", "Sun, 22 Nov 2026 06:01:30 GMT", DATE, 90.0),
        ("", "Sun, 22 Nov 2026 05:00:00 GMT", DATE, 0.0),
        ("", "Sun, 22 Nov 2026 06:01:30 GMT", "", None),
        ("", "Sun, 22 Nov 2026 06:01:30 -0000", DATE, None),
        ("", "tomorrow", DATE, None),
    ],
)
def test_forms(milliseconds: str, retry_after: str, date: str, expected: float | None) -> None:
    """Milliseconds first, then seconds, then a date against the answer's own."""
    assert asked_seconds(milliseconds, retry_after, date) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OwnAnswer(429, b""), 0.0),
        (OwnAnswer(429, b"", "60"), 60.0),
        (OwnAnswer(429, b"", "60", retry_after_ms="200"), 0.2),
        (OwnAnswer(503, b"", "Sun, 22 Nov 2026 06:00:05 GMT", date=DATE), 5.0),
        (OwnAnswer(503, b"", "999999999999"), 1e9),
    ],
)
def test_of_an_answer(answer: OwnAnswer, expected: float) -> None:
    """Nothing said is no wait, and the longest is one that a timer takes."""
    assert answer.wait_seconds() == expected
