"""
What the operator wrote becomes frozen, checked settings.

``load_settings`` finds the configuration (:mod:`~gptproxy.config.load`): a TOML or JSON file by one
schema (:mod:`~gptproxy.config.schema`, put together from one module for each group of tables, which
are made of :mod:`~gptproxy.config.fields`, :mod:`~gptproxy.config.checks`,
:mod:`~gptproxy.config.addresses` and :mod:`~gptproxy.config.secrets`), or one of Haigpt's forms,
which :mod:`~gptproxy.config.seeds` translates. What cannot be used is a ``ConfigurationError`` with
a line for every problem; what can be used is a ``Settings`` (:mod:`~gptproxy.config.settings`, again
of one module for each group), and nobody downstream checks it again.
``parse_azure_key`` (:mod:`~gptproxy.config.azure_key`) reads Haigpt's bearer for the pure proxy.
Nothing here imports Twisted or another room.
"""

from __future__ import annotations

from gptproxy.config.access_settings import (
    ACCESS_LEVELS,
    AccessSettings,
    AllowSettings,
    GitLabSettings,
    UserTokenSettings,
)
from gptproxy.config.azure_key import (
    DEFAULT_API_VERSION,
    AzureKey,
    MalformedAzureKey,
    parse_azure_key,
)
from gptproxy.config.errors import ConfigurationError, Problem
from gptproxy.config.knowledge_settings import (
    CollectionSettings,
    KnowledgeSettings,
    TopicSettings,
)
from gptproxy.config.load import DEFAULT_PATH, load_settings
from gptproxy.config.operation_settings import (
    GroupQuotaSettings,
    LimitSettings,
    QuotaSettings,
    TimeoutSettings,
    TLSSettings,
)
from gptproxy.config.process_settings import (
    AdminSettings,
    LogFormat,
    LogSettings,
    ProcessSettings,
)
from gptproxy.config.reverse_proxy import ReverseProxySettings
from gptproxy.config.schema import settings_from
from gptproxy.config.secret import Secret
from gptproxy.config.settings import Settings
from gptproxy.config.upstream_settings import (
    EntraSettings,
    RetrySettings,
    StreamSettings,
    UpstreamKind,
    UpstreamSettings,
)

__all__ = [
    "ACCESS_LEVELS",
    "DEFAULT_API_VERSION",
    "DEFAULT_PATH",
    "AccessSettings",
    "AdminSettings",
    "AllowSettings",
    "AzureKey",
    "CollectionSettings",
    "ConfigurationError",
    "EntraSettings",
    "GitLabSettings",
    "GroupQuotaSettings",
    "KnowledgeSettings",
    "LimitSettings",
    "LogFormat",
    "LogSettings",
    "MalformedAzureKey",
    "Problem",
    "ProcessSettings",
    "QuotaSettings",
    "RetrySettings",
    "ReverseProxySettings",
    "Secret",
    "Settings",
    "StreamSettings",
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
