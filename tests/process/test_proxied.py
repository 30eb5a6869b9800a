"""TCP, then PROXY, then TLS; and our own door, knocked at from outside."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from unittest import mock

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gptproxy.config import TLSSettings
from gptproxy.http import ImmediateReactor, ImmediateTLSFactory
from gptproxy.process import (
    LOCAL_HEADER,
    Door,
    Networks,
    ProxiedFactory,
    RenewableCertificate,
    answers,
)
from gptproxy.process.proxied import HEADER_SECONDS, SECONDS_BETWEEN_LINES
from gptproxy.tls import server_certificate
from tests.top.rig import SECONDS, Certified, folder_of

PROXY = IPv4Address("TCP", "10.0.0.1", 5000)
STRANGER = IPv4Address("TCP", "203.0.113.5", 5000)
TRUSTED = Networks([ipaddress.ip_network("10.0.0.0/8")])
HEADER = b"PROXY TCP4 198.51.100.1 10.0.0.2 4711 443\r\n"


class Recorder(Protocol):
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.got = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True


class Recorders(Factory):
    """Keeps the addresses it is asked for, and the protocols."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.made: list[Recorder] = []

    def buildProtocol(self, addr: object) -> Recorder | None:
        self.asked.append(addr)
        if getattr(addr, "host", "") == "198.51.100.99":
            return None
        self.made.append(Recorder())
        return self.made[-1]


class Transport(StringTransport):
    """One whose protocol can be exchanged, as a TCP transport's."""

    protocol: Protocol
    connected = True

    def deliver(self, data: bytes) -> None:
        self.protocol.dataReceived(data)


class ProxiedTests(SynchronousTestCase):
    """In memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.inner = Recorders()
        self.factory = ProxiedFactory(self.inner, TRUSTED, self.clock)

    def connect(self, address: object = PROXY) -> Transport:
        transport = Transport(peerAddress=address)
        transport.protocol = self.factory.buildProtocol(address)
        transport.protocol.makeConnection(transport)
        return transport

    def test_the_client_that_was_named(self) -> None:
        """Counts as the other end; what follows the header is its own, however it is cut."""
        for cut in (0, 1, len(HEADER) - 1, len(HEADER), len(HEADER) + 2):
            transport = self.connect()
            data = HEADER + b"\x16\x03\x01"
            for part in filter(None, (data[:cut], data[cut:])):
                transport.deliver(part)
            client = IPv4Address("TCP", "198.51.100.1", 4711)
            self.assertEqual(self.inner.asked[-1], client)
            served = self.inner.made[-1]
            self.assertEqual(served.transport.getPeer(), client)
            transport.deliver(b"more")
            self.assertEqual(served.got, b"\x16\x03\x01more")
            served.transport.write(b"answer")
            self.assertEqual(transport.value(), b"answer")
            transport.protocol.connectionLost(None)
            self.assertTrue(served.lost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_by_ipv6(self) -> None:
        """Likewise."""
        self.connect().deliver(b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n")
        self.assertEqual(self.inner.asked, [IPv6Address("TCP", "2001:db8::9", 4711)])

    def test_the_proxy_itself(self) -> None:
        """Its own checks count as its own."""
        for header in (LOCAL_HEADER, b"PROXY UNKNOWN\r\n"):
            self.connect().deliver(header)
            self.assertEqual(self.inner.asked.pop(), PROXY)

    def test_strangers(self) -> None:
        """Are served as they come; a header of theirs is no header."""
        for address in (STRANGER, UNIXAddress(None), None):
            transport = self.connect(address)
            transport.deliver(HEADER)
            self.assertEqual(self.inner.asked[-1], address)
            self.assertEqual(self.inner.made[-1].got, HEADER)

    def test_without_a_header(self) -> None:
        """A proxy's connection is closed, at once or when none comes; the log says so, not too often."""
        with capturedLogs() as events:
            transport = self.connect()
            transport.deliver(b"\x16\x03\x01")
            self.assertTrue(transport.disconnected)
            transport.deliver(HEADER)
            silent = self.connect()
            self.clock.advance(HEADER_SECONDS)
            self.assertTrue(silent.disconnected)
            silent.protocol.connectionLost(None)
            self.clock.advance(SECONDS_BETWEEN_LINES)
            self.connect().deliver(b"GET")
        self.assertEqual(self.inner.asked, [])
        first, second = map(formatEvent, events)
        self.assertIn("10.0.0.1", first)
        self.assertIn("begins otherwise", second)

    def test_gone_before_the_header(self) -> None:
        """Nothing is waited for."""
        self.connect().protocol.connectionLost(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_serves(self) -> None:
        """The connection is closed."""
        transport = self.connect()
        transport.deliver(HEADER.replace(b".1 10", b".99 10"))
        self.assertTrue(transport.disconnected)


class Echo(Protocol):
    """Tells who is there."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        peer = self.transport.getPeer()
        self.transport.write(f"{peer.host} {peer.port} ".encode() + data)


class LoopbackTests(TestCase):
    """Over real sockets, with TLS, and the certificate exchanged under way."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.write("one.test")
        files = TLSSettings(self.folder / "c.pem", self.folder / "k.pem")
        self.certificate = RenewableCertificate(lambda: server_certificate(files, "g.toml"))
        self.reactor = ImmediateReactor(reactor)
        self.tls = ImmediateTLSFactory(
            self.certificate, False, Factory.forProtocol(Echo), self.reactor
        )
        self.trusted = Networks([ipaddress.ip_network("127.0.0.0/8")])

    def write(self, name: str) -> None:
        leaf = Certified(name)
        (self.folder / "c.pem").write_bytes(leaf.pem)
        (self.folder / "k.pem").write_bytes(leaf.key_pem())

    def listen(self, factory: Factory, interface: str = "127.0.0.1") -> Door:
        port = self.reactor.listenTCP(0, factory, interface=interface)
        self.addCleanup(port.stopListening)
        return Door(port.getHost(), True)

    async def speak(self, door: Door, header: bytes) -> tuple[bytes, bytes]:
        def ask() -> tuple[bytes, bytes]:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            plain = socket.create_connection(("127.0.0.1", door.address.port), SECONDS)
            plain.sendall(header)
            with context.wrap_socket(plain) as client:
                client.sendall(b"hello")
                certificate = client.getpeercert(binary_form=True)
                assert certificate is not None
                return client.recv(100), certificate

        return await deferToThread(ask)

    async def test_proxy_then_tls(self) -> None:
        """The client's address reaches what serves it."""
        door = self.listen(ProxiedFactory(self.tls, self.trusted, self.reactor))
        said, _ = await self.speak(door, HEADER)
        self.assertEqual(said, b"198.51.100.1 4711 hello")
        greeted = Door(door.address, True, LOCAL_HEADER)
        await answers(greeted, self.reactor, self.reactor)

    async def test_a_renewed_certificate(self) -> None:
        """New connections get it; a broken one changes nothing."""
        door = self.listen(self.tls)
        _, first = await self.speak(door, b"")
        self.write("two.test")
        self.certificate.renew()
        _, second = await self.speak(door, b"")
        self.assertNotEqual(first, second)
        (self.folder / "k.pem").write_text("no key")
        with self.assertRaises(Exception):  # noqa: B017 - whatever the loader raises
            self.certificate.renew()
        self.assertEqual((await self.speak(door, b""))[1], second)

    async def test_doors_that_answer(self) -> None:
        """By TLS, plainly, and those that cannot be knocked at."""
        door = self.listen(self.tls, "0.0.0.0")  # noqa: S104 - that is what is tried
        await answers(door, self.reactor, self.reactor)
        await answers(Door(door.address, False), self.reactor, self.reactor)
        await answers(Door(UNIXAddress("/x"), True), self.reactor, self.reactor)

    async def test_doors_that_do_not(self) -> None:
        """Nobody there, not TLS, and nothing said: each is a failure, and leaves nothing behind."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = IPv4Address("TCP", *closed.getsockname())
        with self.assertRaises(Exception):  # noqa: B017 - the network's own words
            await answers(Door(nobody, True), self.reactor, self.reactor)
        plain = self.listen(Factory.forProtocol(Echo))
        with self.assertRaises(Exception):  # noqa: B017 - OpenSSL's own words
            await answers(plain, self.reactor, self.reactor)
        hangs_up = self.listen(ProxiedFactory(self.tls, self.trusted, self.reactor))
        with capturedLogs(), self.assertRaises(Exception):  # noqa: B017 - the network's own words
            await answers(hangs_up, self.reactor, self.reactor)
        silent = self.listen(Factory.forProtocol(Protocol))
        with (
            mock.patch("gptproxy.process.readiness.ANSWER_SECONDS", 0.05),
            self.assertRaises(Exception),  # noqa: B017 - a timeout's own class
        ):
            await answers(silent, self.reactor, self.reactor)
