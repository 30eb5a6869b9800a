"""The bounds that docs/access.md promises, as numbers: elsewhere tests go by their names."""

from __future__ import annotations

import pytest

from gptproxy.access import (
    gitlab,
    gitlab_api,
    id_token,
    invalid_limit,
    refusals,
    signing_keys,
    slots,
)
from gptproxy.config import GitLabSettings


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (slots.MOST, 20),
        (slots.WAIT_SECONDS, 5.0),
        (gitlab_api.TOTAL_SECONDS, 5.0),
        (gitlab.VERDICT_SECONDS, 15.0),
        (gitlab.JOB_SECONDS, 60.0),
        (id_token.LEEWAY_SECONDS, 30.0),
        (signing_keys.BETWEEN_SECONDS, 60.0),
        (signing_keys.FRESH_SECONDS, 3600.0),
        (signing_keys.STALE_SECONDS, 86_400.0),
        (invalid_limit.BURST, 30),
        (invalid_limit.SECONDS_EACH, 6.0),
        (invalid_limit.SHARED_BURST, 300),
        (refusals.LONGEST_RETRY_AFTER_SECONDS, 300.0),
    ],
)
def test_bounds(found: float, expected: float) -> None:
    assert found == expected


def test_defaults() -> None:
    settings = GitLabSettings("https://git.example.com")
    assert (settings.cache_size, settings.cache_seconds, settings.refused_seconds) == (
        10_000,
        60,
        30,
    )
    assert (settings.grace_seconds, settings.job_tokens, settings.bots) == (900, True, False)
    assert (settings.audience, settings.scopes, settings.allow) == ("", (), ())
