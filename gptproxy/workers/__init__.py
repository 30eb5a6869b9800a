"""
Several processes that are one daemon to everybody else: ``--workers N``.

The parent (:func:`add_workers`) opens the listening sockets and serves nothing. It starts the workers, each a single
process as the operator would start it, and hands them what a service manager would: the sockets (sd_listen_fds(3)) and
a place to say how they fare (sd_notify(3)). So a worker is ready when its port answers, and alive as long as its loop
turns, by the means that a single process has. Which worker is started when is decided in
:mod:`~gptproxy.workers.roster`.

A worker knows that it is one (:func:`member_from`): it has its part of the limits (:func:`divided`), counts in the file
of its number (:func:`share_metrics`), tells the others how it is (:class:`Accounts`), and stops when its parent is gone
(:class:`ParentWatch`).
"""

from gptproxy.workers.accounts import Account, merged
from gptproxy.workers.command_line import is_shared, log_options
from gptproxy.workers.member import Member, ParentWatch, member_from, share_metrics
from gptproxy.workers.parent import WorkerCommand
from gptproxy.workers.service import add_workers
from gptproxy.workers.shares import divided, worker_count
from gptproxy.workers.telling import Accounts

__all__ = [
    "Account",
    "Accounts",
    "Member",
    "ParentWatch",
    "WorkerCommand",
    "add_workers",
    "divided",
    "is_shared",
    "log_options",
    "member_from",
    "merged",
    "share_metrics",
    "worker_count",
]
