"""
A certificate that can be replaced while the daemon listens with it.

May import Twisted; nothing of gptproxy.
"""

from __future__ import annotations

from collections.abc import Callable

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.ssl import CertificateOptions
from zope.interface import implementer

__all__ = ["RenewableCertificate"]


@implementer(IOpenSSLContextFactory)
class RenewableCertificate:
    """
    What new connections begin TLS with; those that run keep what they began with.

    :param load: reads the files; raises where they cannot be used.
    """

    def __init__(self, load: Callable[[], CertificateOptions]) -> None:
        self._load = load
        self._options = load()

    def getContext(self) -> SSL.Context:
        """:return: the present certificate's."""
        context: SSL.Context = self._options.getContext()
        return context

    def renew(self, options: CertificateOptions | None = None) -> None:
        """
        Begin new connections with another certificate.

        :param options: what was loaded already; None: the files are read again, and what ``load`` raises leaves
            everything as it was.
        """
        self._options = options or self._load()
