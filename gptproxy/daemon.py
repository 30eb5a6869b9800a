"""
The daemon put together: settings in, a service out.

Imported by :mod:`gptproxy.tap` when a service is made, not before: ``twistd --help`` loads none of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from twisted.application.service import IService, MultiService, Service
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger

from gptproxy.access import Authenticator, GitLab
from gptproxy.access.user_tokens import UserTokens
from gptproxy.access.verdicts import Digester, VerdictCache
from gptproxy.api import Augmenter, ModelCall, Models, UnknownRoute, refusal_page, route_tree
from gptproxy.config import ConfigurationError, LimitSettings, Problem, Settings
from gptproxy.http import (
    Agent,
    ClientTimeouts,
    ConnectionLimit,
    IReactor,
    OwnCalls,
    ServerTimeouts,
    Site,
    fitting_connections,
)
from gptproxy.listening import listening_service
from gptproxy.tls import client_trust, server_certificate
from gptproxy.upstream import ModelList, Sender
from gptproxy.wire import Refusal

__all__ = ["agent_for", "daemon", "own_calls"]

_log = Logger()

# Chance for waits, not for secrets.
_chance = random.Random().random  # noqa: S311 - it spreads retries in time, nothing depends on it being unguessable

MODEL_ROUTES = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/moderations",
    "/audio/speech",
    "/images/generations",
)
"""OpenAI's routes that name a model in a JSON body and keep nothing of it afterwards."""

ONE_TIME_ROUTES = frozenset(("/images/generations",))
"""Those that cost again when they are sent again."""


class _Connections(Service):
    """
    Drops the agent's kept connections at the end.

    :param agent: whose.
    """

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def stopService(self) -> None:
        super().stopService()
        self._agent.close()


def agent_for(settings: Settings, reactor: IReactor) -> Agent:
    """
    :param settings: the timeouts.
    :param reactor: connects.
    :return: the one client that everything goes out by.
    """
    timeouts = ClientTimeouts(
        connect=settings.timeouts.connect_seconds, first_byte=settings.timeouts.first_byte_seconds
    )
    return Agent(reactor, client_trust, timeouts)


def own_calls(agent: Agent, reactor: IReactor) -> OwnCalls:
    """
    :param agent: sends.
    :param reactor: for the clock.
    :return: what gptproxy asks by for itself.
    """
    return OwnCalls(agent, reactor, _chance)


def daemon(
    settings: Settings,
    ports: Sequence[str],
    reactor: IReactor,
    pid_file: str | None,
    *,
    foreground: bool = True,
) -> IService:
    """
    :param settings: what the operator decided.
    :param ports: endpoint strings.
    :param reactor: everything runs on it.
    :param pid_file: twistd's.
    :param foreground: twistd stays there.
    :return: the service.
    :raise ConfigurationError: a file or a model that the settings name cannot be used.
    :raise UnusableEndpoint: a port cannot be understood.
    """
    service = MultiService()
    agent = agent_for(settings, reactor)
    calls = own_calls(agent, reactor)
    _Connections(agent).setServiceParent(service)
    augmenter = _augmenter(settings, calls, reactor, service)
    authenticator = _authenticator(settings, calls, reactor)
    sender = Sender(agent, reactor, _chance, settings.retry)
    endpoints = {
        route: ModelCall(
            route,
            reactor,
            settings,
            authenticator,
            sender,
            augmenter=augmenter if route == "/chat/completions" else None,
            repeatable=route not in ONE_TIME_ROUTES,
        )
        for route in MODEL_ROUTES
    }
    models = Models(reactor, authenticator, ModelList(settings.upstreams, calls, reactor))
    root = route_tree({**endpoints, "/models": models}, UnknownRoute(reactor))
    timeouts = settings.timeouts
    site = Site(
        root,
        reactor,
        timeouts=ServerTimeouts(
            header=timeouts.header_seconds,
            body_idle=timeouts.body_idle_seconds,
            keep_alive_idle=timeouts.keep_alive_idle_seconds,
        ),
        header_limit_bytes=settings.limits.header_bytes,
        refusal_page=refusal_page,
        connection_limit=_connection_limit(settings.limits, reactor),
    )

    @cache
    def certificate() -> CertificateOptions:
        return server_certificate(settings.tls, settings.source)

    for description in ports:
        listening_service(
            description, reactor, site, certificate, pid_file, foreground=foreground
        ).setServiceParent(service)
    return service


def _connection_limit(limits: LimitSettings, reactor: IReactor) -> ConnectionLimit:
    # A client's connection and an upstream's for each, and some.
    open_files = _open_files(2 * limits.connections + 2)
    connections = fitting_connections(limits.connections, open_files)
    if connections < limits.connections:
        _log.warn(
            "[limits] connections = {configured} does not fit: the process may have {open_files} files open "
            "(ulimit -n, LimitNOFILE= in a systemd unit); {connections} clients may connect at a time",
            configured=limits.connections,
            open_files=open_files,
            connections=connections,
        )
    return ConnectionLimit(reactor, connections, limits.connections_per_address)


def _open_files(wanted: int) -> int | None:
    """
    Raise the process's soft limit, which is 1,024 on most machines, as far as it is wanted and the hard one lets it.

    :return: how many files may be open then; None where that is not bounded.
    """
    try:
        import resource
    except ImportError:  # not POSIX
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if raised > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return max(soft, raised)


def _authenticator(settings: Settings, calls: OwnCalls, reactor: IReactor) -> Authenticator:
    digester = Digester()
    gitlab = settings.gitlab
    return Authenticator(
        user_tokens=UserTokens(settings.user_tokens, digester),
        gitlab=GitLab(gitlab.url, calls) if gitlab is not None else None,
        verdicts=VerdictCache(gitlab.cache_size, gitlab.cache_seconds, gitlab.refused_seconds)
        if gitlab is not None
        else VerdictCache(0, 0, 0),
        digester=digester,
        pure_proxy=settings.access.pure_proxy,
        clock=reactor,
    )


def _augmenter(
    settings: Settings, calls: OwnCalls, reactor: IReactor, service: MultiService
) -> Augmenter | None:
    knowledge = settings.knowledge
    if knowledge is None or not settings.topics:
        return None
    from gptproxy.documents import chat_topics, search_threads

    threads = search_threads(reactor)
    threads.setServiceParent(service)
    try:
        return chat_topics(settings, knowledge, calls, threads, reactor)
    except Refusal as refusal:
        problem = Problem(settings.source, "knowledge.embedding_model", refusal.message)
        raise ConfigurationError([problem]) from refusal
