"""TCP transports that send at once, over real loopback connections."""

from __future__ import annotations

import socket

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString
from twisted.internet.interfaces import IReactorPluggableNameResolver, IReactorTCP, ITCPTransport
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from gptproxy.http import ImmediateReactor
from gptproxy.http.immediate import read_directly


class _End(Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        self.made: Deferred[_End] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.received = b""
        self.wanted = 0
        self.enough: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if self.wanted and len(self.received) >= self.wanted:
            self.wanted = 0
            self.enough.callback(self.received)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)

    def take(self, count: int) -> Deferred[bytes]:
        """:return: fires when so many bytes have come."""
        self.wanted = count
        if len(self.received) >= count:
            self.wanted = 0
            self.enough.callback(self.received)
        return self.enough


class _Reset:
    """A socket whose peer has reset the connection."""

    def recv(self, size: int) -> bytes:
        raise ConnectionResetError


class ImmediateTests(TestCase):
    """A server's and a client's transport, connected to each other."""

    async def connected(self) -> tuple[_End, _End]:
        """:return: the client's end and the server's."""
        immediate = ImmediateReactor(reactor)
        served, called = _End(), _End()
        port = await serverFromString(immediate, "tcp:0:interface=127.0.0.1").listen(
            Factory.forProtocol(lambda: served)
        )
        await HostnameEndpoint(immediate, "127.0.0.1", port.getHost().port).connect(
            Factory.forProtocol(lambda: called)
        )
        await served.made

        async def end() -> None:
            called.transport.abortConnection()
            await called.lost
            await served.lost
            await port.stopListening()

        self.addCleanup(lambda: Deferred.fromCoroutine(end()))
        return called, served

    async def _writes(self) -> None:
        called, served = await self.connected()
        for end in (called, served):
            handle: socket.socket = end.transport.getHandle()
            self.assertTrue(handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        called.transport.write(b"one ")
        called.transport.writeSequence([b"two ", b"three"])
        called.transport.write(b"")
        # In the kernel's hands already: the other end can be read from without a turn of the reactor.
        self.assertEqual(served.transport.getHandle().recv(100), b"one two three")
        served.transport.write(b"back")
        self.assertEqual(await called.take(4), b"back")

    def test_writes(self) -> None:
        """What fits is with the kernel when write returns."""
        return Deferred.fromCoroutine(self._writes())

    async def _large(self) -> None:
        called, served = await self.connected()
        data = bytes(range(256)) * (64 * 1024)
        called.transport.write(data)
        called.transport.write(b"and more")
        got = await served.take(len(data) + 8)
        self.assertEqual(got, data + b"and more")

    def test_more_than_the_kernel_takes(self) -> None:
        """The rest is queued, and everything arrives in order."""
        return Deferred.fromCoroutine(self._large())

    async def _broken(self) -> None:
        called, served = await self.connected()
        served.transport.abortConnection()
        await called.lost
        called.transport.write(b"nobody")

    def test_a_connection_that_is_gone(self) -> None:
        """Writing to it is silent, as with Twisted's own."""
        return Deferred.fromCoroutine(self._broken())

    async def _breaking(self) -> None:
        called, _ = await self.connected()
        called.transport.getHandle().shutdown(socket.SHUT_WR)
        called.transport.write(b"not sent")
        # Not lost from within the write, whoever it was that called it.
        self.assertFalse(called.lost.called)
        await called.lost

    def test_a_connection_that_breaks(self) -> None:
        """Is lost in a later turn, never from within a write."""
        return Deferred.fromCoroutine(self._breaking())

    def test_the_rest_is_the_reactors(self) -> None:
        """Whoever asks what it provides is told what the reactor does."""
        immediate = ImmediateReactor(reactor)
        self.assertTrue(IReactorTCP.providedBy(immediate))
        self.assertTrue(IReactorPluggableNameResolver.providedBy(immediate))
        self.assertEqual(immediate.callLater, reactor.callLater)

    async def _directly(self) -> None:
        called, served = await self.connected()
        self.assertIsNot(called.transport.protocol, called)
        for end in (called, served):
            read_directly(end)
            self.assertIs(end.transport.protocol, end)
        served.transport.write(b"still here")
        self.assertEqual(await called.take(10), b"still here")

    def test_what_an_endpoint_puts_around_a_protocol_is_taken_away(self) -> None:
        """And nothing else is changed by it."""
        return Deferred.fromCoroutine(self._directly())

    async def _nothing(self) -> None:
        called, served = await self.connected()
        self.assertIsNone(called.transport.doRead())
        sound, served.transport.socket = served.transport.socket, _Reset()
        self.assertIs(served.transport.doRead(), CONNECTION_LOST)
        served.transport.socket = sound

    def test_a_read_without_anything_to_read(self) -> None:
        """Is none; one from a socket that was reset is a loss."""
        return Deferred.fromCoroutine(self._nothing())

    async def _interface(self) -> None:
        called, served = await self.connected()
        self.assertTrue(ITCPTransport.providedBy(called.transport))
        self.assertTrue(ITCPTransport.providedBy(served.transport))

    def test_interfaces(self) -> None:
        """They are TCP transports like Twisted's own."""
        return Deferred.fromCoroutine(self._interface())
