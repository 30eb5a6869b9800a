"""
The process and those around it: the service manager that starts it, the sockets it was given, the proxies in front.

May import Twisted; nothing of gptproxy. The daemon is told what it inherited (:func:`inherited_sockets`), tells the
service manager how it fares (:class:`Supervised`), takes renewed certificates when it is asked to
(:class:`RenewableCertificate`, :class:`ReloadOnHangup`), and learns from a trusted proxy who is behind it
(:class:`ProxiedFactory`, :func:`forwarded_by`).
"""

from __future__ import annotations

from gptproxy.process.certificate import RenewableCertificate
from gptproxy.process.ending import EndOnSignal
from gptproxy.process.forwarded import forwarded_by
from gptproxy.process.inherited import (
    InheritedEndpoint,
    InheritedSocket,
    fitting_sockets,
    inherited_sockets,
    unasked_sockets,
)
from gptproxy.process.networks import Networks, forwarded_client
from gptproxy.process.notification import Notifier, watchdog_seconds
from gptproxy.process.proxied import ProxiedFactory
from gptproxy.process.proxy_header import LOCAL_HEADER
from gptproxy.process.readiness import Door, answers
from gptproxy.process.reloading import ReloadOnHangup
from gptproxy.process.supervised import Supervised

__all__ = [
    "LOCAL_HEADER",
    "Door",
    "EndOnSignal",
    "InheritedEndpoint",
    "InheritedSocket",
    "Networks",
    "Notifier",
    "ProxiedFactory",
    "ReloadOnHangup",
    "RenewableCertificate",
    "Supervised",
    "answers",
    "fitting_sockets",
    "forwarded_by",
    "forwarded_client",
    "inherited_sockets",
    "unasked_sockets",
    "watchdog_seconds",
]
