"""
Ports: endpoint strings as ``--port`` takes them, and the service that listens on one.

May import the HTTP room's interfaces, the process room and Twisted.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLContextFactory,
    IProtocolFactory,
    IReactorCore,
    IReadDescriptor,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

from gptproxy.http import ImmediateTLSFactory, IReactor
from gptproxy.process import (
    LOCAL_HEADER,
    Door,
    InheritedEndpoint,
    InheritedSocket,
    Networks,
    ProxiedFactory,
    fitting_sockets,
)

__all__ = ["CannotListen", "ListeningService", "UnusableEndpoint", "listening_service"]


MOST_WAITING = 1024
"""Rounds of accepting before a port is closed; each takes one connection at least, and more come all the time."""


class UnusableEndpoint(Exception):
    """A ``--port`` that cannot be listened on; its text says which and why."""


class CannotListen(Exception):
    """
    A port that cannot be had; its text says which and why. twistd hands the first 100 bytes to whoever started a daemon
    that has gone into the background.
    """


class ListeningService(Service):
    """
    Listens on one endpoint from before privileges are shed.

    :param description: the endpoint string, for messages.
    :param endpoint: where to listen.
    :param factory: whose protocols serve.
    :param pid_file: twistd's, removed where listening fails: twistd does it for exceptions alone, and one that is
        left names a process that may be another's after a while.
    :param foreground: twistd stays in the foreground: one line on stderr is all that it takes. In the background,
        whoever started it waits for an exception or for success, and for nothing else.
    :param tls: connections begin with TLS.
    :param greeting: what goes before that, by the address that a client has.
    """

    _log = Logger()

    def __init__(
        self,
        description: str,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        pid_file: str | None,
        *,
        foreground: bool = True,
        tls: bool = False,
        greeting: Callable[[str], bytes] = lambda host: b"",
    ) -> None:
        self._description = description
        self._endpoint = endpoint
        self._factory = factory
        self._pid_file = pid_file
        self._foreground = foreground
        self._tls = tls
        self._greeting = greeting
        self._port: IListeningPort | None = None
        self._trouble: str | None = None
        self._listening: Deferred[IListeningPort | None] | None = None

    def privilegedStartService(self) -> None:
        """
        Listen.

        :raise SystemExit: the port cannot be had: one line on stderr says why, the status is 1.
        :raise CannotListen: the same in the background.
        """
        super().privilegedStartService()
        self._listening = self._endpoint.listen(self._factory).addCallbacks(
            self._opened, self._give_up
        )
        if self._trouble is None:
            return
        if not self._foreground:
            raise CannotListen(self._trouble)
        if sys.__stderr__ is not None:
            # twistd's log has taken the place of sys.stderr by now.
            sys.__stderr__.write(f"gptproxy: cannot listen on {self._trouble}\n")
            sys.__stderr__.flush()
        if self._pid_file and _names_this_process(Path(self._pid_file)):
            Path(self._pid_file).unlink()
        raise SystemExit(1)

    def startService(self) -> None:
        """Listen, unless privileges were not asked for."""
        super().startService()
        if self._listening is None:
            self.privilegedStartService()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening.

        :return: fires when the port is closed.
        """
        super().stopService()
        listening, self._listening, self._port = self._listening, None, None
        return succeed(None) if listening is None else listening.addCallback(_stop)

    @property
    def description(self) -> str:
        """The endpoint string."""
        return self._description

    def door(self) -> Door | None:
        """:return: where a client on this machine finds it, and how it begins; None while nobody listens."""
        if self._port is None:
            return None
        address = self._port.getHost()
        host = getattr(address, "host", "")
        # A client of a port that is open to all comes from the address that it connects to.
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
        return Door(address, self._tls, self._greeting(loopback))

    def _opened(self, port: IListeningPort) -> IListeningPort:
        self._port = port
        return port

    def _give_up(self, failure: Failure) -> None:
        reason = _reason(failure)
        self._log.error(
            "cannot listen on {description}: {reason}",
            description=self._description,
            reason=reason,
        )
        self._trouble = f"{self._description}: {reason}"


def listening_service(
    description: str,
    reactor: IReactor,
    factory: IProtocolFactory,
    certificate: Callable[[], IOpenSSLContextFactory],
    pid_file: str | None,
    *,
    foreground: bool = True,
    inherited: Sequence[InheritedSocket] = (),
    proxies: Networks | None = None,
) -> ListeningService:
    """
    :param description: a Twisted endpoint string; ``ssl:`` without a key of its own serves with ``certificate``.
    :param reactor: listens.
    :param factory: whose protocols serve.
    :param certificate: loads the configured certificate; called only where it is wanted.
    :param pid_file: twistd's.
    :param foreground: see :class:`ListeningService`.
    :param inherited: sockets that were handed down: one that fits ``tcp:`` or ``ssl:`` is taken over.
    :param proxies: those whose connections begin with a PROXY header; None: nobody's do.
    :return: the service.
    :raise UnusableEndpoint: the string is not an endpoint's, or a file that it names cannot be used.
    """
    kind, _, rest = description.partition(":")
    ours = kind == "ssl" and "privateKey=" not in rest
    if ours:
        factory = ImmediateTLSFactory(certificate(), False, factory, reactor)
    # Twisted's "ssl:" wants its key in the string; "tcp:" takes everything else that may stand there.
    endpoint = _endpoint(f"tcp:{rest}" if ours else description, description, reactor)
    if ours or kind == "tcp":
        given = fitting_sockets(inherited, description)
        if given:
            endpoint = InheritedEndpoint(reactor, given)
        if proxies:
            factory = ProxiedFactory(factory, proxies, reactor)
    else:
        proxies = None

    def greeting(host: str) -> bytes:
        return LOCAL_HEADER if proxies and host in proxies else b""

    return ListeningService(
        description,
        endpoint,
        factory,
        pid_file,
        foreground=foreground,
        tls=kind == "ssl",
        greeting=greeting,
    )


def _endpoint(text: str, description: str, reactor: IReactorCore) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:
        # The parsers of endpoint strings, plugins among them, raise what they like.
        raise UnusableEndpoint(
            f"--port {description}: not a usable Twisted endpoint such as ssl:443: {_reason(Failure(error))}"
        ) from error
    return endpoint


def _reason(failure: Failure) -> str:
    """:return: what went wrong, in one line."""
    # twisted.internet.error.CannotListenError carries the socket's own error.
    error = getattr(failure.value, "socketError", failure.value)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _names_this_process(pid_file: Path) -> bool:
    try:
        return pid_file.read_text("ascii").strip() == str(os.getpid())
    except (OSError, ValueError):
        return False


def _stop(port: IListeningPort | None) -> Deferred[None] | None:
    if port is None:
        return None
    _accept_waiting(port)
    return port.stopListening()


def _accept_waiting(port: IListeningPort) -> None:
    """Accept who is connected already, as far as the kernel is concerned: closing the port resets their connections."""
    if not IReadDescriptor.providedBy(port) or not hasattr(select, "poll"):
        return
    waiting = select.poll()
    waiting.register(port.fileno(), select.POLLIN)
    for _ in range(MOST_WAITING):
        if not waiting.poll(0):
            break
        port.doRead()
