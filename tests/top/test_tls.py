"""What the daemon serves with."""

from __future__ import annotations

import ssl
import warnings

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.config import ConfigurationError, TLSSettings
from gptproxy.tls import client_trust, server_certificate
from tests.http.memory import MemoryTransport
from tests.top.rig import Certified, folder_of

AUTHORITY = Certified("authority.test", signs=True)
LEAF = Certified("leaf.test", AUTHORITY)


class ServerCertificateTests(SynchronousTestCase):
    """Loaded from files, and seen by a client of OpenSSL's own."""

    def setUp(self) -> None:
        self.folder = folder_of(self)

    def files(self, certificate: bytes | None, key: bytes | None) -> TLSSettings:
        settings = TLSSettings(self.folder / "cert.pem", self.folder / "key.pem")
        for path, content in ((settings.certificate, certificate), (settings.private_key, key)):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        return settings

    def problem(self, certificate: bytes | None, key: bytes | None) -> str:
        with self.assertRaises(ConfigurationError) as caught:
            server_certificate(self.files(certificate, key), "g.toml")
        text = str(caught.exception)
        self.assertEqual(text.count("\n"), 0)
        self.assertTrue(text.startswith("g.toml: tls"), text)
        return text

    def shake_hands(self, settings: TLSSettings, context: ssl.SSLContext) -> ssl.SSLObject:
        """:return: a client's end of a connection to what serves with these files."""
        options = server_certificate(settings, "g.toml")
        factory = TLSMemoryBIOFactory(options, False, Factory.forProtocol(Protocol), Clock())
        transport = MemoryTransport()
        transport.connect(factory.buildProtocol(None))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="leaf.test")
        while True:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                transport.deliver(outgoing.read())
                answer = transport.take()
                self.assertTrue(answer)
                incoming.write(answer)
            else:
                return client

    def trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=AUTHORITY.pem.decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def test_the_chain_is_sent(self) -> None:
        """A client that knows the root alone trusts the leaf through what is between; HTTP/1.1 is agreed on."""
        middle = Certified("between.test", AUTHORITY, signs=True)
        leaf = Certified("leaf.test", middle)
        connection = self.shake_hands(
            self.files(b"text before\n" + leaf.pem + middle.pem, leaf.key_pem()), self.trusting()
        )
        self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")
        self.assertIn(connection.version(), ("TLSv1.2", "TLSv1.3"))

    def test_without_the_chain(self) -> None:
        """The same client does not trust it: the chain is what made it."""
        middle = Certified("between.test", AUTHORITY, signs=True)
        leaf = Certified("leaf.test", middle)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.shake_hands(self.files(leaf.pem, leaf.key_pem()), self.trusting())

    def test_versions(self) -> None:
        """TLS 1.1 is refused, 1.2 taken with forward secrecy and authenticated encryption."""
        settings = self.files(LEAF.pem, LEAF.key_pem())
        old = self.trusting()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with self.assertRaises(ssl.SSLError):
            self.shake_hands(settings, old)
        current = self.trusting()
        current.maximum_version = ssl.TLSVersion.TLSv1_2
        name, version, _ = self.shake_hands(settings, current).cipher()
        self.assertEqual(version, "TLSv1.2")
        self.assertRegex(name, "^ECDHE-.*(GCM|CHACHA20)")
        weak = self.trusting()
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("ECDHE-ECDSA-AES256-SHA")
        with self.assertRaises(ssl.SSLError):
            self.shake_hands(settings, weak)

    def test_missing_files(self) -> None:
        """Are named, with the key that names them."""
        text = self.problem(None, LEAF.key_pem())
        self.assertIn(f"tls.certificate: cannot read {self.folder}/cert.pem: No such file", text)
        text = self.problem(LEAF.pem, None)
        self.assertIn(f"tls.private_key: cannot read {self.folder}/key.pem: No such file", text)

    def test_files_that_are_something_else(self) -> None:
        """Both are named; nobody is asked for a passphrase, and nothing of a key is told."""
        block = b"-----BEGIN CERTIFICATE-----\n%b\n-----END CERTIFICATE-----\n"
        for certificate, key in [
            (b"", LEAF.key_pem()),
            (b"\xff" * 99, LEAF.key_pem()),
            (block % b"AAAA", LEAF.key_pem()),
            (LEAF.pem + block % b"!!!!", LEAF.key_pem()),
            (LEAF.pem, b""),
            (LEAF.pem, b"garbage"),
            (LEAF.pem, LEAF.pem),
            (LEAF.pem, AUTHORITY.key_pem()),
            (LEAF.pem, LEAF.key_pem(b"secret")),
        ]:
            with self.subTest(certificate=certificate[-40:], key=key[:40]):
                text = self.problem(certificate, key)
                self.assertIn("are not a PEM certificate and its unencrypted key", text)
                self.assertIn(f"{self.folder}/key.pem", text)

    def test_client_trust(self) -> None:
        """A creator for a host's name, or for an address."""
        for host in ("git.corp.com", "127.0.0.1"):
            self.assertTrue(IOpenSSLClientConnectionCreator.providedBy(client_trust(host)))
