"""
TLS over our transports: what is written is encrypted and sent at once, what is read is asked for once.

May import Twisted and pyOpenSSL, and of gptproxy the connections that are refused and TLS's records. Twisted's own
protocol waits a turn to put small writes together, and asks OpenSSL after each read for more plaintext and for
something to send until both say that there is none, which pyOpenSSL says by exceptions.
"""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Connection, Error, WantReadError, ZeroReturnError
from twisted.internet.interfaces import IAddress
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from gptproxy.http.connection_limit import RefusedConnection
from gptproxy.http.tls_records import MAX_PLAINTEXT_BYTES, RecordCount

__all__ = ["ImmediateTLSFactory"]


class _ImmediateTLS(TLSMemoryBIOProtocol):
    """
    One connection's TLS.

    :param factory: knows the context.
    :param wrapped: what speaks inside of it.
    """

    _handshakeDone: bool
    _lostTLSConnection: bool
    _aborted: bool
    _tlsConnection: Connection

    def __init__(self, factory: ImmediateTLSFactory, wrapped: Any) -> None:
        super().__init__(factory, wrapped)  # type: ignore[no-untyped-call]  # Twisted says no types
        self._records = RecordCount()
        self._expected = (
            0  # records of this read, where it is whole ones; 0: read until there is no more
        )

    def dataReceived(self, data: bytes) -> None:
        """
        :param data: the connection's next bytes.
        """
        # During the handshake a read may hold the last of its records besides those of the application.
        records = self._records.whole(data)
        self._expected = records if self._handshakeDone else 0
        super().dataReceived(data)  # type: ignore[no-untyped-call]  # as above

    def _flushReceiveBIO(self) -> None:
        # Twisted's, but that it ends when every record that has come has given its plaintext: then there is nothing
        # more to read, and nothing was received that would have to be answered.
        twisted: Any = self  # whose methods have no types
        expected = self._expected
        while not self._lostTLSConnection:
            try:
                plaintext = self._tlsConnection.recv(MAX_PLAINTEXT_BYTES)
            except WantReadError:
                break
            except ZeroReturnError:
                twisted._shutdownTLS()
                twisted._tlsShutdownFinished(None)
            except Error:
                twisted._tlsShutdownFinished(Failure())
            else:
                if not self._aborted:
                    self.wrappedProtocol.dataReceived(plaintext)
                expected -= 1
                if not expected:
                    return
        twisted._flushSendBIO()


class ImmediateTLSFactory(TLSMemoryBIOFactory):
    """TLS whose writes are encrypted at once: Twisted's own waits a turn to put small ones together."""

    protocol = _ImmediateTLS

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        :param addr: the client's.
        :return: TLS around what is served; what refuses the connection as it is, so that no TLS is begun for it.
        """
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return wrapped if isinstance(wrapped, RefusedConnection) else self.protocol(self, wrapped)
