"""Tests of :mod:`gptproxy.check.certificate`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gptproxy.check import Level, check_certificate
from gptproxy.check.finding import Finding
from gptproxy.config import TLSSettings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gpt.example.com")])


def written(
    directory: Path, *, first: int = -10, last: int = 90, named: bool = True
) -> TLSSettings:
    """:return: a certificate's files; its days counted from :data:`NOW`."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + timedelta(days=first))
        .not_valid_after(NOW + timedelta(days=last))
    )
    if named:
        names = x509.SubjectAlternativeName([x509.DNSName("gpt.example.com")])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    settings = TLSSettings(directory / "cert.pem", directory / "key.pem")
    settings.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    settings.private_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return settings


def check(settings: TLSSettings) -> list[Finding]:
    return check_certificate(settings, "gptproxy.toml", NOW)


@pytest.mark.parametrize(
    ("first", "last", "level", "words"),
    [
        (-10, 90, Level.GOOD, "(90 days)"),
        (-10, 13, Level.WARNING, "in 13 days"),
        (-90, -1, Level.ERROR, "expired on 2026-11-21"),
        (1, 90, Level.ERROR, "not valid before 2026-11-23"),
    ],
)
def test_dates(tmp_path: Path, first: int, last: int, level: Level, words: str) -> None:
    """Valid, soon over, over, not begun."""
    dates, names = check(written(tmp_path, first=first, last=last))
    assert dates.level is level
    assert words in dates.message
    assert names.message == "for gpt.example.com"


def test_a_certificate_without_names_is_refused_by_clients(tmp_path: Path) -> None:
    """A common name alone has not counted since 2017."""
    assert check(written(tmp_path, named=False))[1].level is Level.ERROR


def test_key_and_certificate_belong_together(tmp_path: Path) -> None:
    """Another key's certificate is an error that names both."""
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other")
    mine = written(tmp_path)
    (finding,) = check(TLSSettings(mine.certificate, other.private_key))
    assert finding.level is Level.ERROR
    assert "cert.pem" in finding.message


def test_without_files_it_is_a_warning(tmp_path: Path) -> None:
    """A plain port behind a reverse proxy needs none."""
    (finding,) = check(TLSSettings(tmp_path / "cert.pem", tmp_path / "key.pem"))
    assert finding.level is Level.WARNING
