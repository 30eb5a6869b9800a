"""Files and processes for the tests of the top modules."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import TestCase

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
SECONDS = 180
"""Nothing takes so long unless it hangs."""


def folder_of(test: TestCase) -> Path:
    """:return: an empty folder that goes with the test."""
    folder = tempfile.TemporaryDirectory(prefix="gptproxy-test-")
    test.addCleanup(folder.cleanup)
    return Path(folder.name)


def environment(**more: str) -> dict[str, str]:
    """:return: that of a process that finds this gptproxy and no configuration."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PrimaryApiKey", "SecondaryApiKey", "UserTokens")
    }
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **more}


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """:return: what a Python process did, given no input."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def twistd(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """:return: what twistd did."""
    return python("-c", TWISTD, *arguments, cwd=cwd)


@contextlib.contextmanager
def printed() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """What is written to standard output and standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err


class Certified:
    """A key and its certificate, signed by itself or by another."""

    def __init__(self, name: str, issuer: Certified | None = None, *, signs: bool = False) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by = issuer or self
        now = dt.datetime.now(dt.UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(by.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=signs, path_length=None), critical=True)
            # Python 3.13 verifies strictly: without these a chain is none, and who signs has to say that it may.
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=signs,
                    crl_sign=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .sign(by.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        """:return: the key, encrypted where there is a passphrase."""
        encryption = (
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption()
        )
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
