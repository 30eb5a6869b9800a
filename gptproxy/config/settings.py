"""
The settings gptproxy runs with: frozen values, checked before they are made.

Pure: imports nothing of gptproxy but this room's own values, and nothing of Twisted. What the operator wrote becomes
these values in :mod:`gptproxy.config.schema`; every default of the product stands in them, with its unit in the name
or the comment. Each group of tables has a module of its own.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from gptproxy.config.access_settings import AccessSettings, GitLabSettings, UserTokenSettings
from gptproxy.config.knowledge_settings import KnowledgeSettings, TopicSettings
from gptproxy.config.operation_settings import LimitSettings, TimeoutSettings, TLSSettings
from gptproxy.config.process_settings import AdminSettings, LogSettings, ProcessSettings
from gptproxy.config.reverse_proxy import ReverseProxySettings
from gptproxy.config.upstream_settings import RetrySettings, StreamSettings, UpstreamSettings

__all__ = ["Settings"]


@frozen
class Settings:
    """
    Everything the operator decided.

    :param source: where it was read, for messages: a file's path, "the environment", or "no configuration".
    :param unknown_model: ``refuse``: a model that no upstream has is answered 404; ``first``: it goes to the first
        deployment, as Haigpt does.
    """

    source: str
    tls: TLSSettings
    gitlab: GitLabSettings | None = None
    upstreams: tuple[UpstreamSettings, ...] = ()
    user_tokens: tuple[UserTokenSettings, ...] = ()
    knowledge: KnowledgeSettings | None = None
    topics: tuple[TopicSettings, ...] = ()
    access: AccessSettings = field(factory=AccessSettings)
    retry: RetrySettings = field(factory=RetrySettings)
    stream: StreamSettings = field(factory=StreamSettings)
    timeouts: TimeoutSettings = field(factory=TimeoutSettings)
    limits: LimitSettings = field(factory=LimitSettings)
    process: ProcessSettings = field(factory=ProcessSettings)
    admin: AdminSettings = field(factory=AdminSettings)
    log: LogSettings = field(factory=LogSettings)
    reverse_proxy: ReverseProxySettings | None = None
    unknown_model: Literal["refuse", "first"] = "refuse"
