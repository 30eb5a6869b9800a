"""
Listening sockets that the service manager opened and handed down (sd_listen_fds(3)).

May import Twisted; nothing of gptproxy. ``--port ssl:443`` is the same command line with a socket unit and without: a
port that was handed down is taken over, another one is opened.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import field, frozen
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReactorSocket,
    IStreamServerEndpoint,
)
from zope.interface import implementer

__all__ = [
    "InheritedEndpoint",
    "InheritedSocket",
    "fitting_sockets",
    "inherited_descriptors",
    "inherited_sockets",
    "unasked_sockets",
]

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""

MOST_DESCRIPTORS = 64
"""More than anybody configures, and a bound on what is looked at."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)


@frozen
class InheritedSocket:
    """
    A listening TCP socket.

    :param descriptor: its file descriptor.
    :param family: AF_INET or AF_INET6.
    :param host: the address that it is bound to.
    :param port: its port.
    :param name: what the socket unit calls it (FileDescriptorName=), for messages.
    """

    descriptor: int
    family: int
    host: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def inherited_descriptors(environ: Mapping[str, str], pid: int) -> dict[int, str]:
    """
    :param environ: the environment that the process began with.
    :param pid: its number: what was meant for another process is not ours.
    :return: file descriptors and their names.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(pid) or not re.fullmatch("[0-9]{1,4}", count, re.ASCII):
        return {}
    given = min(int(count), MOST_DESCRIPTORS)
    names = environ.get("LISTEN_FDNAMES", "").split(":") + [""] * given
    return {FIRST_DESCRIPTOR + number: names[number] for number in range(given)}


def inherited_sockets() -> tuple[InheritedSocket, ...]:
    """
    :return: the TCP sockets that were handed down to this process; other kinds are left alone.
    """
    found = []
    # Twisted removes the variables from os.environ when its endpoints are imported, and keeps what it made of them to
    # itself.
    for descriptor, name in inherited_descriptors(_first_environment(), os.getpid()).items():
        try:
            given = socket.socket(fileno=descriptor)
        except OSError:
            continue
        try:
            if given.family in _INTERNET and given.type == socket.SOCK_STREAM:
                # What this process starts has no business with them.
                os.set_inheritable(descriptor, False)
                host, port = given.getsockname()[:2]
                found.append(InheritedSocket(descriptor, given.family, host, port, name))
        finally:
            given.detach()
    return tuple(found)


def _first_environment() -> Mapping[str, str]:
    """:return: what the process began with, where the system tells (proc_pid_environ(5))."""
    try:
        content = Path("/proc/self/environ").read_bytes()
    except OSError:
        return os.environ
    pairs = (entry.partition(b"=") for entry in content.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def fitting_sockets(
    sockets: Sequence[InheritedSocket], description: str
) -> tuple[InheritedSocket, ...]:
    """
    :param sockets: what was handed down.
    :param description: a ``tcp:`` endpoint string, or ``ssl:``.
    :return: those with its port, and its interface if it names one: an IPv4 and an IPv6 one, say. Without an interface
        any will do, since opening the port beside them would fail.
    """
    _, *given = re.split(r"(?<!\\):", description)
    named = dict(part.replace("\\", "").split("=", 1) for part in given if "=" in part)
    port = named.get("port", next((part for part in given[:1] if "=" not in part), ""))
    interface = named.get("interface", "")
    return tuple(
        each
        for each in sockets
        if port == str(each.port) and (not interface or _same_address(interface, each.host))
    )


def unasked_sockets(
    sockets: Sequence[InheritedSocket], descriptions: Sequence[str]
) -> tuple[InheritedSocket, ...]:
    """
    :param sockets: what was handed down.
    :param descriptions: all endpoint strings.
    :return: those that none of them fits: clients would wait in their queues for ever.
    """
    asked = {each for description in descriptions for each in fitting_sockets(sockets, description)}
    return tuple(each for each in sockets if each not in asked)


def _same_address(first: str, second: str) -> bool:
    try:
        return ipaddress.ip_address(first) == ipaddress.ip_address(second)
    except ValueError:
        return False


@implementer(IListeningPort)
@frozen
class _Ports:
    """Several listening ports that are stopped together. As a port it has the first one's address."""

    ports: tuple[IListeningPort, ...]

    def startListening(self) -> None:
        """They do."""

    def stopListening(self) -> Deferred[None]:
        """:return: fires when all have stopped."""
        stopping = [maybeDeferred(port.stopListening) for port in self.ports]
        return gatherResults(stopping).addCallback(lambda _: None)

    def getHost(self) -> IAddress:
        """:return: where the first listens."""
        return self.ports[0].getHost()


@implementer(IStreamServerEndpoint)
@frozen
class InheritedEndpoint:
    """
    Listens on sockets that were handed down. Stopping closes our copies of them and no more: the service manager keeps
    its own, in whose queue clients wait for the next process.

    :param reactor: takes them.
    :param sockets: at least one.
    """

    reactor: IReactorSocket
    sockets: tuple[InheritedSocket, ...] = field()

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        :param protocolFactory: serves.
        :return: fires with the port; several count as one.
        """
        listening = [
            AdoptedStreamServerEndpoint(self.reactor, each.descriptor, each.family).listen(
                protocolFactory
            )
            for each in self.sockets
        ]
        return gatherResults(listening, consumeErrors=True).addCallback(_as_one)


def _as_one(ports: list[IListeningPort]) -> IListeningPort:
    return ports[0] if len(ports) == 1 else _Ports(tuple(ports))
