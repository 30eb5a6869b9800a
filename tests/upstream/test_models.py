"""Which upstreams have a model, and what they call it."""

from __future__ import annotations

import pytest

from gptproxy.config import UpstreamSettings, parse_azure_key
from gptproxy.upstream import Target, known_models, model_not_found, own_upstream, targets_for
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
