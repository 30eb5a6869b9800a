"""
TLS at both doors: what the daemon serves with, and whom it trusts.

May import the config room and Twisted.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, optionsForClientTLS

from gptproxy.config import ConfigurationError, Problem, TLSSettings
from gptproxy.config.file_reading import read_file

__all__ = ["client_trust", "server_certificate"]

# Forward secrecy and authenticated encryption only; TLS 1.3 has its own, which OpenSSL always offers.
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20")
_HTTP_1_1 = [b"http/1.1"]

_LONGEST_BYTES = 1_048_576
"""Of a certificate and its chain, or of a key; they have a few KiB."""


def server_certificate(settings: TLSSettings, source: str) -> CertificateOptions:
    """
    Load what the daemon serves with. Twisted's own endpoint would send the first certificate of the file only, without
    its chain.

    :param settings: the files.
    :param source: where they were named, for messages.
    :return: the context factory: TLS 1.2 and 1.3, HTTP/1.1 by ALPN.
    :raise ConfigurationError: a file is missing or is not what it should be, or the two do not belong together.
    """
    certificate_text = _read(settings.certificate, "tls.certificate", source)
    key_text = _read(settings.private_key, "tls.private_key", source)
    try:
        # cryptography's own objects: pyOpenSSL deprecates its wrappers around them. Without a password an encrypted key
        # is an error, and not a question at a terminal.
        leaf, *chain = load_pem_x509_certificates(certificate_text)
        options = CertificateOptions(
            privateKey=load_pem_private_key(key_text, password=None),  # type: ignore[arg-type]  # as certificate
            certificate=leaf,  # type: ignore[arg-type]  # typed for the wrappers; it goes to pyOpenSSL, which takes both
            extraCertChain=chain or None,  # type: ignore[arg-type]  # as certificate
            acceptableCiphers=_CIPHERS,
            acceptableProtocols=_HTTP_1_1,
        )
        options.getContext()
    except (SSL.Error, UnsupportedAlgorithm, ValueError, TypeError) as error:
        raise _problem(
            source,
            "tls",
            f"{settings.certificate} and {settings.private_key} are not a PEM certificate and its unencrypted key",
        ) from error
    return options


def client_trust(host: str) -> IOpenSSLClientConnectionCreator:
    """
    :param host: the name or address that the server must prove.
    :return: a TLS client that trusts what the machine trusts (OpenSSL's store, or ``SSL_CERT_FILE``), and nothing else.
    """
    return optionsForClientTLS(host, acceptableProtocols=_HTTP_1_1)


def _read(path: Path, key: str, source: str) -> bytes:
    try:
        return read_file(path, _LONGEST_BYTES)
    except OSError as error:
        raise _problem(source, key, f"cannot read {path}: {error.strerror}") from error


def _problem(source: str, key: str, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(source, key, message)])
