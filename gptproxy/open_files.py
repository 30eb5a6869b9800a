"""
How many connections there is room for: a process may have so many files open.

May import the config and HTTP rooms and Twisted's log.
"""

from __future__ import annotations

from twisted.logger import Logger

from gptproxy.config import LimitSettings
from gptproxy.http import ConnectionLimit, IReactor, fitting_connections

__all__ = ["bound_connections", "connection_limit"]

_log = Logger()


def connection_limit(limits: LimitSettings, reactor: IReactor) -> ConnectionLimit:
    """
    :param limits: what the operator would have.
    :param reactor: the clock.
    :return: what there is room for; a line of the log says where that is less.
    """
    limit = ConnectionLimit(reactor)
    bound_connections(limit, limits)
    return limit


def bound_connections(limit: ConnectionLimit, limits: LimitSettings) -> None:
    """
    :param limit: takes new bounds; connections beyond them stay.
    :param limits: what the operator would have.
    """
    # A client's connection and an upstream's for each, and some.
    open_files = _open_files(2 * limits.connections + 2)
    connections = fitting_connections(limits.connections, open_files)
    # One in a hundred fewer is nobody's concern: machines that allow 20,000 files are many.
    if connections < limits.connections - limits.connections // 100:
        _log.warn(
            "[limits] connections = {configured} does not fit: the process may have {open_files} files open "
            "(ulimit -n, LimitNOFILE= in a systemd unit); {connections} clients may connect at a time",
            configured=limits.connections,
            open_files=open_files,
            connections=connections,
        )
    limit.connections, limit.per_address = connections, limits.connections_per_address


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
