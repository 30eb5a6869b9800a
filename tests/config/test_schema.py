"""Tests of :mod:`gptproxy.config.schema`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gptproxy.config import (
    AccessSettings,
    GitLabSettings,
    KnowledgeSettings,
    LimitSettings,
    RetrySettings,
    Secret,
    Settings,
    TimeoutSettings,
    TLSSettings,
    TopicSettings,
    UpstreamSettings,
    UserTokenSettings,
)
from gptproxy.config.schema import SCHEMA
from tests.config.documents import (
    AZURE_KEY,
    DIRECTORY,
    OPENAI_KEY,
    USER_TOKEN,
    azure,
    guarded,
    openai,
    problems,
    schema_paths,
    settings,
)

TLS = TLSSettings(DIRECTORY / "cert.pem", DIRECTORY / "key.pem")
TOPIC: dict[str, object] = {"words": ["fibjs"], "documents": "fibjs"}


def test_nothing_written() -> None:
    """An empty document has every default, no upstream, and no way in."""
    assert settings({}) == Settings(
        source="gptproxy.toml",
        tls=TLS,
        access=AccessSettings(objects=DIRECTORY / "objects.db"),
    )


def test_everything_written() -> None:
    """Every key arrives where the settings have it."""
    document: dict[str, object] = {
        "unknown_model": "first",
        "tls": {"certificate": "/x/c.pem", "private_key": "k.pem"},
        "gitlab": {
            "url": "https://git.corp.com/",
            "cache_size": 5,
            "cache_seconds": 6,
            "refused_seconds": 7.5,
        },
        "upstream": [azure(api_version="2024-10-21"), openai(url="http://vllm.corp.com:8000")],
        "user_token": [{"user_id": "user1", "token": USER_TOKEN}],
        "knowledge": {"database": "knowledge.db", "embedding_model": "m"},
        "topic": [TOPIC, TOPIC | {"prompt": "p", "preamble": "q", "max_tokens": 9}],
        "access": {"pure_proxy": True},
        "retry": {
            "attempts": 1,
            "backoff_seconds": 1,
            "backoff_max_seconds": 2,
            "budget_seconds": 3,
        },
        "timeouts": {
            "header_seconds": 1,
            "body_idle_seconds": 2,
            "keep_alive_idle_seconds": 3,
            "connect_seconds": 4,
            "first_byte_seconds": 5,
            "stream_idle_seconds": 6,
        },
        "limits": {
            "header_bytes": 2048,
            "body_bytes": 4096,
            "connections": 5,
            "connections_per_address": 6,
        },
    }
    assert settings(document) == Settings(
        source="gptproxy.toml",
        tls=TLSSettings(Path("/x/c.pem"), DIRECTORY / "k.pem"),
        gitlab=GitLabSettings("https://git.corp.com", 5, 6.0, 7.5),
        upstreams=(
            UpstreamSettings(
                name="primary",
                tier=1,
                kind="azure",
                url="https://gpt1.openai.azure.com",
                api_key=Secret(AZURE_KEY),
                api_version="2024-10-21",
                deployments={"gpt-4": "gpt-4-eu"},
            ),
            UpstreamSettings(
                name="secondary",
                tier=2,
                kind="openai",
                url="http://vllm.corp.com:8000/v1",
                api_key=Secret(OPENAI_KEY),
            ),
        ),
        user_tokens=(UserTokenSettings("user1", Secret(USER_TOKEN)),),
        knowledge=KnowledgeSettings(DIRECTORY / "knowledge.db", "m"),
        topics=(
            TopicSettings("fibjs", ("fibjs",)),
            TopicSettings("fibjs", ("fibjs",), "p", "q", 9),
        ),
        access=AccessSettings(pure_proxy=True, objects=DIRECTORY / "objects.db"),
        retry=RetrySettings(1, 1.0, 2.0, 3.0),
        timeouts=TimeoutSettings(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        limits=LimitSettings(2048, 4096, 5, 6),
        unknown_model="first",
    )


PRINTABLE = "must be 1 to 256 printable characters without space at the ends"
URL = (
    "must be http:// or https:// and a host, then perhaps a port and a path; "
    "no user, query or fragment"
)
LOOPBACK = "must be https; http only on a loopback host"
UNGUARDED = (
    "nobody guards this key, so gptproxy refuses to start; add [gitlab] with its url, "
    "or [[user_token]] with user_id and token"
)


@pytest.mark.parametrize(
    ("document", "lines"),
    [
        (
            {"unknown_modl": "first"},
            ['unknown_modl: unknown key; did you mean "unknown_model"?'],
        ),
        ({"unknown_model": "last"}, ['unknown_model: must be "refuse" or "first"']),
        ({"gitlab": {}}, ["gitlab.url: missing"]),
        ({"gitlab": {"url": "http://git.corp.com"}}, [f"gitlab.url: {LOOPBACK}"]),
        ({"gitlab": {"url": "git.corp.com"}}, [f"gitlab.url: {URL}"]),
        ({"gitlab": []}, ["gitlab: must be a table, not a list"]),
        ({"upstream": azure()}, ["upstream: must be a list of tables, not a table"]),
        (guarded(azure(), azure()), ["upstream[2].name: the same as in upstream[1]"]),
        (
            {"upstream": [azure(), openai()]},
            [f"upstream[1].api_key: {UNGUARDED}", f"upstream[2].api_key: {UNGUARDED}"],
        ),
        (
            {"upstream": [openai(url="http://x", api_key=None), azure()], "user_token": []},
            [f"upstream[2].api_key: {UNGUARDED}"],
        ),
        (
            {"gitlba": {"url": "https://x"}, "upstream": [azure()]},
            ['gitlba: unknown key; did you mean "gitlab"?'],
        ),
        (
            {"upstream": [azure()], "access": {"pure_proxy": True}},
            [f"upstream[1].api_key: {UNGUARDED}"],
        ),
        (
            {"user_token": [{"user_id": "a"}, {"token": "s3cr3t-a"}]},
            ["user_token[1].token: missing", "user_token[2].user_id: missing"],
        ),
        (
            {
                "user_token": [
                    {"user_id": "a", "token": "s3cr3t-a"},
                    {"user_id": "b", "token": "s3cr3t-b"},
                    {"user_id": "c", "token": "s3cr3t-a"},
                ]
            },
            ["user_token[3].token: the same as in user_token[1]"],
        ),
        (
            {"user_token": [{"user_id": "a\nb", "token": "x" + "y" * 512}]},
            [
                f"user_token[1].user_id: {PRINTABLE}",
                "user_token[1].token: the value is longer than 512 characters",
            ],
        ),
        (
            {"topic": [TOPIC]},
            ["knowledge: missing; a [[topic]] needs [knowledge] with its database"],
        ),
        ({"topic": [TOPIC], "knowledge": {}}, ["knowledge.database: missing"]),
        (
            {"topic": [{"words": []}], "knowledge": {"database": "k.db"}},
            ["topic[1].words: must have at least one word", "topic[1].documents: missing"],
        ),
        ({"retry": {"attempts": 0}}, ["retry.attempts: must be from 1 to 20"]),
        (
            {"retry": {"attempts": True}},
            ["retry.attempts: must be a whole number, not true or false"],
        ),
        ({"retry": {"retry_share": 1.1}}, ["retry.retry_share: must be from 0 to 1"]),
        (
            {"retry": {"circuit_share": True}},
            ["retry.circuit_share: must be a number from 0 to 1, not true or false"],
        ),
        (
            {"retry": {"circuit_probe_seconds": 301}},
            ["retry.circuit_probe_max_seconds: must be at least circuit_probe_seconds"],
        ),
        (
            {"retry": {"backoff_seconds": 9}},
            ["retry.backoff_max_seconds: must be at least backoff_seconds"],
        ),
        (
            {"limits": {"body_bytes": -1}, "timeouts": {"connect_seconds": "5s"}},
            [
                "timeouts.connect_seconds: must be a number of seconds, not text",
                "limits.body_bytes: must be from 1024 to 2147483647",
            ],
        ),
        (
            {"access": {"pure_proxy": 1}},
            ["access.pure_proxy: must be true or false, not a whole number"],
        ),
    ],
)
def test_bad_documents(document: dict[str, object], lines: list[str]) -> None:
    """Each fault is one line that names the file, the key, and what to write."""
    assert problems(document) == [f"gptproxy.toml: {line}" for line in lines]


@pytest.mark.parametrize(
    "document",
    [
        guarded(azure()),
        {"upstream": [azure()], "user_token": [{"user_id": "a", "token": USER_TOKEN}]},
        {"upstream": [openai(url="http://vllm:8000", api_key=None)]},
        {"upstream": []},
        {"topic": []},
        {"gitlab": {"url": "http://[::1]:8080"}},
    ],
)
def test_good_documents(document: dict[str, object]) -> None:
    """Guarded keys, servers without a key, and nothing at all are fine."""
    assert problems(document) == []


NAMES = sorted(
    {name for path in schema_paths(SCHEMA) for name in path.split(".")}
    | {"file", "env", "credential", "deploymnets", "gpt-4"}
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.dates()
    | st.text(max_size=8)
    | st.characters(categories=["Cs"])
    | st.sampled_from(["azure", "openai", "first", "gpt1", "https://x.com", USER_TOKEN]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=25,
)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from([key.name for key in SCHEMA.keys]), values, max_size=6))
def test_any_document(document: dict[str, object]) -> None:
    """Any document gives settings whose keys are guarded, or one printable line per problem."""
    lines = problems(document)
    assert all(line.isprintable() and line.startswith("gptproxy.toml: ") for line in lines)
    if not lines:
        found = settings(document)
        keyed = any(upstream.api_key is not None for upstream in found.upstreams)
        assert not keyed or found.gitlab is not None or found.user_tokens


secrets = st.from_regex(r"s3Cr-[A-Za-z0-9]{12}[!-~]{0,8}", fullmatch=True)


@hypothesis_settings(max_examples=100, deadline=None)
@given(secrets, secrets, values, st.sampled_from(["", " ", "\u00e9", "..."]))
def test_secrets_stay_secret(key: str, token: str, value: object, spoilt: str) -> None:
    """No secret is in the text of settings or of errors, be it well written or spoilt."""
    document = guarded(
        azure(api_key=key + spoilt, deployments=value),
        user_token=[{"user_id": "a", "token": token + spoilt}, {"user_id": "b", "token": token}],
    )
    good = guarded(azure(api_key=key), user_token=[{"user_id": "a", "token": token}])
    shown = "\n".join([*problems(document), repr(settings(good)), str(settings(good))])
    assert key not in shown
    assert token not in shown


@pytest.mark.parametrize(("written", "workers"), [(4, 4), ("auto", 0)])
def test_workers_are_a_number_or_as_many_as_cores(written: object, workers: int) -> None:
    """``[process] workers``."""
    assert settings({"process": {"workers": written}}).process.workers == workers


def test_workers_are_nothing_else() -> None:
    """Another word is refused, with what may stand there."""
    (line,) = problems({"process": {"workers": "many"}})
    assert line.endswith('process.workers: must be a number from 1 to 256, or "auto"')
