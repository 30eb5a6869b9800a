"""A worker's part, and how many there are."""

from __future__ import annotations

import os
from unittest import mock

import pytest
from attrs import fields
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config import GroupQuotaSettings, LimitSettings, ProcessSettings, QuotaSettings
from gptproxy.workers import divided, worker_count


@pytest.mark.parametrize(
    ("configured", "asked", "count"),
    [
        (1, None, 1),
        (3, None, 3),
        (3, "1", 1),
        (1, "256", 256),
        (3, "auto", 5),
        (None, None, 5),
        (None, "2", 2),
    ],
)
def test_count(configured: int | None, asked: str | None, count: int) -> None:
    """The command line wins; ``auto`` is the cores that the process may use."""
    with mock.patch("os.sched_getaffinity", return_value=set(range(5)), create=True):
        assert worker_count(ProcessSettings(workers=configured), asked) == count


@pytest.mark.parametrize("asked", ["0", "-1", "257", "x", "", "1.5", "٣"])
def test_no_count(asked: str) -> None:
    """A number from 1 to 256, or ``auto``."""
    with pytest.raises(ValueError, match=f"^{asked}$"):
        worker_count(ProcessSettings(), asked)


def test_a_system_that_tells_no_affinity() -> None:
    """Has its cores counted."""
    with (
        mock.patch.object(os, "sched_getaffinity", create=True),
        mock.patch("os.cpu_count", return_value=7),
    ):
        del os.sched_getaffinity
        assert worker_count(ProcessSettings(workers=None), None) == 7


def test_one_has_it_all() -> None:
    """A single process is not divided."""
    limits = LimitSettings()
    assert divided(limits, 1) is limits


def test_parts() -> None:
    """What is counted is divided, rounded up; what bounds one call is not."""
    quota = QuotaSettings(5, None, 1000)
    limits = LimitSettings(
        connections=10,
        connections_per_address=3,
        streams=4,
        memory_bytes=100,
        everybody=quota,
        caller=QuotaSettings(1, 10, None),
        groups=(GroupQuotaSettings("a", quota),),
    )
    part = QuotaSettings(2, None, 334)
    assert divided(limits, 3) == LimitSettings(
        connections=4,
        connections_per_address=1,
        streams=2,
        memory_bytes=34,
        everybody=part,
        caller=QuotaSettings(1, 4, None),
        groups=(GroupQuotaSettings("a", part),),
    )


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 10**6), st.integers(1, 256))
def test_no_more_than_rounding_adds(whole: int, workers: int) -> None:
    """All parts together are the whole, and less than one more for each worker."""
    part = divided(LimitSettings(connections=whole), workers).connections
    assert whole <= part * workers < whole + workers


def test_every_limit_is_thought_of() -> None:
    """A new limit is divided, or named here as one that is each worker's own."""
    own = {"header_bytes", "body_bytes", "lag_seconds"}
    parts = {
        "connections",
        "connections_per_address",
        "streams",
        "memory_bytes",
        "everybody",
        "caller",
        "groups",
    }
    assert {each.name for each in fields(LimitSettings)} == own | parts
