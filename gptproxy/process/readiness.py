"""
Does a port of ours answer? Asked from outside, over loopback, as a client would.

May import Twisted and this room. A process that listens proves nothing: under ``MemoryDenyWriteExecute=`` it accepts
connections and no TLS handshake ever ends.
"""

from __future__ import annotations

from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IReactorTCP,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Door", "answers"]

ANSWER_SECONDS = 5.0
"""For a connection and a handshake on this machine; a busy one takes some hundredths of a second."""


@frozen
class Door:
    """
    A port of ours.

    :param address: where it listens.
    :param tls: it begins with TLS.
    :param greeting: what goes before that: a PROXY header, where one must.
    """

    address: IAddress
    tls: bool
    greeting: bytes = b""


@implementer(IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    """A client that looks at no certificate: only whether the other end can speak is asked."""

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """
        :param tlsProtocol: what will use the connection.
        :return: an OpenSSL client.
        """
        return SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)


@implementer(IHandshakeListener)
class _Knock(Protocol):
    """
    Begins TLS where it must, and is gone.

    :param door: at which.
    :param done: fires when the door has answered.
    """

    def __init__(self, door: Door, done: Deferred[None]) -> None:
        self._door = door
        self._done: Deferred[None] | None = done

    def connectionMade(self) -> None:
        """Over TLS, the handshake is still to come."""
        if not self._door.tls:
            self._end(None)

    def handshakeCompleted(self) -> None:
        """It can speak."""
        self._end(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        :param reason: why it hung up.
        """
        self._end(reason)

    def abort(self, _: object = None) -> None:
        """Hang up."""
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def _end(self, reason: Failure | None) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if reason is None:
            done.callback(None)
            self.abort()
        elif reason.check(ConnectionDone):
            done.errback(ConnectionError("it hung up during the handshake"))
        else:
            done.errback(reason)


class _Greeted(Protocol):
    """
    Writes what goes before TLS, then hands the connection to it.

    :param greeting: the bytes.
    :param inner: what takes over.
    """

    def __init__(self, greeting: bytes, inner: Protocol) -> None:
        self._greeting = greeting
        self._inner = inner

    def connectionMade(self) -> None:
        """Greet, and step aside."""
        transport: Any = self.transport
        if self._greeting:
            transport.write(self._greeting)
        # As a TCP transport has it: what comes next goes to the protocol that stands there.
        transport.protocol = self._inner
        self._inner.makeConnection(transport)


def answers(door: Door, reactor: IReactorTCP, clock: IReactorTime) -> Deferred[None]:
    """
    Knock at a door.

    :param door: which.
    :param reactor: connects.
    :param clock: for the wait.
    :return: fires when the port has answered: for TLS when the handshake is done, else when it accepts. It fails where
        it does not within :data:`ANSWER_SECONDS`. Other kinds of address than TCP's are taken to answer.
    """
    done: Deferred[None] = Deferred()
    address = door.address
    if not isinstance(address, IPv4Address | IPv6Address):
        done.callback(None)
        return done
    knock = _Knock(door, done)

    def protocol() -> Protocol:
        return knock

    plain = Factory.forProtocol(protocol)
    inner: Any = TLSMemoryBIOFactory(_AnyCertificate(), True, plain) if door.tls else plain
    factory = Factory.forProtocol(lambda: _Greeted(door.greeting, inner.buildProtocol(address)))
    factory.noisy = False
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - compared
    kind = TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint
    connecting = kind(reactor, host, address.port, ANSWER_SECONDS).connect(factory)
    connecting.addErrback(knock.connectionLost)

    def hang_up(failure: Failure) -> Failure:
        connecting.cancel()
        knock.abort()
        return failure

    return done.addTimeout(ANSWER_SECONDS, clock).addErrback(hang_up)
