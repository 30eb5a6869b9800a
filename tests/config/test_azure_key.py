"""Tests of :mod:`gptproxy.config.azure_key`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config import AzureKey, MalformedAzureKey, parse_azure_key
from gptproxy.config.azure_key import (
    API_VERSION,
    DEPLOYMENT,
    LONGEST_AZURE_KEY,
    RESOURCE,
)

KEY = "4f29ec7c704d453fbb15e82a6700beef"


def written(key: AzureKey) -> str:
    pairs = ",".join(f"{model}|{name}" for model, name in key.deployments.items())
    return f"{key.resource}:{pairs}:{key.key.reveal()}:{key.api_version}"


@pytest.mark.parametrize(
    ("text", "resource", "deployments", "version"),
    [
        (
            f"gpt1:gpt-3.5-turbo|gpt-35-turbo,gpt-4|gpt-4,gpt-4-32k|gpt-4-32k:{KEY}",
            "gpt1",
            {"gpt-3.5-turbo": "gpt-35-turbo", "gpt-4": "gpt-4", "gpt-4-32k": "gpt-4-32k"},
            "2023-05-15",
        ),
        (f"gpt1:gpt-4|gpt-4:{KEY}:2024-10-21", "gpt1", {"gpt-4": "gpt-4"}, "2024-10-21"),
        (f"g:a|b:{KEY}:2025-01-01-preview", "g", {"a": "b"}, "2025-01-01-preview"),
        (f"g:a|b:{KEY}:v1", "g", {"a": "b"}, "v1"),
        (f"g:a|b:{KEY}:preview", "g", {"a": "b"}, "preview"),
        (f"g:a|b:{KEY}:latest", "g", {"a": "b"}, "latest"),
        (f"GPT-1:a|B:{KEY}", "gpt-1", {"a": "B"}, "2023-05-15"),
        (f"g:ft:gpt-4o:org::id|ft-1:{KEY}", "g", {"ft:gpt-4o:org::id": "ft-1"}, "2023-05-15"),
        (f"g:ft:m:o::v1|d,x/y|e:{KEY}:v1", "g", {"ft:m:o::v1": "d", "x/y": "e"}, "v1"),
        (f"{'a' * 63}:a|{'d' * 64}:{KEY}", "a" * 63, {"a": "d" * 64}, "2023-05-15"),
    ],
)
def test_what_is_read(text: str, resource: str, deployments: dict[str, str], version: str) -> None:
    """Haigpt's own samples, every form of version, and models with colons in their names."""
    parsed = parse_azure_key(text)
    assert (parsed.resource, dict(parsed.deployments)) == (resource, deployments)
    assert (parsed.key.reveal(), parsed.api_version) == (KEY, version)
    assert parsed.url == f"https://{resource}.openai.azure.com"
    assert parse_azure_key(written(parsed)) == parsed


RESOURCE_FAULT = "the resource's name (before the first colon) is not one"
KEY_FAULT = "the key is missing, or has a character that no key has"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", RESOURCE_FAULT),
        ("glpat-abcdefgh", KEY_FAULT),
        (f":a|b:{KEY}", RESOURCE_FAULT),
        (f"evil.example.com/x:a|b:{KEY}", RESOURCE_FAULT),
        (f"evil.com#:a|b:{KEY}", RESOURCE_FAULT),
        (f"127.0.0.1:a|b:{KEY}", RESOURCE_FAULT),
        (f"-a:a|b:{KEY}", RESOURCE_FAULT),
        (f"a\n:a|b:{KEY}", RESOURCE_FAULT),
        (f"gpt\u0131:a|b:{KEY}", RESOURCE_FAULT),
        (f"{'a' * 64}:a|b:{KEY}", RESOURCE_FAULT),
        ("gpt1:gpt-4|gpt-4", KEY_FAULT),
        ("gpt1:gpt-4|gpt-4:", KEY_FAULT),
        ("gpt1:gpt-4|gpt-4:v1", KEY_FAULT),
        ("gpt1:gpt-4|gpt-4:2023-05-15", KEY_FAULT),
        ("gpt1:gpt-4|gpt-4:k y", KEY_FAULT),
        ("gpt1:gpt-4|gpt-4:k\u00e9y", KEY_FAULT),
        (f"gpt1:gpt-4|gpt-4:{KEY}\n", KEY_FAULT),
        (f"gpt1:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1::{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|b,:{KEY}", "deployment 2 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|b,c|d|e:{KEY}", "deployment 2 is not MODEL|DEPLOYMENT"),
        (f"gpt1:|b:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|..:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|b/../c:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|b?c:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|{'d' * 65}:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:{'m' * 257}|d:{KEY}", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|b:{KEY}:2023-05-15x", "deployment 1 is not MODEL|DEPLOYMENT"),
        (f"gpt1:a|b,a|c:{KEY}", "deployment 2 names a model a second time"),
        ("a" * (LONGEST_AZURE_KEY + 1), "longer than 8192 characters"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    """Anything else is refused, by a message that holds nothing of the text."""
    with pytest.raises(MalformedAzureKey) as caught:
        parse_azure_key(text)
    assert str(caught.value) == message


def test_the_key_is_not_in_its_repr() -> None:
    """A parsed key can be logged by accident without harm."""
    assert KEY not in repr(parse_azure_key(f"gpt1:a|b:{KEY}"))


keys = st.from_regex(r"[!-+\--9;-{}~]{1,84}", fullmatch=True).filter(
    lambda key: re.fullmatch(API_VERSION, key) is None
)
models = st.from_regex(r"[A-Za-z0-9._:/-]{1,40}", fullmatch=True)
deployments = st.dictionaries(
    models, st.from_regex(f"(?:{DEPLOYMENT})", fullmatch=True), min_size=1, max_size=6
)


@settings(max_examples=100, deadline=None)
@given(
    st.from_regex(RESOURCE, fullmatch=True),
    deployments,
    keys,
    st.from_regex(API_VERSION, fullmatch=True),
    st.booleans(),
)
def test_round_trip(
    resource: str, names: dict[str, str], key: str, version: str, says_version: bool
) -> None:
    """What is written by the grammar is read as it was meant, with and without a version."""
    pairs = ",".join(f"{model}|{name}" for model, name in names.items())
    parsed = parse_azure_key(f"{resource}:{pairs}:{key}" + (f":{version}" if says_version else ""))
    assert parsed.resource == resource.lower()
    assert list(parsed.deployments.items()) == list(names.items())
    assert parsed.key.reveal() == key
    assert parsed.api_version == (version if says_version else "2023-05-15")
    assert parse_azure_key(written(parsed)) == parsed


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(), st.text(alphabet="a.|,:v1-", max_size=40)))
def test_any_text(text: str) -> None:
    """Any text is either refused or means the same when it is written again."""
    try:
        parsed = parse_azure_key(text)
    except MalformedAzureKey:
        return
    assert parse_azure_key(written(parsed)) == parsed
