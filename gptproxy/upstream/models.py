"""
Which upstreams have a model, and what they call it; which offer a route.

Pure: imports the config and wire rooms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

from gptproxy.config import AzureKey, UpstreamSettings
from gptproxy.upstream.call import Target
from gptproxy.wire import Refusal

__all__ = [
    "has_every_model",
    "is_pattern",
    "known_models",
    "model_not_found",
    "offers",
    "own_name",
    "own_upstream",
    "targets_for",
]

_GLOB: Final = re.compile(r"[*?\[]")

_CLASSIC: Final = frozenset(
    (
        "assistants",
        "audio",
        "batches",
        "chat",
        "completions",
        "embeddings",
        "files",
        "fine_tuning",
        "images",
        "models",
        "responses",
        "threads",
        "uploads",
        "vector_stores",
    )
)
_V1: Final = _CLASSIC | {"containers", "conversations", "evals", "realtime", "videos"}


def targets_for(
    upstreams: Sequence[UpstreamSettings],
    model: str,
    unknown_model: Literal["refuse", "first"],
    *,
    may_be_told: Callable[[str], bool] = lambda name: True,
) -> tuple[Target, ...]:
    """
    :param upstreams: in order of preference.
    :param model: the model's name in OpenAI's terms.
    :param unknown_model: what is done with a name that no upstream has: nothing, or each upstream's first deployment.
    :param may_be_told: of the models there are, those that the refusal names.
    :return: the upstreams that have it, in order.
    :raise Refusal: 404, when none has it.
    """
    targets = tuple(
        Target(upstream, name)
        for upstream in upstreams
        if (name := own_name(upstream, model)) is not None
    )
    if not targets and unknown_model == "first":
        targets = tuple(
            Target(upstream, next(iter(upstream.deployments.values())))
            for upstream in upstreams
            if upstream.deployments
        )
    if not targets:
        raise model_not_found(model, [*filter(may_be_told, known_models(upstreams))])
    return targets


def own_name(upstream: UpstreamSettings, model: str) -> str | None:
    """
    :param upstream: whose.
    :param model: the model's name in the caller's terms. An alias is looked up once: what it stands for is no alias.
        A name itself goes before a pattern, and of patterns the first written.
    :return: what the upstream calls it; None where it does not have it.
    """
    if upstream.aliases:
        model = _mapped(upstream.aliases, model) or model
    deployments = upstream.deployments
    name = deployments.get(model)
    if name is not None:
        return name
    if not deployments:
        return model if upstream.kind == "openai" else None
    return _mapped(deployments, model)


def has_every_model(upstream: UpstreamSettings) -> bool:
    """
    :param upstream: whose.
    :return: its models are not mapped, so that a call may leave it to choose one.
    """
    return upstream.kind == "openai" and not upstream.deployments


def known_models(upstreams: Iterable[UpstreamSettings]) -> tuple[str, ...]:
    """
    :param upstreams: in order of preference.
    :return: the names that the configuration maps, each once, in the order written; patterns are no names.
    """
    return tuple(
        dict.fromkeys(
            name
            for upstream in upstreams
            for names in (upstream.deployments, upstream.aliases)
            for name in names
            if not is_pattern(name) and own_name(upstream, name) is not None
        )
    )


def is_pattern(name: str) -> bool:
    """
    :param name: on the left of a map of models.
    :return: it stands for many names.
    """
    return _GLOB.search(name) is not None


def offers(upstream: UpstreamSettings, route: str) -> bool:
    """
    :param upstream: which.
    :param route: OpenAI's path, for example ``/files/{file}``.
    :return: its kind of server has the route; of an openai server nothing is known that says otherwise.
    """
    if upstream.kind == "openai":
        return True
    family = route.split("/", 2)[1]
    return family in (_V1 if upstream.api == "v1" else _CLASSIC)


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


def _mapped(names: Mapping[str, str], model: str) -> str | None:
    found = names.get(model)
    if found is not None:
        return found
    for pattern, name in names.items():
        if is_pattern(pattern) and fnmatchcase(model, pattern):
            return model if is_pattern(name) else name
    return None
