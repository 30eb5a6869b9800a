"""
The certificate that the daemon serves with: its dates, its names, its key.

May import the config room, the module that loads it, and Twisted (by that).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from gptproxy.check.files import is_missing
from gptproxy.check.finding import Finding, Level
from gptproxy.config import ConfigurationError, TLSSettings
from gptproxy.tls import server_certificate

__all__ = ["check_certificate"]

SOON: Final = timedelta(days=14)
"""Renewal by ACME comes 30 days before the end: with two weeks left it has failed."""


def check_certificate(settings: TLSSettings, source: str, now: datetime) -> list[Finding]:
    """
    :param settings: the files.
    :param source: where they were named.
    :param now: with its time zone.
    :return: what there is to say of them.
    """
    subject = str(settings.certificate)
    if is_missing(settings.certificate) and is_missing(settings.private_key):
        return [Finding(Level.WARNING, subject, "not there; --port ssl:443 needs it ([tls])")]
    try:
        server_certificate(settings, source)
        leaf = x509.load_pem_x509_certificates(settings.certificate.read_bytes())[0]
    except ConfigurationError as error:
        return [Finding(Level.ERROR, problem.key, problem.message) for problem in error.problems]
    return [_dates(subject, leaf, now), _names(subject, leaf)]


def _dates(subject: str, leaf: x509.Certificate, now: datetime) -> Finding:
    first, last = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now < first:
        return Finding(Level.ERROR, subject, f"not valid before {first:%Y-%m-%d}: see to the clock")
    if now >= last:
        return Finding(Level.ERROR, subject, f"expired on {last:%Y-%m-%d}: renew it")
    days = (last - now).days
    if last - now < SOON:
        return Finding(
            Level.WARNING, subject, f"expires on {last:%Y-%m-%d}, in {days} days: renew it"
        )
    return Finding(Level.GOOD, subject, f"valid until {last:%Y-%m-%d} ({days} days)")


def _names(subject: str, leaf: x509.Certificate) -> Finding:
    try:
        alternatives = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Finding(
            Level.ERROR, subject, "names no host (subjectAltName): clients refuse it; make another"
        )
    names = [
        *alternatives.get_values_for_type(x509.DNSName),
        *map(str, alternatives.get_values_for_type(x509.IPAddress)),
    ]
    return Finding(Level.GOOD, subject, f"for {', '.join(names)}")
