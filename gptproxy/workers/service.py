"""
The parent's service put together: sockets, workers, signals, and the service manager told.

May import the process room, Twisted and this room's own modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.application.service import MultiService

from gptproxy.process import (
    EndOnSignal,
    Notifier,
    ReloadOnHangup,
    Supervised,
    inherited_sockets,
    watchdog_seconds,
)
from gptproxy.workers.parent import Parent, WorkerCommand
from gptproxy.workers.sockets import shared_sockets

__all__ = ["add_workers"]


def add_workers(
    service: MultiService,
    workers: int,
    command: WorkerCommand,
    ports: Sequence[str],
    reactor: Any,
    *,
    drain_seconds: float,
    check: Callable[[], float],
    environ: Mapping[str, str],
    pid_file: str | None,
    foreground: bool,
) -> None:
    """
    :param service: is given the parent's parts.
    :param workers: how many.
    :param command: how one is started.
    :param ports: endpoint strings, the admin listener's among them.
    :param reactor: everything runs on it.
    :param drain_seconds: how long a worker may take to finish its calls.
    :param check: at SIGHUP, before any worker is told: gives ``drain_seconds`` as it is now, or raises what is wrong,
        and then none is.
    :param environ: the process's environment.
    :param pid_file: twistd's.
    :param foreground: twistd stays there.
    :raise gptproxy.listening.UnusableEndpoint: a port cannot be shared, or is no endpoint.
    """
    sockets, listeners = shared_sockets(
        ports, reactor, inherited_sockets(), pid_file, foreground=foreground
    )
    for listener in listeners:
        listener.setServiceParent(service)
    parent = Parent(workers, command, sockets, reactor, drain_seconds)
    parent.setServiceParent(service)
    EndOnSignal(reactor, parent.hurry).setServiceParent(service)
    notifier = Notifier.from_environment(environ)

    async def reload() -> None:
        parent.reload(check())

    ReloadOnHangup(reload, reactor, notifier).setServiceParent(service)
    if notifier.listened_to:
        Supervised(notifier, watchdog_seconds(environ), reactor, parent.all_ready).setServiceParent(
            service
        )
