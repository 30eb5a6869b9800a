"""Real sockets on loopback: TLS as it is, treq on top, and a long answer through a relay."""

from __future__ import annotations

from collections.abc import Callable

import treq
from treq.client import HTTPClient
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimedOut
from twisted.internet.endpoints import SSL4ClientEndpoint, connectProtocol
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from gptproxy.http import (
    Agent,
    ConnectFailed,
    ImmediateReactor,
    ImmediateTLSFactory,
    Origin,
    Request,
    ResponseNeverReceived,
    Site,
    collect_body,
    relay_body,
)
from gptproxy.http.channel import ServerChannel
from tests.http.certificates import Authority, server_options
from tests.http.serving import EarlyRendered, Rendered


class CountedSite(Site):
    """Tells when all its connections are gone."""

    def __init__(self, resource: Rendered, clock: object) -> None:
        super().__init__(resource, clock)  # type: ignore[arg-type]  # the real reactor is all that is asked for
        self.open: list[ServerChannel] = []
        self._empty: Deferred[None] | None = None

    def buildProtocol(self, addr: IAddress | None) -> ServerChannel:
        channel = super().buildProtocol(addr)
        self.open.append(channel)
        lost = channel.connectionLost

        def connection_lost(reason: Failure = connectionDone) -> None:
            lost(reason)
            self.open.remove(channel)
            if not self.open and self._empty is not None:
                self._empty.callback(None)

        channel.connectionLost = connection_lost  # type: ignore[method-assign]  # to see it
        return channel

    async def empty(self) -> None:
        """Wait until nobody is connected."""
        if self.open:
            self._empty = Deferred()
            await self._empty


class SocketCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        # As the daemon has it.
        self.reactor = ImmediateReactor(reactor)
        self.authority = Authority()
        self.agent = Agent(self.reactor, self.trust)  # type: ignore[arg-type]  # the module is typed as nothing
        self.ports: list[IListeningPort] = []
        self.sites: list[CountedSite] = []

    async def tearDown(self) -> None:
        self.agent.close()
        for port in self.ports:
            await port.stopListening()
        for site in self.sites:
            await site.empty()

    def trust(self, host: str) -> object:
        return optionsForClientTLS(host, trustRoot=self.authority.certificate)

    def listen(
        self,
        render: Callable[[Request], bytes | None],
        options: CertificateOptions | None = None,
        *,
        resource: type[Rendered] = Rendered,
    ) -> tuple[Origin, Rendered]:
        leaf = resource(render)
        site = CountedSite(leaf, self.reactor)
        if options is None:
            port = self.reactor.listenTCP(0, site, interface="127.0.0.1")
        else:
            secured = ImmediateTLSFactory(options, False, site, self.reactor)
            port = self.reactor.listenTCP(0, secured, interface="127.0.0.1")
        self.ports.append(port)
        self.sites.append(site)
        address = port.getHost()
        assert isinstance(address, IPv4Address)
        return Origin(options is not None, "localhost", address.port), leaf


class TLSTests(SocketCase):
    async def test_a_server_with_the_right_certificate_is_asked_and_kept(self) -> None:
        origin, _ = self.listen(lambda _: b"hello", self.authority.server_options("localhost"))
        for _ in range(3):
            response = await self.agent.ask(b"GET", origin, b"/", ())
            self.assertEqual(await collect_body(response, 10), b"hello")
        self.assertEqual(len(self.sites[0].open), 1)

    async def test_a_wrong_an_expired_and_a_self_signed_certificate_are_refused(self) -> None:
        """R7: and nothing is sent."""
        for options in (
            self.authority.server_options("other.example"),
            self.authority.server_options("localhost", days=-1),
            server_options("localhost"),
        ):
            origin, leaf = self.listen(lambda _: b"", options)
            key = ((b"authorization", b"Bearer secret"),)
            try:
                await self.agent.ask(b"POST", origin, b"/", key)
            except ConnectFailed as failed:
                self.assertNotIn("secret", str(failed))
            else:
                self.fail("it was trusted")
            self.assertEqual(leaf.requests, [])

    async def test_only_http_1_1_is_offered(self) -> None:
        """R5: whether or not an HTTP/2 library is installed."""
        origin, _ = self.listen(lambda _: b"", self.authority.server_options("localhost"))
        options = optionsForClientTLS(
            "localhost",
            trustRoot=self.authority.certificate,
            acceptableProtocols=[b"h2", b"http/1.1"],
        )

        class Hearing(Protocol):
            def __init__(self) -> None:
                self.heard: Deferred[bytes] = Deferred()
                self.lost: Deferred[None] = Deferred()

            def dataReceived(self, data: bytes) -> None:
                if not self.heard.called:
                    self.heard.callback(data)

            def connectionLost(self, reason: Failure = connectionDone) -> None:
                self.lost.callback(None)

        endpoint = SSL4ClientEndpoint(self.reactor, "127.0.0.1", origin.port, options)
        protocol = await connectProtocol(endpoint, Hearing())
        protocol.transport.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertTrue((await protocol.heard).startswith(b"HTTP/1.1 200"))
        self.assertEqual(protocol.transport.negotiatedProtocol, b"http/1.1")
        protocol.transport.abortConnection()
        await protocol.lost

    async def test_connection_close_ends_in_good_order_over_tls(self) -> None:
        def close(request: Request) -> bytes:
            request.channel.loseConnection()
            return b""

        origin, _ = self.listen(close, self.authority.server_options("localhost"))
        with self.assertRaises(ResponseNeverReceived):
            await self.agent.ask(b"GET", origin, b"/", ())


class TreqTests(SocketCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = HTTPClient(self.agent)

    async def test_it_gets_and_posts(self) -> None:
        origin, _ = self.listen(
            lambda request: request.method + b" " + request.uri + b" " + request.content.read()
        )
        url = f"http://127.0.0.1:{origin.port}/a"
        response = await self.client.get(url, params={"b": "c"})
        self.assertEqual(await treq.content(response), b"GET /a?b=c ")
        response = await self.client.post(url, data=b"body")
        self.assertEqual(await response.text(), "POST /a body")
        response = await self.client.post(url, json={"a": 1})
        self.assertEqual((await response.content())[:9], b"POST /a {")
        self.assertEqual(len(self.sites[0].open), 1)

    async def test_it_reads_json_and_collects_unbuffered(self) -> None:
        origin, _ = self.listen(lambda _: b'{"a": [1, 2]}')
        url = f"http://127.0.0.1:{origin.port}/"
        response = await self.client.get(url)
        self.assertEqual(await response.json(), {"a": [1, 2]})
        pieces: list[bytes] = []
        response = await self.client.get(url, unbuffered=True)
        await response.collect(pieces.append)
        self.assertEqual(b"".join(pieces), b'{"a": [1, 2]}')

    async def test_its_timeout_cancels_the_request(self) -> None:
        origin, leaf = self.listen(lambda _: None)
        url = f"http://127.0.0.1:{origin.port}/"
        with self.assertRaises((CancelledError, TimedOut, DeferredTimedOut, ResponseNeverReceived)):
            await self.client.get(url, timeout=0.05)
        await self.sites[0].empty()
        self.assertEqual(len(leaf.ends), len(leaf.requests))


class RelayTests(SocketCase):
    async def test_a_long_answer_passes_unchanged(self) -> None:
        content = bytes(range(256)) * 40_000
        upstream, _ = self.listen(lambda _: content)

        def relay(request: Request) -> None:
            async def answer() -> None:
                response = await self.agent.ask(b"GET", upstream, b"/", ())
                sent = await relay_body(response, request, self.reactor, 30.0).result
                self.assertEqual(sent, len(content))
                request.finish()

            Deferred.fromCoroutine(answer()).addErrback(self.fail)

        gateway, _ = self.listen(relay, resource=EarlyRendered)
        response = await self.agent.ask(b"GET", gateway, b"/", ())
        self.assertEqual(await collect_body(response, len(content)), content)

    async def test_a_caller_who_leaves_in_the_middle_closes_the_upstreams_connection(self) -> None:
        def endless(request: Request) -> None:
            request.write(b"x")

        upstream, leaf = self.listen(endless)
        left: Deferred[None] = Deferred()

        def relay(request: Request) -> None:
            async def answer() -> None:
                response = await self.agent.ask(b"GET", upstream, b"/", ())
                await relay_body(response, request, self.reactor, 30.0).result

            answering = Deferred.fromCoroutine(answer())
            request.notifyFinish().addErrback(lambda _: answering.cancel())
            answering.addErrback(lambda reason: reason.trap(CancelledError))
            answering.addCallback(lambda _: left.callback(None))

        gateway, _ = self.listen(relay, resource=EarlyRendered)
        response = await self.agent.ask(b"GET", gateway, b"/", ())
        response.abandon()
        await left
        await self.sites[0].empty()
        self.assertEqual(len(leaf.ends), 1)
