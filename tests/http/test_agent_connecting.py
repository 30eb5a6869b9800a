"""Connections that cannot be had, and who gives up while they are made."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
)
from twisted.internet.ssl import optionsForClientTLS

from gptproxy.http import (
    BytesBody,
    ConnectFailed,
    Origin,
    Response,
)
from gptproxy.http.agent import MAX_TLS_SETTINGS
from tests.http.network import ORIGIN, SECURE, AgentCase, no_trust


class ConnectingTests(AgentCase):
    def failed(self, asked: Deferred[Response], cause: type[BaseException]) -> ConnectFailed:
        error = self.failureResultOf(asked, ConnectFailed).value
        assert isinstance(error, ConnectFailed)
        self.assertIsInstance(error.cause.value, cause)
        self.assertIn(cause.__name__, str(error))
        self.assertIn("h.example", str(error))
        return error

    def test_a_refused_connection_is_connect_failed(self) -> None:
        asked = self.ask()
        self.network.refuse()
        self.network.advance(1)
        self.assertEqual(self.failed(asked, Refused).origin, ORIGIN)

    def test_an_unknown_name_is_connect_failed(self) -> None:
        self.network.known = False
        self.failed(self.ask(), DNSLookupError)

    def test_a_connection_that_takes_too_long_is_connect_failed(self) -> None:
        asked = self.ask()
        self.network.advance(5)
        self.failed(asked, TimedOut)

    def test_a_caller_who_gives_up_while_connecting_is_no_failure_of_the_servers(self) -> None:
        """Else a retry loop would go on for nobody."""
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.network.getDelayedCalls(), [])

    def test_a_caller_who_gives_up_while_waiting_drops_the_connection(self) -> None:
        asked = self.ask()
        transport = self.network.accept()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        transport.settle()
        self.assertTrue(transport.aborted)


class HandshakeTests(AgentCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked_for: list[str] = []
        self.agent = self.made_with(self.trust)

    def trust(self, host: str) -> IOpenSSLClientConnectionCreator:
        self.asked_for.append(host)
        creator: IOpenSSLClientConnectionCreator = optionsForClientTLS(host)
        return creator

    def test_nothing_is_sent_before_the_handshake_is_done_and_its_time_is_bounded(self) -> None:
        asked = self.ask(BytesBody(b"secret"), origin=SECURE)
        transport = self.network.accept()
        hello = transport.take()
        self.assertNotIn(b"secret", hello)
        self.assertTrue(hello.startswith(b"\x16\x03"))
        self.network.advance(5)
        error = self.failureResultOf(asked, ConnectFailed).value
        self.assertIsInstance(error.cause.value, TimedOut)
        transport.settle()
        self.assertTrue(transport.aborted)

    def test_a_caller_who_gives_up_in_a_handshake_drops_the_connection(self) -> None:
        asked = self.ask(origin=SECURE)
        transport = self.network.accept()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        transport.settle()
        self.assertTrue(transport.aborted)

    def test_a_server_without_tls_is_connect_failed(self) -> None:
        asked = self.ask(origin=SECURE)
        self.network.accept().deliver(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.failureResultOf(asked, ConnectFailed)

    def test_tls_settings_are_made_once_for_each_host_up_to_a_bound(self) -> None:
        hosts = [f"h{number}.example" for number in range(MAX_TLS_SETTINGS + 1)]
        for host in [*hosts, hosts[-1], hosts[0]]:
            asked = self.ask(origin=Origin(True, host, 443))
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.asked_for, [*hosts, hosts[0]])

    def test_settings_that_cannot_be_made_are_connect_failed(self) -> None:
        self.agent = self.made_with(no_trust)
        self.failureResultOf(self.ask(origin=SECURE), ConnectFailed)
