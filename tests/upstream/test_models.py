"""Which upstreams have a model, and what they call it."""

from __future__ import annotations

import pytest
from attrs import evolve

from gptproxy.config import UpstreamSettings, parse_azure_key
from gptproxy.upstream import (
    Target,
    known_models,
    model_not_found,
    offers,
    own_name,
    own_upstream,
    targets_for,
)
from gptproxy.wire import Refusal
from tests.upstream.examples import LOCAL, OPENAI, PRIMARY, SECONDARY

ALL = (PRIMARY, SECONDARY, OPENAI, LOCAL)


@pytest.mark.parametrize(
    ("upstreams", "model", "expected"),
    [
        ((PRIMARY, SECONDARY), "gpt-4", [(PRIMARY, "gpt-4-east"), (SECONDARY, "gpt-4-west")]),
        ((SECONDARY, PRIMARY), "gpt-4", [(SECONDARY, "gpt-4-west"), (PRIMARY, "gpt-4-east")]),
        ((PRIMARY, SECONDARY), "ada", [(PRIMARY, "ada2")]),
        (ALL, "ada", [(PRIMARY, "ada2"), (OPENAI, "ada")]),
        (ALL, "o9", [(OPENAI, "o9")]),
        (ALL, "llama", [(OPENAI, "llama"), (LOCAL, "llama")]),
        ((LOCAL,), "gpt-4", [(LOCAL, 'meta/"llama"-ü')]),
    ],
)
def test_who_has_it(
    upstreams: tuple[UpstreamSettings, ...],
    model: str,
    expected: list[tuple[UpstreamSettings, str]],
) -> None:
    """In order of preference; an openai upstream without a map takes every name."""
    for unknown_model in ("refuse", "first"):
        targets = targets_for(upstreams, model, unknown_model)
        assert targets == tuple(Target(*each) for each in expected)


@pytest.mark.parametrize("model", ["gpt-5", "GPT-4", "gpt-4 ", "", "gpt-4-east", "../x"])
def test_nobody_has_it(model: str) -> None:
    """404 that names what there is; a deployment's own name is not a model's."""
    with pytest.raises(Refusal) as refused:
        targets_for((PRIMARY, LOCAL), model, "refuse")
    refusal = refused.value
    assert (refusal.status, refusal.code, refusal.param) == (404, "model_not_found", "model")
    assert "choose one of: gpt-4, ada, llama." in refusal.message


def test_a_refusal_names_only_what_may_be_told() -> None:
    """Whoever may use some models learns nothing of the others."""
    with pytest.raises(Refusal) as refused:
        targets_for((PRIMARY, LOCAL), "gpt-5", "refuse", may_be_told=lambda name: name == "ada")
    assert "choose one of: ada." in refused.value.message


def test_the_first_deployment_instead() -> None:
    """As Haigpt does it, at each upstream."""
    assert targets_for((PRIMARY, SECONDARY), "gpt-5", "first") == (
        Target(PRIMARY, "gpt-4-east"),
        Target(SECONDARY, "gpt-4-west"),
    )


def test_nothing_is_configured() -> None:
    """Pure proxy without a key in the bearer: there is nothing to choose from."""
    for unknown_model in ("refuse", "first"):
        with pytest.raises(Refusal, match="no models are configured"):
            targets_for((), "gpt-4", unknown_model)


def test_known_models() -> None:
    """Each once, in the order written."""
    assert known_models((PRIMARY, SECONDARY, OPENAI, LOCAL)) == ("gpt-4", "ada", "llama")


def test_a_strangers_name_is_quoted_and_cut() -> None:
    """What a caller wrote comes back in no other form."""
    message = model_not_found("x\n\x1b[31m" + "y" * 5000, ()).message
    assert message.isprintable()
    assert len(message) < 300


def test_own_upstream() -> None:
    """The resource of the pure proxy's bearer, its deployments and its key."""
    key = parse_azure_key("GPT1:gpt-4|d-1:0123456789abcdef:2024-10-21")
    upstream = own_upstream(key)
    assert (upstream.kind, upstream.url, upstream.api_version, upstream.api_key) == (
        "azure",
        "https://gpt1.openai.azure.com",
        "2024-10-21",
        key.key,
    )
    assert targets_for((upstream,), "gpt-4", "refuse") == (Target(upstream, "d-1"),)


@pytest.mark.parametrize(
    ("deployments", "aliases", "model", "expected"),
    [
        ({"gpt-4*": "big"}, {}, "gpt-4o-mini", "big"),
        ({"gpt-4?": "big"}, {}, "gpt-4o-mini", None),
        ({"gpt-[45]": "big"}, {}, "gpt-5", "big"),
        ({"gpt-4*": "*"}, {}, "gpt-4o", "gpt-4o"),
        ({"gpt-*": "first", "gpt-4*": "second"}, {}, "gpt-4o", "first"),
        ({"gpt-*": "any", "gpt-4o": "itself"}, {}, "gpt-4o", "itself"),
        ({"gpt-4o": "itself"}, {"gpt-4": "gpt-4o"}, "gpt-4", "itself"),
        ({"gpt-4o": "itself"}, {"gpt-3*": "gpt-4o"}, "gpt-3.5-turbo", "itself"),
        ({"c": "itself"}, {"a": "b", "b": "c"}, "a", None),
        ({"a": "itself", "b": "other"}, {"a": "b"}, "a", "other"),
        ({"gpt-*": "big"}, {"small": "gpt-mini"}, "small", "big"),
        ({"gpt-4": "x"}, {"*": "gpt-4"}, "whatever", "x"),
        ({"*": "x"}, {}, "GPT", "x"),
        ({"gpt*": "x"}, {}, "GPT", None),
    ],
)
def test_patterns_and_aliases(
    deployments: dict[str, str], aliases: dict[str, str], model: str, expected: str | None
) -> None:
    """A name goes before a pattern, the first pattern before others; what an alias stands for is no alias."""
    for kind in ("azure", "openai"):
        upstream = evolve(PRIMARY, kind=kind, deployments=deployments, aliases=aliases)
        assert own_name(upstream, model) == expected


def test_patterns_are_no_names() -> None:
    """Those that a list could tell: names, and aliases of what there is."""
    upstream = evolve(
        PRIMARY,
        deployments={"gpt-4o": "a", "o*": "b"},
        aliases={"gpt-4": "gpt-4o", "small": "o3", "gone": "x", "any-*": "gpt-4o"},
    )
    assert known_models((upstream,)) == ("gpt-4o", "gpt-4", "small")


def test_an_openai_upstream_without_a_map() -> None:
    """Has every name, those that aliases stand for among them."""
    upstream = evolve(OPENAI, aliases={"gpt-4": "gpt-4o"})
    assert (own_name(upstream, "gpt-4"), own_name(upstream, "x")) == ("gpt-4o", "x")


@pytest.mark.parametrize(
    ("kind", "api", "route", "expected"),
    [
        ("openai", "classic", "/videos/{video}", True),
        ("azure", "classic", "/files/{file}", True),
        ("azure", "classic", "/videos", False),
        ("azure", "classic", "/conversations/{conversation}/items", False),
        ("azure", "v1", "/videos", True),
        ("azure", "v1", "/skills", False),
    ],
)
def test_routes(kind: str, api: str, route: str, expected: bool) -> None:
    """What a kind of server is known not to have is not asked of it."""
    assert offers(evolve(PRIMARY, kind=kind, api=api), route) is expected
