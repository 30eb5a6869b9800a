"""
What the operator sees of the running daemon: figures, health and status, on a listener of their own.

May import every room below the daemon, and Twisted. prometheus_client is imported only where ``[admin] listen`` is set:
it costs a start 14 ms and a process 0.8 MiB.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.web.resource import Resource

import twisted
from gptproxy import __version__
from gptproxy.access import Authenticator
from gptproxy.admin import Condition, Health, HealthPage, ReadinessPage, State, admin_tree
from gptproxy.api import Calls
from gptproxy.call_record import CallObserver
from gptproxy.config import Settings
from gptproxy.figures import NOBODY, Figures
from gptproxy.http import Agent, ConnectionLimit, IReactor, Site
from gptproxy.limits import Overload
from gptproxy.listening import ListeningService, listening_service
from gptproxy.logs import LogGuard, access_log
from gptproxy.process import InheritedSocket
from gptproxy.tracing import installed_tracer
from gptproxy.upstream import Sender, UpstreamState

__all__ = ["Operations", "Rooms"]

ADMIN_CONNECTIONS = 100
"""At a time: Prometheus, a load balancer's probes and the operator are a handful, in no caller's place."""

_CLOSED_OFF = ("down", "probing")


@frozen
class Rooms:
    """
    What is looked at. After a reload it is other ones.

    :param settings: what is in force.
    :param authenticator: knows how GitLab is.
    :param sender: knows how the upstreams are.
    :param agents: have connections to upstreams.
    """

    settings: Settings
    authenticator: Authenticator
    sender: Sender
    agents: tuple[Agent, ...]


class Operations:
    """
    Made before the rooms, which are handed :attr:`figures` and :attr:`calls`; told afterwards what there is to see.

    :param settings: whether there is an admin listener.
    :param reactor: the clock.
    :param guard: of the log; None: nobody tells what it holds back.
    :param shared_metrics: directory that worker processes share their figures in; None: this process is alone.
    :ivar figures: who counts.
    :ivar calls: who is told of calls.
    :ivar health: asked by ``/readyz``; other probes may be added.
    :ivar shown_status: makes what ``/status`` shows: :meth:`status`, unless worker processes put theirs together.
    """

    def __init__(
        self,
        settings: Settings,
        reactor: IReactor,
        guard: LogGuard | None = None,
        *,
        shared_metrics: str | None = None,
    ) -> None:
        self._reactor = reactor
        self._listen = settings.admin.listen
        self._started = time.time()
        self._rooms: Rooms | None = None
        self._listeners: Sequence[ListeningService] = ()
        self._connections: ConnectionLimit | None = None
        self._overload: Overload | None = None
        self.health = Health()
        self.shown_status: Callable[[], object] = self.status
        self.figures: Figures = NOBODY
        observers: list[CallObserver] = [access_log.write]
        self._metrics = None
        if self._listen is not None:
            from gptproxy.metrics import Metrics

            self._metrics = Metrics(shared_metrics)
            self.figures = self._metrics
            observers.append(self._metrics.call_ended)
        self.calls = Calls(observers, installed_tracer())
        if guard is not None:
            figures = self.figures
            guard.suppressed = lambda: figures.count("log_events_suppressed")
        for probe in (self._listening, self._upstreams, self._documents, self._gitlab):
            self.health.add(probe)

    # Told

    def watch(self, rooms: Rooms) -> None:
        """
        :param rooms: what is looked at from now on.
        """
        self._rooms = rooms

    def watch_process(
        self,
        listeners: Sequence[ListeningService],
        connections: ConnectionLimit,
        overload: Overload | None = None,
    ) -> None:
        """
        :param listeners: the callers' doors.
        :param connections: counts the callers'.
        :param overload: knows how late the event loop is; None: nobody does.
        """
        self._listeners, self._connections, self._overload = listeners, connections, overload

    def put_pages(self, root: Resource) -> None:
        """
        Put ``/healthz`` and ``/readyz`` where callers are answered; without details, for anybody may ask.

        :param root: of the callers' routes.
        """
        root.putChild(b"healthz", HealthPage())
        root.putChild(b"readyz", ReadinessPage(self.health, details=False))

    def listener(
        self,
        certificate: Callable[[], IOpenSSLContextFactory],
        pid_file: str | None,
        *,
        foreground: bool = True,
        inherited: Sequence[InheritedSocket] = (),
    ) -> ListeningService | None:
        """
        :param certificate: for an ``ssl:`` endpoint without a key of its own.
        :param pid_file: twistd's.
        :param foreground: twistd stays there.
        :param inherited: sockets that were handed down.
        :return: the admin listener; None where none is configured.
        :raise gptproxy.listening.UnusableEndpoint: ``[admin] listen`` cannot be understood.
        """
        if self._listen is None:
            return None
        limit = ConnectionLimit(self._reactor, ADMIN_CONNECTIONS, ADMIN_CONNECTIONS)
        site = Site(
            admin_tree(self.health, self.page, self._shown),
            self._reactor,
            connection_limit=limit,
        )
        return listening_service(
            self._listen,
            self._reactor,
            site,
            certificate,
            pid_file,
            foreground=foreground,
            inherited=inherited,
        )

    # Asked

    def page(self) -> bytes:
        """:return: ``/metrics``; empty where nobody counts."""
        self.refresh()
        return b"" if self._metrics is None else self._metrics.page()

    def refresh(self) -> None:
        """Set the gauges to what is so now. Worker processes, whose figures stand in files, call it by the clock."""
        metrics = self._metrics
        if metrics is None:
            return
        metrics.set("open_calls", self.calls.open)
        metrics.set("open_streams", self.calls.streams)
        metrics.set("connections", self._open_connections())
        metrics.set("upstream_connections", self._upstream_connections())
        metrics.set("reactor_lag_seconds", self._overload.lag if self._overload else 0.0)
        for state in self._states():
            metrics.set("circuit_open", state.state in _CLOSED_OFF, state.name)

    def status(self) -> dict[str, object]:
        """:return: ``/status``."""
        overload, rooms = self._overload, self._rooms
        gitlab: dict[str, object] = {}
        if rooms is not None and rooms.settings.gitlab is not None:
            away = rooms.authenticator.gitlab_away_seconds()
            gitlab = {"url": rooms.settings.gitlab.url, "answers": away is None}
            if away is not None:
                gitlab["away_seconds"] = away
        knowledge: dict[str, object] = {}
        if rooms is not None and rooms.settings.knowledge is not None:
            database = rooms.settings.knowledge.database
            knowledge = {"database": str(database), "topics": len(rooms.settings.topics)}
        kinds = {each.name: each.kind for each in rooms.settings.upstreams} if rooms else {}
        return {
            "version": __version__,
            "versions": _versions(),
            "pid": os.getpid(),
            "started": self._started,
            "calls": {
                "ended": self.calls.ended,
                "open": self.calls.open,
                "streams": self.calls.streams,
            },
            "process": {
                "memory_bytes": _resident_bytes(),
                "lag_seconds": overload.lag if overload else None,
                "shedding": overload.shedding if overload else False,
                "connections": self._open_connections(),
                "upstream_connections": self._upstream_connections(),
            },
            "cache": {"verdicts": rooms.authenticator.known_callers() if rooms else 0},
            "gitlab": gitlab,
            "knowledge": knowledge,
            "upstreams": [
                {
                    "name": state.name,
                    "kind": kinds.get(state.name, "-"),
                    "state": state.state,
                    "calls": state.calls,
                    "failed": state.failures,
                }
                for state in self._states()
            ],
            "conditions": [
                {"name": each.name, "state": each.state.name.lower(), "detail": each.detail}
                for each in self.health.conditions()
            ],
        }

    def _shown(self) -> object:
        return self.shown_status()

    # Probes: each reads what is known already

    def _listening(self) -> Condition:
        closed = [each.description for each in self._listeners if each.door() is None]
        if closed or not self._listeners:
            told = f"nobody listens on {', '.join(closed)}" if closed else "nobody listens"
            return Condition("listeners", State.FAILED, told)
        return Condition("listeners", State.GOOD, f"{len(self._listeners)} open")

    def _upstreams(self) -> Condition:
        rooms = self._rooms
        if rooms is None or not rooms.settings.upstreams:
            own = rooms is not None and rooms.settings.access.pure_proxy
            told = "callers bring their own" if own else "none is configured"
            return Condition("upstreams", State.GOOD if own else State.FAILED, told)
        states = self._states()
        shut = [state.name for state in states if state.state in _CLOSED_OFF]
        if not shut:
            return Condition("upstreams", State.GOOD, f"{len(states)} open")
        state = State.FAILED if len(shut) == len(states) else State.WARNING
        return Condition("upstreams", state, f"down: {', '.join(shut)}")

    def _documents(self) -> Condition:
        knowledge = self._rooms.settings.knowledge if self._rooms is not None else None
        if knowledge is None:
            return Condition("knowledge", State.GOOD, "not configured")
        if os.access(knowledge.database, os.R_OK):
            return Condition("knowledge", State.GOOD, str(knowledge.database))
        # Callers are served, without documents: whether that is enough is for the operator to say.
        told = f"{knowledge.database} cannot be read: calls go up without documents"
        state = State.FAILED if knowledge.required else State.WARNING
        return Condition("knowledge", state, told)

    def _gitlab(self) -> Condition:
        rooms = self._rooms
        if rooms is None or rooms.settings.gitlab is None:
            return Condition("gitlab", State.GOOD, "not configured")
        away = rooms.authenticator.gitlab_away_seconds()
        if away is None:
            return Condition("gitlab", State.GOOD, "answers, as far as it was asked")
        # Those it knew lately are served on.
        told = f"has not answered for {away:.0f} s: only callers that were known are served"
        return Condition("gitlab", State.WARNING, told)

    def _states(self) -> list[UpstreamState]:
        """:return: how every configured upstream is; well, where it was never asked."""
        if self._rooms is None:
            return []
        asked = {state.name: state for state in self._rooms.sender.states()}
        return [
            asked.get(each.name) or UpstreamState(each.name, "well", 0.0, 0, 0)
            for each in self._rooms.settings.upstreams
        ]

    def _open_connections(self) -> int:
        return self._connections.open if self._connections is not None else 0

    def _upstream_connections(self) -> int:
        return sum(agent.connections for agent in self._rooms.agents) if self._rooms else 0


def _versions() -> dict[str, str]:
    """:return: of what it stands on."""
    return {
        "python": platform.python_version(),
        "twisted": twisted.__version__,
        "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[1],
    }


def _resident_bytes() -> int | None:
    """:return: memory that the process has in use (proc_pid_statm(5)); None where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
