"""
Certificates for the tests, made where they are used: an authority, and what it or nobody signs.

May import cryptography, pyOpenSSL and Twisted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509
from twisted.internet.ssl import Certificate, CertificateOptions

__all__ = ["Authority", "server_options"]


class Authority:
    """Signs certificates."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("authority")
        self._certificate = _certificate("authority", self._key, self._name, self._key, ca=True)

    @property
    def certificate(self) -> Certificate:
        """What a client trusts."""
        return Certificate(X509.from_cryptography(self._certificate))

    def server_options(self, host: str, *, days: int = 1) -> CertificateOptions:
        """
        :param host: whom the certificate is for.
        :param days: until it expires; negative: it has.
        :return: for a server.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        return _options(key, _certificate(host, key, self._name, self._key, days=days))


def server_options(host: str) -> CertificateOptions:
    """
    :param host: whom the certificate is for, which nobody has signed but itself.
    :return: for a server.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    return _options(key, _certificate(host, key, _named(host), key))


def _options(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> CertificateOptions:
    # Not in pyOpenSSL's own classes, which it deprecates here.
    return CertificateOptions(privateKey=key, certificate=certificate)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    host: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    days: int = 1,
    ca: bool = False,
) -> x509.Certificate:
    end = datetime.now(UTC) + timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(host))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        # Python 3.13 verifies strictly: without these two a chain is none.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
        .sign(issuer_key, SHA256())
    )
