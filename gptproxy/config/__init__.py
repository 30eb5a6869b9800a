"""
What the operator wrote becomes frozen, checked settings.

``load_settings`` finds the configuration (:mod:`~gptproxy.config.load`): a TOML or JSON file by one
schema (:mod:`~gptproxy.config.schema` and :mod:`~gptproxy.config.upstreams`, made of
:mod:`~gptproxy.config.fields`, :mod:`~gptproxy.config.checks`,
:mod:`~gptproxy.config.addresses` and :mod:`~gptproxy.config.secrets`), or one of Haigpt's forms,
which :mod:`~gptproxy.config.seeds` translates. What cannot be used is a ``ConfigurationError`` with
a line for every problem; what can be used is a ``Settings`` (:mod:`~gptproxy.config.settings`), and
nobody downstream checks it again.
``parse_azure_key`` (:mod:`~gptproxy.config.azure_key`) reads Haigpt's bearer for the pure proxy.
Nothing here imports Twisted or another room.
"""

from __future__ import annotations

from gptproxy.config.azure_key import (
    DEFAULT_API_VERSION,
    AzureKey,
    MalformedAzureKey,
    parse_azure_key,
)
from gptproxy.config.errors import ConfigurationError, Problem
from gptproxy.config.load import DEFAULT_PATH, load_settings
from gptproxy.config.schema import settings_from
from gptproxy.config.settings import (
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
    UpstreamKind,
    UpstreamSettings,
    UserTokenSettings,
)

__all__ = [
    "DEFAULT_API_VERSION",
    "DEFAULT_PATH",
    "AccessSettings",
    "AzureKey",
    "ConfigurationError",
    "GitLabSettings",
    "KnowledgeSettings",
    "LimitSettings",
    "MalformedAzureKey",
    "Problem",
    "RetrySettings",
    "Secret",
    "Settings",
    "TLSSettings",
    "TimeoutSettings",
    "TopicSettings",
    "UpstreamKind",
    "UpstreamSettings",
    "UserTokenSettings",
    "load_settings",
    "parse_azure_key",
    "settings_from",
]
