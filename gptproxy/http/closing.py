"""
Closing a connection so that the peer gets the last bytes, and within a bound of time whatever it does.

May import Twisted and this room's interfaces.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport

from gptproxy.http.interfaces import IConnection

__all__ = ["ABORT_SECONDS", "LINGER_SECONDS", "Closing"]

LINGER_SECONDS = 2.0
"""How long a closed connection's remaining input is thrown away: closing with unread input resets a TCP connection, and
the reset may overtake the answer (RFC 9112 9.6)."""

ABORT_SECONDS = 60.0
"""How long a closing connection has to take its last bytes. The kernel may hold megabytes of an answer, which an abort
throws away; Twisted's own 15 s would cut an honest client of one megabit per second short."""


class Closing:
    """
    The orderly end of one connection. It starts at once.

    :param transport: the connection; whoever reads from it throws away what still comes.
    :param clock: for the bounds.
    """

    def __init__(self, transport: IConnection, clock: IReactorTime) -> None:
        self._transport = transport
        self._clock = clock
        if ISSLTransport.providedBy(transport):
            # The close alert goes out, and the connection waits for the peer's: it lingers by itself.
            transport.loseConnection()
            self._timer: IDelayedCall = clock.callLater(ABORT_SECONDS, self._abort)
        else:
            transport.loseWriteConnection()
            self._timer = clock.callLater(LINGER_SECONDS, self._lose)

    def lost(self) -> None:
        """The connection is gone: nothing is left to be bound."""
        if self._timer.active():
            self._timer.cancel()

    def _lose(self) -> None:
        self._transport.loseConnection()
        self._timer = self._clock.callLater(ABORT_SECONDS, self._abort)

    def _abort(self) -> None:
        self._transport.abortConnection()
