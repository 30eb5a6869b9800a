"""
Where calls go and what is tried again: the settings of ``[[upstream]]``, ``[retry]`` and
``[stream]``.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from attrs import frozen

from gptproxy.config.secret import Secret

__all__ = [
    "EntraSettings",
    "RetrySettings",
    "StreamSettings",
    "UpstreamKind",
    "UpstreamSettings",
]

UpstreamKind = Literal["azure", "openai"]

_NO_DEPLOYMENTS: Mapping[str, str] = MappingProxyType({})


@frozen
class EntraSettings:
    """
    ``[upstream.entra]``: tokens of Microsoft Entra ID in the place of Azure's key. Exactly one of ``client_secret``,
    ``token_file`` and ``managed`` says how gptproxy shows who it is.

    :param tenant: the directory's id or domain; not for a managed identity.
    :param client_id: the application's id; for a managed identity that of a user-assigned one, or None.
    :param client_secret: the application's secret.
    :param token_file: workload identity: the file with the signed assertion, read anew for each token.
    :param managed: the machine's own identity.
    :param scope: what the token is for.
    :param authority: base address of the token server, without a trailing slash.
    :param managed_identity_url: where a managed identity's tokens are asked for.
    :param identity_header: what proves to App Service that the process is the app's own, of its environment; None:
        ``managed_identity_url`` is a virtual machine's metadata service. No key of the file's.
    """

    tenant: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    token_file: Path | None = None
    managed: bool = False
    scope: str = "https://cognitiveservices.azure.com/.default"
    authority: str = "https://login.microsoftonline.com"
    managed_identity_url: str = "http://169.254.169.254/metadata/identity/oauth2/token"
    identity_header: Secret | None = None


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
        written; glob patterns are allowed on the left. An openai upstream without any takes every model.
    :param tier: those of the lowest are asked first. None only where it was made by hand; what the operator did not
        write is the upstream's place in the list, counted from 1.
    :param weight: its part of the calls among those of its tier.
    :param api: azure: ``classic`` (the deployment in the path, ``api-version`` in the query) or ``v1``
        (``/openai/v1``, the deployment in the body).
    :param aliases: a name that callers use to the model that is meant; glob patterns are allowed on the left.
    :param organization: openai: sent as ``OpenAI-Organization``.
    :param project: openai: sent as ``OpenAI-Project``.
    :param entra: azure: tokens in the place of ``api_key``.
    """

    name: str
    kind: UpstreamKind
    url: str
    api_key: Secret | None = None
    api_version: str = "2023-05-15"
    deployments: Mapping[str, str] = _NO_DEPLOYMENTS
    tier: int | None = None
    weight: int = 1
    api: Literal["classic", "v1"] = "classic"
    aliases: Mapping[str, str] = _NO_DEPLOYMENTS
    organization: str | None = None
    project: str | None = None
    entra: EntraSettings | None = None


@frozen
class RetrySettings:
    """
    ``[retry]``: what is tried again, and how long.

    :param attempts: calls to one upstream at most, the first included.
    :param backoff_seconds: upper end of the first wait; it doubles with each attempt, the wait is drawn from 0 to it.
    :param backoff_max_seconds: what the doubling stops at.
    :param budget_seconds: after this time no new attempt starts.
    :param retry_share: retries on the same upstream, as a share of all calls of the process in the last 10 s.
    :param retry_least_per_second: so many of them are allowed however few calls there are.
    :param circuit_calls: failures in the window that it takes at least to close an upstream off.
    :param circuit_share: share of its calls in the window that must have failed.
    :param circuit_window_seconds: the window.
    :param circuit_probe_seconds: after this time one call is let through to see whether it is well again; doubles each
        time that it is not.
    :param circuit_probe_max_seconds: what that doubling stops at.
    """

    attempts: int = 3
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 8.0
    budget_seconds: float = 60.0
    retry_share: float = 0.2
    retry_least_per_second: int = 10
    circuit_calls: int = 5
    circuit_share: float = 0.5
    circuit_window_seconds: float = 10.0
    circuit_probe_seconds: float = 10.0
    circuit_probe_max_seconds: float = 300.0


@frozen
class StreamSettings:
    """
    ``[stream]``: how answers are looked at before they are relayed, and what fills a stream's silence.

    :param hold_back_seconds: how long a stream without content yet is held back, and how long nothing may come of
        another answer that is held; then it is relayed.
    :param hold_back_bytes: how much of a stream without content is held back.
    :param heartbeat_seconds: how long a stream that is being relayed may be silent before a comment line is sent.
    :param inspect_bytes: how long an answer that is no stream may be to be held and looked at; longer ones are
        relayed uninspected.
    """

    hold_back_seconds: float = 20.0
    hold_back_bytes: int = 65_536
    heartbeat_seconds: float = 15.0
    inspect_bytes: int = 4_194_304
