"""
The daemon put together: settings in, a service out.

Imported by :mod:`gptproxy.tap` when a service is made, not before: ``twistd --help`` loads none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from gptproxy.admin import Condition, State
from gptproxy.api import busy_answer, refusal_page
from gptproxy.config import Settings
from gptproxy.garbage import CollectedStart
from gptproxy.http import Drain, IReactor, ServerTimeouts, Site
from gptproxy.listening import ListeningService, listening_service
from gptproxy.logs import LoggedService, Logs, redaction, secrets_in
from gptproxy.loop_watch import LoopWatch
from gptproxy.open_files import bound_connections, connection_limit
from gptproxy.operations import Operations, Rooms
from gptproxy.process import (
    EndOnSignal,
    Networks,
    Notifier,
    ReloadOnHangup,
    RenewableCertificate,
    Supervised,
    answers,
    forwarded_by,
    inherited_sockets,
    unasked_sockets,
    watchdog_seconds,
)
from gptproxy.reloading import Reloading, text_of
from gptproxy.serving import FilesRead, Ground, Serving, agent_for, own_calls
from gptproxy.tls import server_certificate
from gptproxy.workers import Accounts, member_from

__all__ = ["agent_for", "daemon", "own_calls"]

_log = Logger()


class _Daemon(LoggedService):
    """
    Serves by one configuration after the other, and comes to its end in the right order.

    :param serving: by the first.
    :param site: where callers come in.
    :param operations: what the operator sees.
    :param certificate: what TLS is served with; loaded when it is first asked for.
    :param reactor: the clock.
    :param logs: begun when twistd has the service.

    :ivar doors: what is closed first.
    """

    def __init__(
        self,
        serving: Serving,
        site: Site,
        operations: Operations,
        certificate: Callable[[], RenewableCertificate],
        reactor: IReactor,
        logs: Logs | None,
    ) -> None:
        super().__init__(logs)
        self.serving = serving
        self._site = site
        self._operations = operations
        self._certificate = certificate
        self._logs_known = logs
        # Servings whose last calls are not over.
        self._retiring: set[Serving] = set()
        self._drain = Drain(site, reactor, self._cut)
        self._stopping = False
        self.doors = MultiService()
        self.doors.setServiceParent(self)
        self._watch(serving)

    def startService(self) -> None:
        """Serve."""
        self.serving.start()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Take no more calls, and end when those under way have.

        :return: fires then.
        """
        self._stopping = True
        return Deferred.fromCoroutine(self._stop())

    def hurry(self) -> None:
        """End what is under way now."""
        self._drain.hurry()

    def adopt(self, serving: Serving, certificate: CertificateOptions | None) -> None:
        """
        Serve by another configuration; the calls under way end by theirs.

        :param serving: by this one.
        :param certificate: of the next handshakes; None: what there is.
        :raise RuntimeError: the process ends.
        """
        if self._stopping:
            raise RuntimeError("the process ends")
        before, self.serving = self.serving, serving
        serving.start()
        serving.ground.bound_by(serving.settings)
        if certificate is not None:
            self._certificate().renew(certificate)
        if self._logs_known is not None:
            self._logs_known.know(serving.settings)
            # Calls under way have the old ones.
            redaction.know(secrets_in((before.settings, serving.settings)))
        self._watch(serving)
        _furnish(self._site, serving.settings)
        bound_connections(self._site.connection_limit, serving.settings.limits)
        self._retiring.add(before)
        retired = Deferred.fromCoroutine(before.retire())
        retired.addErrback(self._not_retired)
        retired.addBoth(lambda _: self._retiring.discard(before))

    def draining(self) -> Condition:
        """:return: whether the process ends, for ``/readyz``."""
        if self._stopping:
            return Condition("process", State.FAILED, "ends: no new calls are taken")
        return Condition("process", State.GOOD, "runs")

    def _watch(self, serving: Serving) -> None:
        root = serving.root
        self._operations.put_pages(root)
        self._site.resource = root
        self._operations.watch(
            Rooms(
                serving.settings,
                serving.authenticator,
                serving.sender,
                (serving.ground.agent, serving.ground.gitlab_agent),
            )
        )

    def _not_retired(self, failure: Failure) -> None:
        _log.failure("the configuration before could not be given up", failure=failure)

    def _cut(self) -> None:
        for serving in (*self._retiring, self.serving):
            serving.gate.cut()

    async def _stop(self) -> None:
        # What says that the process stops, and the ports: a socket of a socket unit stays with systemd.
        doors = self.doors.disownServiceParent()
        if doors is not None:
            await doors
        seconds = self.serving.settings.process.drain_seconds
        if not await self._drain.run(seconds):
            _log.warn(
                "calls were still under way after {seconds:g} s ([process] drain_seconds), or a second signal came: "
                "they were ended",
                seconds=seconds,
            )
        await maybeDeferred(super().stopService)
        await self.serving.stop()
        self.serving.ground.close()


def daemon(
    settings: Settings,
    ports: Sequence[str],
    reactor: IReactor,
    pid_file: str | None,
    *,
    foreground: bool = True,
    environ: Mapping[str, str] = MappingProxyType({}),
    logs: Logs | None = None,
    load: Callable[[], Settings] | None = None,
) -> IService:
    """
    :param settings: what the operator decided.
    :param ports: endpoint strings.
    :param reactor: everything runs on it.
    :param pid_file: twistd's.
    :param foreground: twistd stays there.
    :param environ: the process's environment, which says who started it; empty: nobody who wants to be told.
    :param logs: begun when twistd has the service; None: nothing is.
    :param load: reads the settings anew, for a reload; None: they stay what they are.
    :return: the service.
    :raise ConfigurationError: a file or a model that the settings name cannot be used.
    :raise UnusableEndpoint: a port cannot be understood.
    """
    guard = logs.guard if logs is not None else None
    shared = environ.get("PROMETHEUS_MULTIPROC_DIR")
    operations = Operations(settings, reactor, guard, shared_metrics=shared)
    ground = Ground(settings, reactor, operations.calls, operations.figures)
    serving = Serving(settings, ground, FilesRead(text_of(settings.source)))
    site = Site(
        Resource(),
        reactor,
        refusal_page=refusal_page,
        connection_limit=connection_limit(settings.limits, reactor),
    )
    site.turnstile, site.busy_answer = ground.overload, busy_answer
    _furnish(site, settings)

    @cache
    def certificate() -> RenewableCertificate:
        return RenewableCertificate(lambda: server_certificate(settings.tls, settings.source))

    service = _Daemon(serving, site, operations, certificate, reactor, logs)
    front = settings.reverse_proxy
    announced = front is not None and front.protocol == "PROXY"
    inherited = inherited_sockets()
    for socket in unasked_sockets(inherited, [*ports, settings.admin.listen or ""]):
        _log.warn(
            "a socket unit opened {socket} ({name}), and no --port asks for it: nobody answers there",
            socket=str(socket),
            name=socket.name,
        )
    listeners = [
        listening_service(
            description,
            reactor,
            site,
            certificate,
            pid_file,
            foreground=foreground,
            inherited=inherited,
            proxies=Networks(front.addresses) if front is not None and announced else None,
        )
        for description in ports
    ]
    operations.watch_process(listeners, site.connection_limit, ground.overload)
    operations.health.add(service.draining)
    CollectedStart(reactor).setServiceParent(service)
    LoopWatch(
        ground.overload,
        reactor,
        shed=lambda number: ground.figures.count("shed_calls", amount=number),
    ).setServiceParent(service)
    admin = operations.listener(certificate, pid_file, foreground=foreground, inherited=inherited)
    if admin is not None:
        # Until the end: whoever watches sees the last calls through.
        admin.setServiceParent(service)

        def account() -> dict[str, object]:
            operations.refresh()
            return operations.status()

        accounts = Accounts(member_from(environ), account, reactor)
        operations.shown_status = accounts.status
        accounts.setServiceParent(service)
    EndOnSignal(reactor, service.hurry).setServiceParent(service)
    for listener in listeners:
        listener.setServiceParent(service.doors)
    reloading = Reloading(
        load or (lambda: settings),
        reactor,
        lambda: service.serving,
        lambda: bool(certificate.cache_info().currsize),
        service.adopt,
        environ,
    )
    _attend(service.doors, listeners, reactor, reloading, environ)
    return service


def _furnish(site: Site, settings: Settings) -> None:
    """Give the site what the settings say of connections."""
    timeouts, front = settings.timeouts, settings.reverse_proxy
    site.timeouts = ServerTimeouts(
        header=timeouts.header_seconds,
        body_idle=timeouts.body_idle_seconds,
        keep_alive_idle=timeouts.keep_alive_idle_seconds,
    )
    site.header_limit_bytes = settings.limits.header_bytes
    site.behind_proxy = None
    if front is not None and front.addresses and front.protocol != "PROXY":
        site.behind_proxy = forwarded_by(Networks(front.addresses))


def _attend(
    doors: MultiService,
    listeners: Sequence[ListeningService],
    reactor: IReactor,
    reloading: Reloading,
    environ: Mapping[str, str],
) -> None:
    """Tell the service manager how the daemon fares, and do what it asks for. Last, to start last and stop first."""
    notifier = Notifier.from_environment(environ)
    ReloadOnHangup(reloading.reload, reactor, notifier).setServiceParent(doors)
    if not notifier.listened_to:
        return

    def check() -> Deferred[None]:
        found = [door for listener in listeners if (door := listener.door()) is not None]
        asked = [answers(door, reactor, reactor) for door in found]
        return gatherResults(asked, consumeErrors=True).addCallback(lambda _: None)

    Supervised(notifier, watchdog_seconds(environ), reactor, check).setServiceParent(doors)
