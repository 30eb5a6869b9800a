"""
Which upstreams have a model, and what they call it.

Pure: imports the config and wire rooms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from gptproxy.config import AzureKey, UpstreamSettings
from gptproxy.upstream.call import Target
from gptproxy.wire import Refusal

__all__ = ["known_models", "model_not_found", "own_upstream", "targets_for"]


def targets_for(
    upstreams: Sequence[UpstreamSettings], model: str, unknown_model: Literal["refuse", "first"]
) -> tuple[Target, ...]:
    """
    :param upstreams: in order of preference.
    :param model: the model's name in OpenAI's terms.
    :param unknown_model: what is done with a name that no upstream has: nothing, or each upstream's first deployment.
    :return: the upstreams that have it, in order.
    :raise Refusal: 404, when none has it.
    """
    targets = tuple(
        Target(upstream, upstream.deployments.get(model, model))
        for upstream in upstreams
        if model in upstream.deployments or _takes_every_model(upstream)
    )
    if not targets and unknown_model == "first":
        targets = tuple(
            Target(upstream, next(iter(upstream.deployments.values())))
            for upstream in upstreams
            if upstream.deployments
        )
    if not targets:
        raise model_not_found(model, known_models(upstreams))
    return targets


def known_models(upstreams: Iterable[UpstreamSettings]) -> tuple[str, ...]:
    """
    :param upstreams: in order of preference.
    :return: the names that the configuration maps, each once, in the order written.
    """
    return tuple(dict.fromkeys(name for upstream in upstreams for name in upstream.deployments))


def model_not_found(model: str, known: Sequence[str]) -> Refusal:
    """
    :param model: the name that was asked for.
    :param known: the names there are.
    :return: a 404 in the form OpenAI gives it.
    """
    available = f"choose one of: {', '.join(known)}." if known else "no models are configured."
    return Refusal(
        404,
        f"The model {model[:100]!r} does not exist here; {available}",
        code="model_not_found",
        param="model",
    )


def own_upstream(key: AzureKey) -> UpstreamSettings:
    """
    :param key: a pure proxy's caller's own.
    :return: the upstream it opens.
    """
    return UpstreamSettings(
        name="pure-proxy",
        kind="azure",
        url=f"https://{key.resource}.openai.azure.com",
        api_key=key.key,
        api_version=key.api_version,
        deployments=key.deployments,
    )


def _takes_every_model(upstream: UpstreamSettings) -> bool:
    return upstream.kind == "openai" and not upstream.deployments
