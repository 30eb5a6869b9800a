"""Ports, from endpoint strings to services that listen."""

from __future__ import annotations

import os
from unittest import mock

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial import util
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from gptproxy.config import ConfigurationError, Problem, TLSSettings
from gptproxy.listening import CannotListen, ListeningService, UnusableEndpoint, listening_service
from gptproxy.tls import server_certificate
from tests.top.rig import Certified, folder_of, printed


@implementer(IStreamServerEndpoint)
class Taken:
    """A port in use."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error or CannotListenError("", 443, OSError(98, "Address already in use"))
        self.port: Deferred[object] = Deferred()

    def listen(self, protocolFactory: Factory) -> Deferred[object]:
        self.port.errback(self._error)
        return self.port


class EndpointTests(SynchronousTestCase):
    """By what ``--port`` says, on a reactor in memory."""

    def setUp(self) -> None:
        self.folder = folder_of(self)
        self.reactor = MemoryReactorClock()
        self.factory = Factory.forProtocol(Protocol)
        leaf = Certified("leaf.test")
        (self.folder / "c.pem").write_bytes(leaf.pem)
        (self.folder / "k.pem").write_bytes(leaf.key_pem())
        self.loaded = 0

    def certificate(self):
        self.loaded += 1
        return server_certificate(
            TLSSettings(self.folder / "c.pem", self.folder / "k.pem"), "g.toml"
        )

    def service(self, description: str) -> ListeningService:
        service = listening_service(description, self.reactor, self.factory, self.certificate, None)
        verifyObject(IService, service)
        return service

    def test_tcp(self) -> None:
        """Listens plainly, once, and closes again."""
        service = self.service("tcp:8480:interface=127.0.0.1")
        service.privilegedStartService()
        service.startService()
        ((port, factory, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (8480, "127.0.0.1"))
        self.assertIs(factory, self.factory)
        self.assertEqual(self.loaded, 0)
        self.successResultOf(service.stopService())
        self.successResultOf(service.stopService())

    def test_ssl_with_the_configured_certificate(self) -> None:
        """TLS over tcp, with whatever else the string says."""
        service = self.service("ssl:8443:interface=127.0.0.1:backlog=7")
        service.startService()
        ((port, factory, backlog, interface),) = self.reactor.tcpServers
        self.assertEqual((port, backlog, interface), (8443, 7, "127.0.0.1"))
        self.assertIsInstance(factory, TLSMemoryBIOFactory)
        self.assertIs(factory.wrappedFactory, self.factory)
        self.assertEqual(self.loaded, 1)

    def test_ssl_with_a_key_of_its_own(self) -> None:
        """Is Twisted's affair."""
        files = f"privateKey={self.folder}/k.pem:certKey={self.folder}/c.pem"
        service = self.service(f"ssl:8443:{files}")
        service.startService()
        self.assertEqual([server[0] for server in self.reactor.sslServers], [8443])
        self.assertEqual(self.loaded, 0)

    # Twisted's own way of loading files, with pyOpenSSL's wrappers.
    test_ssl_with_a_key_of_its_own.suppress = [  # type: ignore[attr-defined]  # trial reads it
        util.suppress(category=DeprecationWarning)
    ]

    def test_unix(self) -> None:
        """Any other endpoint works as Twisted has it."""
        service = self.service(f"unix:{self.folder}/socket")
        self.assertIsInstance(service._endpoint, UNIXServerEndpoint)
        service.startService()
        self.assertEqual(self.reactor.unixServers[0][0], f"{self.folder}/socket")

    def test_what_cannot_be_understood(self) -> None:
        """Is told in one line that has the string."""
        for description in (
            "",
            "ssl",
            "ssl:",
            "ssl:x",
            "ssl:443:nonsense=1",
            "ssl:443:certKey=c.pem",
            "tcp:http-nonsense",
            "nonsense:1",
            "443",
            ":::",
            f"ssl:443:privateKey={self.folder}/none.pem",
            f"ssl:443:privateKey={self.folder}/k.pem:certKey={self.folder}/none.pem",
            f"ssl:443:privateKey={self.folder}/c.pem:certKey={self.folder}/c.pem",
        ):
            with self.subTest(description):
                with self.assertRaises(UnusableEndpoint) as caught:
                    self.service(description)
                text = str(caught.exception)
                self.assertTrue(text.startswith(f"--port {description}: not a usable"), text)
                self.assertEqual(text.count("\n"), 0)
                self.assertFalse(text.endswith(": "), text)
                if "none.pem" in description:
                    self.assertIn(f"No such file or directory: {self.folder}/none.pem", text)

    def test_a_certificate_that_cannot_be_had(self) -> None:
        """Is the configuration's fault."""

        def missing() -> None:
            raise ConfigurationError([Problem("g.toml", "tls", "gone")])

        with self.assertRaises(ConfigurationError):
            listening_service("ssl:443", self.reactor, self.factory, missing, None)


class TakenTests(SynchronousTestCase):
    """A port that cannot be had ends the daemon."""

    def setUp(self) -> None:
        self.pid_file = folder_of(self) / "twistd.pid"
        self.pid_file.write_text(f"{os.getpid()}\n")

    def start(self, endpoint: Taken, *, foreground: bool = True) -> str:
        service = ListeningService(
            "ssl:443", endpoint, Factory(), str(self.pid_file), foreground=foreground
        )
        expected = SystemExit if foreground else CannotListen
        with (
            printed() as (out, err),
            mock.patch("sys.__stderr__", err),
            self.assertRaises(expected) as caught,
        ):
            service.startService()
        self.assertEqual(out.getvalue(), "")
        self.successResultOf(service.stopService())
        if foreground:
            self.assertEqual(caught.exception.code, 1)
            return err.getvalue()
        self.assertEqual(err.getvalue(), "")
        return str(caught.exception)

    def test_in_the_foreground(self) -> None:
        """One line, status 1, and no pid file, which twistd would leave."""
        text = self.start(Taken())
        self.assertEqual(text, "gptproxy: cannot listen on ssl:443: Address already in use\n")
        self.assertFalse(self.pid_file.exists())

    def test_in_the_background(self) -> None:
        """An exception, which is what the process that waits there is told; twistd removes the pid file then."""
        text = self.start(Taken(), foreground=False)
        self.assertEqual(text, "ssl:443: Address already in use")
        self.assertTrue(self.pid_file.exists())

    def test_other_reasons(self) -> None:
        """Are told in one line too."""
        self.assertIn(
            "443: Permission denied\n", self.start(Taken(PermissionError(13, "Permission denied")))
        )
        self.assertIn("443: odd words\n", self.start(Taken(RuntimeError("odd\n words"))))
        self.assertIn("443: RuntimeError\n", self.start(Taken(RuntimeError())))

    def test_another_process_pid_file(self) -> None:
        """Is left alone; so is one that is none."""
        for content in (f"{os.getpid() + 1}\n", "\xff", ""):
            self.pid_file.write_text(content)
            self.start(Taken())
            self.assertEqual(self.pid_file.read_text(), content)
        self.pid_file.unlink()
        self.start(Taken())

    def test_without_a_standard_error(self) -> None:
        """There is the log, and the status."""
        service = ListeningService("ssl:443", Taken(), Factory(), None)
        with mock.patch("sys.__stderr__", None), self.assertRaises(SystemExit):
            service.startService()
