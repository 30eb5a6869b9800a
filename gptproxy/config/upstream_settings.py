"""
Where calls go and what is tried again: the settings of ``[[upstream]]`` and ``[retry]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from attrs import frozen

from gptproxy.config.secret import Secret

__all__ = [
    "RetrySettings",
    "UpstreamKind",
    "UpstreamSettings",
]

UpstreamKind = Literal["azure", "openai"]

_NO_DEPLOYMENTS: Mapping[str, str] = MappingProxyType({})


@frozen
class UpstreamSettings:
    """
    One ``[[upstream]]``: a server that answers, in order of preference.

    :param name: how logs and the ``x-gptproxy-upstream`` header call it; unique.
    :param kind: ``azure`` (deployments, ``api-key``, ``api-version``) or ``openai`` (any server that speaks
        OpenAI's API).
    :param url: base address without a trailing slash. azure: the resource, ``https://gpt1.openai.azure.com``;
        openai: with its version segment, ``https://api.openai.com/v1``.
    :param api_key: the organisation's key; None where the server asks for none.
    :param api_version: azure: the ``api-version`` of every call.
    :param deployments: OpenAI model name to the upstream's own name for it (azure: the deployment), in the order
        written. An openai upstream without any takes every model.
    """

    name: str
    kind: UpstreamKind
    url: str
    api_key: Secret | None = None
    api_version: str = "2023-05-15"
    deployments: Mapping[str, str] = _NO_DEPLOYMENTS


@frozen
class RetrySettings:
    """
    ``[retry]``: what is tried again, and how long.

    :param attempts: calls to one upstream at most, the first included.
    :param backoff_seconds: upper end of the first wait; it doubles with each attempt, the wait is drawn from 0 to it.
    :param backoff_max_seconds: what the doubling stops at.
    :param budget_seconds: after this time no new attempt starts.
    """

    attempts: int = 3
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 8.0
    budget_seconds: float = 60.0
