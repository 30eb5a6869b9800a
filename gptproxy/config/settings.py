"""
The settings gptproxy runs with: frozen values, checked before they are made.

Pure: imports nothing of gptproxy and nothing of Twisted. What the operator wrote becomes these values in
:mod:`gptproxy.config.schema`; every default of the product stands here, with its unit in the name or the comment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from attrs import field, frozen

__all__ = [
    "AccessSettings",
    "GitLabSettings",
    "KnowledgeSettings",
    "LimitSettings",
    "RetrySettings",
    "Secret",
    "Settings",
    "TLSSettings",
    "TimeoutSettings",
    "TopicSettings",
    "UpstreamKind",
    "UpstreamSettings",
    "UserTokenSettings",
]

UpstreamKind = Literal["azure", "openai"]

_NO_DEPLOYMENTS: Mapping[str, str] = MappingProxyType({})


@frozen(repr=False)
class Secret:
    """
    A key or token. Its text comes out only by :meth:`reveal`, never by ``repr``, ``str`` or a traceback.

    :param text: the secret itself, not empty.
    """

    _text: str

    def reveal(self) -> str:
        """:return: the secret as text, for the one place that puts it on the wire."""
        return self._text

    def __repr__(self) -> str:
        return "<secret>"


@frozen
class TLSSettings:
    """
    ``[tls]``: what ``--port ssl:N`` serves with when the endpoint string names no key of its own.

    :param certificate: PEM file: the server's certificate first, then its chain.
    :param private_key: PEM file with the certificate's private key.
    """

    certificate: Path
    private_key: Path


@frozen
class GitLabSettings:
    """
    ``[gitlab]``: the GitLab whose tokens are the callers' keys.

    :param url: base address without a trailing slash; https, or http on a loopback address.
    :param cache_size: verdicts kept at most.
    :param cache_seconds: how long a confirmed token is not asked about again: also how long a revoked one still works.
    :param refused_seconds: how long a refused token is refused without asking again.
    """

    url: str
    cache_size: int = 10_000
    cache_seconds: float = 60.0
    refused_seconds: float = 30.0


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
class UserTokenSettings:
    """
    One ``[[user_token]]``: a key that the operator gives out, without GitLab.

    :param user_id: whom the log names.
    :param token: what the caller sends as the API key.
    """

    user_id: str
    token: Secret


@frozen
class KnowledgeSettings:
    """
    ``[knowledge]``: the organisation's documents.

    :param database: SQLite file that ``gptproxy docs`` fills and the daemon reads.
    :param embedding_model: OpenAI model name that turns passages and questions into vectors.
    """

    database: Path
    embedding_model: str = "text-embedding-ada-002"


@frozen
class TopicSettings:
    """
    One ``[[topic]]``: questions that are answered from a collection of documents.

    :param words: a chat whose first or last message contains one of these, in any case, is about the topic.
    :param documents: name of the collection in the knowledge database.
    :param prompt: the operator's instructions, put before the conversation; may be empty.
    :param preamble: what is always told with them; may be empty.
    :param max_tokens: bound on prompt, preamble and passages together, in tokens.
    """

    words: tuple[str, ...]
    documents: str
    prompt: str = ""
    preamble: str = ""
    max_tokens: int = 2000


@frozen
class AccessSettings:
    """
    ``[access]``: ways in besides GitLab and user tokens.

    :param pure_proxy: callers may bring ``RESOURCE:MODEL|DEPLOYMENT,...:KEY[:VERSION]`` as their bearer and reach Azure
        with their own key.
    """

    pure_proxy: bool = False


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


@frozen
class TimeoutSettings:
    """
    ``[timeouts]``, all in seconds. None of them bounds a live stream as a whole.

    :param header_seconds: from a request's first byte (or the connection's start) to the end of its headers.
    :param body_idle_seconds: between two reads of a request's body.
    :param keep_alive_idle_seconds: a client's connection without a request.
    :param connect_seconds: to an upstream, TLS included.
    :param first_byte_seconds: from the request sent to the end of the answer's headers.
    :param stream_idle_seconds: between two reads of an answer's body.
    """

    header_seconds: float = 30.0
    body_idle_seconds: float = 60.0
    keep_alive_idle_seconds: float = 90.0
    connect_seconds: float = 5.0
    first_byte_seconds: float = 600.0
    stream_idle_seconds: float = 600.0


@frozen
class LimitSettings:
    """
    ``[limits]``: how large, in bytes, and how many.

    :param header_bytes: a request's line and headers together; more is answered 431.
    :param body_bytes: a JSON body; more is answered 413.
    :param connections: of clients at a time; fewer where the process may not have twice as many files open.
    :param connections_per_address: of them from one IPv4 address or IPv6 /64; loopback is exempt. Room for hundreds
        behind one NAT, a tenth of the whole.
    """

    header_bytes: int = 65_536
    body_bytes: int = 67_108_864
    connections: int = 10_000
    connections_per_address: int = 1_000


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
    timeouts: TimeoutSettings = field(factory=TimeoutSettings)
    limits: LimitSettings = field(factory=LimitSettings)
    unknown_model: Literal["refuse", "first"] = "refuse"
