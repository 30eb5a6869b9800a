"""The daemon put together, on a reactor in memory."""

from __future__ import annotations

import re
import resource
from unittest import mock

import orjson
from twisted.application.service import IService
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gptproxy import stored_objects
from gptproxy.api import ROUTES
from gptproxy.config import ConfigurationError, Settings, settings_from
from gptproxy.daemon import daemon
from gptproxy.http import Site
from tests.api.rig import AtOnce
from tests.http.memory import MemoryTransport
from tests.http.serving import read_answer
from tests.top.rig import folder_of

DOCUMENT = {
    "upstream": [
        {
            "name": "local",
            "kind": "openai",
            "url": "http://127.0.0.1:9001/v1",
            "api_key": "sk-upstream",
            "deployments": {"gpt-4": "llama", "text-embedding-ada-002": "nomic"},
        }
    ],
    "user_token": [{"user_id": "user1", "token": "sk-user-token-0123456789"}],
    "knowledge": {"database": "knowledge.db"},
    "topic": [{"words": ["fibjs"], "documents": "fibjs", "prompt": "Be brief."}],
}
BODY = orjson.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "hello"}]})


TOKEN = "sk-user-token-0123456789"


def request(route: str, body: bytes = BODY, token: str = TOKEN) -> bytes:
    """:return: as a client sends it."""
    head = f"POST {route} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\ncontent-length: {len(body)}"
    return f"{head}\r\n\r\n".encode() + body


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class Reactor(MemoryReactorClock):
    """One that takes every name for an address."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = self

    def installNameResolver(self, resolver: object) -> None:
        """Nobody does."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: object = None,
        transportSemantics: str = "TCP",
    ) -> None:
        resolutionReceiver.resolutionBegan(None)
        resolutionReceiver.addressResolved(IPv4Address("TCP", hostName, portNumber))
        resolutionReceiver.resolutionComplete()


class DaemonTests(SynchronousTestCase):
    """Composed of every room."""

    def setUp(self) -> None:
        self.patch(stored_objects, "BoundedThreads", lambda *_: AtOnce())
        self.folder = folder_of(self)
        self.reactor = Reactor()

    def settings(self, **changes: object) -> Settings:
        document = {k: v for k, v in {**DOCUMENT, **changes}.items() if v is not None}
        return settings_from(document, source="g.toml", directory=self.folder, environ={})

    def start(self, settings: Settings, *ports: str) -> IService:
        service = daemon(settings, ports or ("tcp:8480",), self.reactor, None)
        service.privilegedStartService()
        service.startService()
        # A test that fails must not leave threads that keep the run from ending.
        self.addCleanup(lambda: service.running and service.stopService())
        return service

    def stop(self, service: IService) -> None:
        """And see that nothing is left."""
        self.successResultOf(service.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def connect(self) -> MemoryTransport:
        (_, factory, _, _) = self.reactor.tcpServers[0]
        transport = MemoryTransport()
        transport.connect(factory.buildProtocol(None))
        return transport

    def upstream(self) -> MemoryTransport:
        """:return: the upstream's end of the only connection that was made."""
        ((host, port, factory, _, _),) = self.reactor.tcpClients
        self.assertEqual((host, port), ("127.0.0.1", 9001))
        transport = MemoryTransport()
        transport.connect(factory.buildProtocol(None))
        return transport

    def test_a_call_from_end_to_end(self) -> None:
        """The organisation's key goes up in the caller's place, the model by its name there; the answer comes down."""
        service = self.start(self.settings(topic=None))
        client = self.connect()
        client.deliver(request("/v1/chat/completions"))
        upstream = self.upstream()
        sent = upstream.take()
        self.assertTrue(sent.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n"))
        self.assertIn(b"\r\nauthorization: Bearer sk-upstream\r\n", sent)
        self.assertNotIn(b"sk-user-token", sent)
        self.assertTrue(sent.endswith(BODY.replace(b'"gpt-4"', b'"llama"')))
        upstream.deliver(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
        )
        client.settle()
        answer, rest = read_answer(client.take(), b"POST", closed=False)
        self.assertEqual((answer.status, answer.body, rest), (200, b"{}", b""))
        self.assertEqual(answer.headers[b"x-gptproxy-upstream"], b"local")
        # The upstream's connection is kept for the next call; stopping drops it.
        self.assertIsNone(upstream.lost)
        client.leave()
        self.successResultOf(service.stopService())
        upstream.settle()
        self.assertIsNotNone(upstream.lost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_every_route_is_there(self) -> None:
        """All models' routes ask for a caller, and an unknown one is refused."""
        service = self.start(self.settings())
        for route in ROUTES:
            if all(each.method != b"POST" or each.refused for each in route.operations):
                continue
            client = self.connect()
            client.deliver(request(re.sub("[{}]", "", route.path), token="sk-nobody"))
            answer, _ = read_answer(client.take(), b"POST", closed=False)
            self.assertEqual(answer.status, 401)
            client.leave()
        client = self.connect()
        client.deliver(
            b"GET /v1/models HTTP/1.1\r\nhost: h\r\nauthorization: Bearer sk-user-token-0123456789\r\n\r\n"
        )
        answer, _ = read_answer(client.take(), b"GET", closed=False)
        self.assertEqual(
            [model["id"] for model in orjson.loads(answer.body)["data"]],
            ["gpt-4", "text-embedding-ada-002"],
        )
        client.deliver(b"bad\r\n\r\n")
        answer, _ = read_answer(client.take(), b"GET", closed=True)
        self.assertEqual(
            (answer.status, answer.headers[b"content-type"]), (400, b"application/json")
        )
        client.leave()
        self.stop(service)

    def test_topics_are_for_chats(self) -> None:
        """A chat without a database goes up with the prompt; another route's body goes as it came."""
        service = self.start(self.settings())
        body = BODY.replace(b"hello", b"fibjs")
        client = self.connect()
        client.deliver(request("/v1/completions", body))
        self.assertNotIn(b"Be brief.", self.upstream().take())
        client.leave()
        self.stop(service)

    def test_gitlab_is_asked(self) -> None:
        """Where there is one, about tokens that the operator did not give out."""
        service = self.start(self.settings(gitlab={"url": "http://127.0.0.1:9001"}))
        client = self.connect()
        client.deliver(request("/v1/chat/completions", token="glpat-0123456789"))
        sent = self.upstream().take()
        self.assertTrue(sent.startswith(b"GET /api/v4/user HTTP/1.1\r\n"), sent)
        client.leave()
        self.stop(service)

    def test_the_settings_reach_the_site(self) -> None:
        """Its bounds are the operator's."""
        service = self.start(
            self.settings(
                limits={"header_bytes": 4096},
                timeouts={"header_seconds": 7, "keep_alive_idle_seconds": 8},
            )
        )
        (_, site, _, _) = self.reactor.tcpServers[0]
        assert isinstance(site, Site)
        self.assertEqual(site.header_limit_bytes, 4096)
        self.assertEqual((site.timeouts.header, site.timeouts.keep_alive_idle), (7, 8))
        self.stop(service)

    def limited(
        self, open_files: int, *, hard: int | None = None, **limits: int
    ) -> tuple[tuple[int, int], list[str]]:
        """:return: the site's bounds on connections, and what the log says of them."""
        pair = (open_files, open_files if hard is None else hard)
        with (
            mock.patch("resource.getrlimit", return_value=pair),
            mock.patch("resource.setrlimit") as self.setrlimit,
            capturedLogs() as events,
        ):
            service = self.start(self.settings(limits=limits))
        (_, site, _, _) = self.reactor.tcpServers[-1]
        assert isinstance(site, Site)
        self.stop(service)
        told = [formatEvent(event) for event in events]
        found = site.connection_limit
        return (found.connections, found.per_address), [t for t in told if "[limits]" in t]

    def test_connections_that_fit(self) -> None:
        """Are the operator's or the default, and nothing is said of them."""
        self.assertEqual(self.limited(20_002), ((10_000, 1_000), []))
        self.setrlimit.assert_not_called()
        self.assertEqual(
            self.limited(100, connections=49, connections_per_address=7), ((49, 7), [])
        )
        unbounded = resource.RLIM_INFINITY
        self.assertEqual(self.limited(unbounded, connections=1_000_000)[0], (1_000_000, 1_000))

    def test_a_soft_limit(self) -> None:
        """Is raised as far as is wanted and the hard one lets it."""
        for hard, raised, connections in [
            (resource.RLIM_INFINITY, 20_002, 10_000),
            (65_536, 20_002, 10_000),
            (4096, 4096, 2047),
        ]:
            with self.subTest(hard):
                self.assertEqual(self.limited(1024, hard=hard)[0], (connections, 1_000))
                self.setrlimit.assert_called_once_with(resource.RLIMIT_NOFILE, (raised, hard))

    def test_connections_that_do_not_fit(self) -> None:
        """Stay below half of the files that may be open; one line says so."""
        bounds, told = self.limited(1024)
        self.assertEqual(bounds, (511, 1_000))
        (line,) = told
        self.assertIn("connections = 10000 does not fit", line)
        self.assertIn("1024 files", line)
        self.assertIn("511 clients", line)

    def test_several_ports(self) -> None:
        """All are listened on; the certificate is loaded where one wants it."""
        self.stop(self.start(self.settings(), "tcp:1", "tcp:2:interface=127.0.0.1"))
        self.assertEqual([server[0] for server in self.reactor.tcpServers], [1, 2])
        with self.assertRaises(ConfigurationError) as caught:
            daemon(self.settings(), ("tcp:1", "ssl:443"), self.reactor, None)
        self.assertIn(str(self.folder / "cert.pem"), str(caught.exception))

    def test_an_embedding_model_that_no_upstream_has(self) -> None:
        """Is one line about the configuration, at the start and not in a chat."""
        knowledge = {"database": "knowledge.db", "embedding_model": "ada-9"}
        with self.assertRaises(ConfigurationError) as caught:
            daemon(self.settings(knowledge=knowledge), ("tcp:1",), self.reactor, None)
        text = str(caught.exception)
        self.assertTrue(text.startswith("g.toml: knowledge.embedding_model: "), text)
        self.assertIn("ada-9", text)
        self.assertEqual(text.count("\n"), 0)
