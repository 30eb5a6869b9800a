"""Tests of :mod:`gptproxy.config.seeds`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gptproxy.config import (
    ConfigurationError,
    Secret,
    Settings,
    TLSSettings,
    UpstreamSettings,
    UserTokenSettings,
)
from gptproxy.config.seeds import is_haigpt, settings_from_environment, settings_from_haigpt

DIRECTORY = Path("/srv/haigpt")
KEY_1 = "4f29ec7c704d453fbb15e82a6700beef"
KEY_2 = "2c7f38da89274c96b85b345632a01fde"
TOKEN_1 = "sk-87vbtyWRh5tHEwRrZPd3z6U2CmGKQ1JnXbZtVgYpBmHZP9JKH"
TOKEN_2 = "sk-lktyzjVEt9cXDsOPe3q5Y2RsMnGKJ9ZpYbLtWhZnCdZYJ2KLH"
DEPLOYMENTS = {"gpt-3.5-turbo": "gpt-35-turbo", "gpt-4": "gpt-4", "gpt-4-32k": "gpt-4-32k"}
PAIRS = "gpt-3.5-turbo|gpt-35-turbo,gpt-4|gpt-4,gpt-4-32k|gpt-4-32k"

PRIMARY: dict[str, object] = {
    "resourceId": "gpt1",
    "deployment": DEPLOYMENTS,
    "apiKey": KEY_1,
    "apiVersion": "2023-05-15",
}
SECONDARY: dict[str, object] = {"resourceId": "gpt2", "deployment": DEPLOYMENTS, "apiKey": KEY_2}
USERS: list[object] = [
    {"userId": "user1", "token": TOKEN_1},
    {"userId": "user2", "token": TOKEN_2},
]
ENVIRON = {
    "PrimaryApiKey": f"gpt1:{PAIRS}:{KEY_1}:2023-05-15",
    "SecondaryApiKey": f"gpt2:{PAIRS}:{KEY_2}",
    "UserTokens": f"user1|{TOKEN_1},user2|{TOKEN_2}",
    "PATH": "/usr/bin",
}
PRINTABLE = "must be 1 to 256 printable characters without space at the ends"
NO_LINE = "an azure upstream needs at least one line: model = deployment"
UNGUARDED = (
    "nobody guards this key, so gptproxy refuses to start; add {}, "
    "or use a gptproxy.toml with [gitlab]"
)


def expected(source: str) -> Settings:
    return Settings(
        source=source,
        tls=TLSSettings(DIRECTORY / "cert.pem", DIRECTORY / "key.pem"),
        upstreams=(
            UpstreamSettings(
                name="primary",
                tier=1,
                kind="azure",
                url="https://gpt1.openai.azure.com",
                api_key=Secret(KEY_1),
                deployments=DEPLOYMENTS,
            ),
            UpstreamSettings(
                name="secondary",
                tier=2,
                kind="azure",
                url="https://gpt2.openai.azure.com",
                api_key=Secret(KEY_2),
                deployments=DEPLOYMENTS,
            ),
        ),
        user_tokens=(
            UserTokenSettings("user1", Secret(TOKEN_1)),
            UserTokenSettings("user2", Secret(TOKEN_2)),
        ),
        unknown_model="first",
    )


def from_json(document: Mapping[str, object]) -> Settings:
    return settings_from_haigpt(document, source="config.json", directory=DIRECTORY, environ={})


def test_config_json() -> None:
    """Haigpt's sample file becomes a primary, a secondary and two users."""
    document = {"primaryApiKey": PRIMARY, "secondaryApiKey": SECONDARY, "userTokens": USERS}
    assert from_json(document) == expected("config.json")


def test_environment() -> None:
    """Haigpt's sample variables become the same."""
    assert settings_from_environment(ENVIRON, DIRECTORY) == expected("the environment")


def test_order_and_version() -> None:
    """The primary comes first wherever it stands; a version that is written is kept."""
    found = from_json(
        {
            "userTokens": USERS,
            "secondaryApiKey": SECONDARY | {"apiVersion": "2024-02-01"},
            "primaryApiKey": PRIMARY,
        }
    )
    assert [(each.name, each.api_version) for each in found.upstreams] == [
        ("primary", "2023-05-15"),
        ("secondary", "2024-02-01"),
    ]


def test_users_alone() -> None:
    """Tokens without an upstream are a configuration that is not complete yet, not a fault."""
    assert from_json({"userTokens": USERS}).upstreams == ()
    assert len(settings_from_environment({"UserTokens": "a|b|c"}, DIRECTORY).user_tokens) == 1


@pytest.mark.parametrize(
    ("document", "haigpt"),
    [
        ({}, False),
        ({"upstream": []}, False),
        ({"primaryApiKey": 1}, True),
        ({"secondaryApiKey": 1}, True),
        ({"userTokens": 1}, True),
        ({"primaryApikey": 1}, True),
    ],
)
def test_which_form(document: dict[str, object], haigpt: bool) -> None:
    """One of Haigpt's keys, in any case, makes a file Haigpt's."""
    assert is_haigpt(document) is haigpt


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        (
            {"primaryApiKey": PRIMARY, "secondaryApiKey": SECONDARY},
            [
                "primaryApiKey: " + UNGUARDED.format("userTokens"),
                "secondaryApiKey: " + UNGUARDED.format("userTokens"),
            ],
        ),
        (
            {"primaryApiKey": PRIMARY, "userTokens": []},
            ["primaryApiKey: " + UNGUARDED.format("userTokens")],
        ),
        (
            {"primaryApikey": PRIMARY, "userTokens": USERS, "gitlab": {}},
            [
                'primaryApikey: unknown key; did you mean "primaryApiKey"?',
                "gitlab: unknown key; known here: primaryApiKey, secondaryApiKey, userTokens",
            ],
        ),
        (
            {"primaryApiKey": {"resourceID": "gpt1"}, "userTokens": USERS},
            [
                'primaryApiKey.resourceID: unknown key; did you mean "resourceId"?',
                "primaryApiKey.deployment: missing",
                "primaryApiKey.apiKey: missing",
            ],
        ),
        (
            {
                "primaryApiKey": PRIMARY | {"apiKey": "", "deployment": {}, "apiVersion": 2023},
                "userTokens": [{"userId": "a", "token": "..."}],
            },
            [
                f"primaryApiKey.deployment: {NO_LINE}",
                "primaryApiKey.apiKey: the value is empty",
                "primaryApiKey.apiVersion: must be text, not a whole number",
                "userTokens[1].token: the value is a placeholder, not a secret",
            ],
        ),
        (
            {"userTokens": [USERS[0], {"userId": "user2", "token": TOKEN_1}]},
            ["userTokens[2].token: the same as in userTokens[1]"],
        ),
    ],
)
def test_bad_config_json(document: dict[str, object], lines: list[str]) -> None:
    """Faults are told in the names that the file has."""
    with pytest.raises(ConfigurationError) as caught:
        from_json(document)
    assert str(caught.value).splitlines() == [f"config.json: {line}" for line in lines]


FORM = "must be RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]"


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"UserTokens": None},
            [
                "PrimaryApiKey: " + UNGUARDED.format("UserTokens"),
                "SecondaryApiKey: " + UNGUARDED.format("UserTokens"),
            ],
        ),
        (
            {"PrimaryApiKey": ""},
            [f"PrimaryApiKey: {FORM}; the resource's name (before the first colon) is not one"],
        ),
        (
            {"SecondaryApiKey": f"gpt2:gpt-4:{KEY_2}"},
            [f"SecondaryApiKey: {FORM}; deployment 1 is not MODEL|DEPLOYMENT"],
        ),
        (
            {"PrimaryApiKey": "gpt1:a|b:changeme"},
            ["PrimaryApiKey: the key is a placeholder, not a secret"],
        ),
        ({"UserTokens": f"user1|{TOKEN_1},"}, ["UserTokens: must be USER|TOKEN,USER|TOKEN,..."]),
        (
            {"UserTokens": f"user1|{TOKEN_1},user2|,|{TOKEN_2},user4|{TOKEN_1}"},
            [
                "UserTokens[2].token: the value is empty",
                f"UserTokens[3].userId: {PRINTABLE}",
                "UserTokens[4].token: the same as in UserTokens[1]",
            ],
        ),
        ({"UserTokens": "user1|a\udcffb"}, ["UserTokens: must be valid Unicode text without NUL"]),
    ],
)
def test_bad_environment(changes: dict[str, str | None], lines: list[str]) -> None:
    """Faults name the variable, and nothing of what it holds."""
    environ = {name: text for name, text in (ENVIRON | changes).items() if text is not None}
    with pytest.raises(ConfigurationError) as caught:
        settings_from_environment(environ, DIRECTORY)
    assert str(caught.value).splitlines() == [f"the environment: {line}" for line in lines]
