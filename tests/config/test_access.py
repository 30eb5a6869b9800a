"""``[gitlab]`` and its ``[[gitlab.allow]]``: what is taken, and what is said of the rest."""

from __future__ import annotations

import pytest

from gptproxy.config import AllowSettings, GitLabSettings, Secret
from tests.config.documents import problems, settings

URL = "https://git.corp.com"


def test_everything_written() -> None:
    """Every key arrives where the settings have it."""
    found = settings(
        {
            "gitlab": {
                "url": URL,
                "audience": "https://gpt.corp.com",
                "job_tokens": False,
                "bots": True,
                "scopes": ["ai_features", "api"],
                "grace_seconds": 5,
                "service_token": {"env": "SERVICE"},
                "allow": [
                    {
                        "group": "a/b",
                        "min_access_level": "developer",
                        "models": ["gpt-4o*"],
                        "protected_refs_only": True,
                    },
                    {"project": 20},
                    {"user": "alice"},
                    {"group": "10"},
                    {"project": "a/b"},
                ],
            }
        },
        {"SERVICE": "glpat-4f29ec7c"},
    ).gitlab
    assert found == GitLabSettings(
        URL,
        grace_seconds=5.0,
        audience="https://gpt.corp.com",
        job_tokens=False,
        bots=True,
        scopes=("ai_features", "api"),
        service_token=Secret("glpat-4f29ec7c"),
        allow=(
            AllowSettings("a/b", "", "", 30, ("gpt-4o*",), True),
            AllowSettings(project="20"),
            AllowSettings(user="alice"),
            AllowSettings(group="10"),
            AllowSettings(project="a/b"),
        ),
    )


ONE = "must have exactly one of group, project and user"
PROJECT = "must be an id or a path with its namespace, as a/b"


@pytest.mark.parametrize(
    ("allow", "line"),
    [
        ({}, f"allow[1]: {ONE}"),
        ({"group": "a", "user": "b"}, f"allow[1]: {ONE}"),
        ({"group": ""}, "allow[1].group: must be an id or a full path, as a/b"),
        ({"group": "/a"}, "allow[1].group: must be an id or a full path, as a/b"),
        ({"group": "a//b"}, "allow[1].group: must be an id or a full path, as a/b"),
        ({"group": 0}, "allow[1].group: must be from 1 to 999999999999999999"),
        (
            {"group": True},
            "allow[1].group: must be text, not true or false",
        ),
        ({"project": "b"}, f"allow[1].project: {PROJECT}"),
        ({"user": "a/b"}, "allow[1].user: must be an id or a user name"),
        (
            {"group": "a", "min_access_level": 30},
            (
                'allow[1].min_access_level: must be "guest" or "planner" or "reporter" or '
                '"developer" or "maintainer" or "owner"'
            ),
        ),
        (
            {"user": "a", "min_access_level": "guest"},
            "allow[1].min_access_level: goes with group or project; a user has none",
        ),
        ({"group": "a", "models": []}, 'allow[1].models: must name at least one model; "*" is all'),
        ({"group": "a", "models": "x"}, "allow[1].models: must be a list of texts, not text"),
        (
            {"group": "a", "protected_refs_only": 1},
            "allow[1].protected_refs_only: must be true or false, not a whole number",
        ),
    ],
)
def test_bad_rules(allow: dict[str, object], line: str) -> None:
    """Each fault is one line at its key."""
    assert problems({"gitlab": {"url": URL, "allow": [allow]}}) == [f"gptproxy.toml: gitlab.{line}"]
