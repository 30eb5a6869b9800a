"""
Our connections' sockets watched together: one epoll set of their own, which the reactor watches as one descriptor.

May import Twisted; nothing of gptproxy. Between an event and ``doRead`` Twisted's reactor makes some twenty calls (a
log context is pushed, the descriptor asked for its prefix and its number), which for a relayed call, with two reads,
was a sixth of everything. Here an event is one call; the reactor is told by the set (``epoll(7)``: a set can be
watched by another) that there are any. Where there is no epoll, connections are watched by the reactor as ever.
"""

from __future__ import annotations

import select
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Watched", "WatchedSockets", "sockets_watched_by"]

ROUNDS = 4
"""How often what has become ready meanwhile is served before the reactor's timers have their turn."""

_DONE = Failure(CONNECTION_DONE)
_LOST = Failure(CONNECTION_LOST)


class Watched(Protocol):
    """What is watched: a connection's transport as the reactor knows it."""

    def fileno(self) -> int:
        """:return: the socket's number; -1 when it is closed."""
        ...  # pragma: no cover - a protocol's method has no body to run

    def doRead(self) -> object:
        """:return: None; an exception where the connection has ended."""
        ...  # pragma: no cover - as above

    def doWrite(self) -> object:
        """:return: as :meth:`doRead`."""
        ...  # pragma: no cover - as above

    def connectionLost(self, reason: Failure) -> None:
        """:param reason: why."""
        ...  # pragma: no cover - as above

    def readConnectionLost(self, reason: Failure) -> None:
        """:param reason: why the peer will send nothing more."""
        ...  # pragma: no cover - as above


@implementer(IReadDescriptor)
class WatchedSockets:
    """
    The set. It is with the reactor as long as there is anything in it.

    :param reactor: watches the set.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet) -> None:
        self._reactor = reactor
        self._epoll: select.epoll | None = None
        self._by_number: dict[int, Watched] = {}
        self._events: dict[int, int] = {}

    # IReactorFDSet, as far as a transport uses it

    def addReader(self, reader: Watched) -> None:
        """
        :param reader: is to be read from.
        """
        self._change(reader, on=select.EPOLLIN)

    def addWriter(self, writer: Watched) -> None:
        """
        :param writer: is to be written to.
        """
        self._change(writer, on=select.EPOLLOUT)

    def removeReader(self, reader: Watched) -> None:
        """
        :param reader: is not to be read from.
        """
        self._change(reader, off=select.EPOLLIN)

    def removeWriter(self, writer: Watched) -> None:
        """
        :param writer: is not to be written to.
        """
        self._change(writer, off=select.EPOLLOUT)

    def _change(self, watched: Watched, on: int = 0, off: int = 0) -> None:
        number = watched.fileno()
        if number < 0:
            # Closed already; the kernel has forgotten it by itself.
            number = next((n for n, known in self._by_number.items() if known is watched), -1)
            if number >= 0:
                self._forget(number)
            return
        before = self._events.get(number, 0)
        events = (before | on) & ~off
        if events == before:
            return
        if not events:
            self._open().unregister(number)
            self._forget(number)
        elif before:
            self._open().modify(number, events)
            self._events[number] = events
        else:
            self._open().register(number, events)
            self._events[number] = events
            self._by_number[number] = watched

    def _open(self) -> select.epoll:
        if self._epoll is None:
            # Not before it is needed: a daemon's process is not the one that it was made in.
            self._epoll = select.epoll()
            self._reactor.addReader(self)
        return self._epoll

    def _forget(self, number: int) -> None:
        del self._by_number[number], self._events[number]
        epoll = self._epoll
        if not self._by_number and epoll is not None:
            self._reactor.removeReader(self)
            self._epoll = None
            epoll.close()

    # IReadDescriptor

    def fileno(self) -> int:
        """:return: the set's own number."""
        return -1 if self._epoll is None else self._epoll.fileno()

    def logPrefix(self) -> str:
        """:return: nothing in particular."""
        return "-"

    def doRead(self) -> None:
        """Serve what is ready."""
        by_number = self._by_number
        for _ in range(ROUNDS):
            if self._epoll is None:
                return
            ready = self._epoll.poll(0, len(by_number))
            if not ready:
                return
            for number, event in ready:
                watched = by_number.get(number)
                if watched is None:
                    # Ended by another's event in this round.
                    continue
                try:
                    if event & select.EPOLLIN:
                        why, reading = watched.doRead(), True
                    elif event & (select.EPOLLHUP | select.EPOLLERR):
                        reading = bool(self._events[number] & select.EPOLLIN)
                        why = CONNECTION_DONE if reading else CONNECTION_LOST
                    else:
                        why, reading = None, False
                    if why is None and event & select.EPOLLOUT and number in by_number:
                        why, reading = watched.doWrite(), False
                except Exception as error:  # noqa: BLE001 - as the reactor does: whatever a protocol raises ends its connection
                    self._log.failure("a connection's protocol failed", failure=Failure())
                    why, reading = error, False
                if why is not None:
                    self._end(watched, why, reading=reading)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor stops: so do all connections.

        :param reason: why.
        """
        for watched in list(self._by_number.values()):
            self._end(watched, CONNECTION_LOST, reading=False)

    def _end(self, watched: Watched, why: object, *, reading: bool) -> None:
        self.removeReader(watched)
        if reading and isinstance(why, ConnectionDone):
            # The peer will send nothing more; what it still wants to read is the transport's business.
            watched.readConnectionLost(_DONE)
            return
        self.removeWriter(watched)
        if isinstance(why, ConnectionDone):
            watched.connectionLost(_DONE)
        elif isinstance(why, ConnectionLost):
            watched.connectionLost(_LOST)
        else:
            watched.connectionLost(Failure(why))


def sockets_watched_by(reactor: Any) -> Any:
    """
    :param reactor: the installed one.
    :return: who watches connections: a set of their own where the system and the reactor know such.
    """
    if hasattr(select, "epoll") and IReactorFDSet.providedBy(reactor):
        return WatchedSockets(reactor)
    return reactor
