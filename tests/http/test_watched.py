"""Connections in an epoll set of their own: events are served, ends are told, the reactor knows of it while it must."""

from __future__ import annotations

import select
import socket

from twisted.internet import reactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http.watched import ROUNDS, Watched, WatchedSockets, sockets_watched_by


class FDs:
    """A reactor that only remembers who is watched."""

    def __init__(self) -> None:
        self.readers: list[object] = []

    def addReader(self, reader: object) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: object) -> None:
        self.readers.remove(reader)


class End:
    """One end of a socket pair, with answers given by the test."""

    def __init__(self, watched: WatchedSockets) -> None:
        self.socket, self.peer = socket.socketpair()
        self.socket.setblocking(False)
        self.told: list[object] = []
        self.answer: object = None
        self.failing: Exception | None = None
        self._watched = watched

    def fileno(self) -> int:
        return self.socket.fileno()

    def doRead(self) -> object:
        if self.failing is not None:
            raise self.failing
        self.told.append(self.socket.recv(100))
        return self.answer

    def doWrite(self) -> object:
        self.told.append("room")
        return self.answer

    def connectionLost(self, reason: Failure) -> None:
        self.told.append(reason.type)
        self._watched.removeReader(self)
        self._watched.removeWriter(self)
        self.close()

    def readConnectionLost(self, reason: Failure) -> None:
        self.connectionLost(reason)

    def close(self) -> None:
        self.socket.close()
        self.peer.close()


class WatchedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.fds = FDs()
        self.watched = WatchedSockets(self.fds)  # type: ignore[arg-type]  # as much of a reactor as is asked for
        self.ends: list[End] = []

    def tearDown(self) -> None:
        for end in self.ends:
            self.watched.removeReader(end)
            self.watched.removeWriter(end)
            end.close()
        self.assertEqual(self.fds.readers, [])

    def end(self) -> End:
        self.ends.append(End(self.watched))
        return self.ends[-1]

    def test_the_reactor_watches_the_set_while_there_is_anything_in_it(self) -> None:
        end = self.end()
        self.assertEqual(self.watched.fileno(), -1)
        self.watched.doRead()
        self.watched.addReader(end)
        self.watched.addReader(end)
        self.assertEqual(self.fds.readers, [self.watched])
        self.assertGreater(self.watched.fileno(), 2)
        self.assertEqual(self.watched.logPrefix(), "-")
        self.watched.addWriter(end)
        self.watched.removeReader(end)
        self.assertEqual(self.fds.readers, [self.watched])
        self.watched.removeWriter(end)
        self.assertEqual(self.fds.readers, [])

    def test_input_and_room_are_told_to_whom_they_concern(self) -> None:
        one, other = self.end(), self.end()
        self.watched.addReader(one)
        self.watched.addWriter(other)
        one.peer.send(b"hello")
        self.watched.doRead()
        self.assertEqual(one.told, [b"hello"])
        self.assertEqual(set(other.told), {"room"})

    def test_what_becomes_ready_meanwhile_is_served_a_bounded_number_of_times(self) -> None:
        end = self.end()
        self.watched.addWriter(end)
        self.watched.doRead()
        self.assertEqual(end.told, ["room"] * ROUNDS)

    def test_an_end_that_is_told_ends_the_connection(self) -> None:
        for answer, told in (
            (CONNECTION_DONE, ConnectionDone),
            (CONNECTION_LOST, ConnectionLost),
            (ValueError("strange"), ValueError),
        ):
            end = self.end()
            end.answer = answer
            self.watched.addReader(end)
            end.peer.send(b"x")
            self.watched.doRead()
            self.assertEqual(end.told, [b"x", told])
        self.assertEqual(self.fds.readers, [])

    def test_an_end_while_writing_is_one_of_the_connection(self) -> None:
        end = self.end()
        end.answer = CONNECTION_DONE
        self.watched.addWriter(end)
        self.watched.doRead()
        self.assertEqual(end.told, ["room", ConnectionDone])

    def test_a_protocols_failure_is_logged_and_ends_its_connection_alone(self) -> None:
        failing, other = self.end(), self.end()
        failing.failing = RuntimeError("a fault")
        for end in (failing, other):
            self.watched.addReader(end)
            end.peer.send(b"x")
        self.watched.doRead()
        self.assertEqual(failing.told, [RuntimeError])
        self.assertEqual(other.told, [b"x"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_connection_that_anothers_event_has_ended_is_not_served(self) -> None:
        one, other = self.end(), self.end()
        for end, another in ((one, other), (other, one)):
            self.watched.addReader(end)
            end.peer.send(b"x")
            end.doRead = lambda another=another: self.watched.removeReader(another)  # type: ignore[method-assign,assignment]  # to see who is served
        self.watched.doRead()
        self.assertEqual(len(self.fds.readers), 1)

    def test_a_peer_that_is_gone_without_input_is_an_end(self) -> None:
        """EPOLLHUP alone: a clean one for who reads, a loss for who only writes."""
        for reading, told in ((True, ConnectionDone), (False, ConnectionLost)):
            end = self.end()
            (self.watched.addReader if reading else self.watched.addWriter)(end)
            poll = _Told([(end.fileno(), select.EPOLLHUP)])
            real, self.watched._epoll = self.watched._epoll, poll  # type: ignore[assignment]  # as much of it as is asked
            self.watched.doRead()
            self.assertEqual(end.told, [told])
            assert real is not None
            real.close()

    def test_one_that_is_closed_already_is_forgotten(self) -> None:
        end, stranger = self.end(), self.end()
        self.watched.addReader(end)
        end.close()
        stranger.close()
        self.watched.removeReader(stranger)
        self.watched.removeReader(end)
        self.assertEqual(self.fds.readers, [])

    def test_when_the_reactor_stops_all_are_told(self) -> None:
        ends = [self.end(), self.end()]
        for end in ends:
            self.watched.addReader(end)
        self.watched.connectionLost(Failure(CONNECTION_LOST))
        self.assertEqual([end.told for end in ends], [[ConnectionLost]] * 2)

    def test_a_clock_alone_watches_for_itself(self) -> None:
        clock = Clock()
        self.assertIs(sockets_watched_by(clock), clock)
        self.assertIsInstance(sockets_watched_by(reactor), WatchedSockets)


class _Told:
    """An epoll set that reports what it is told, once."""

    def __init__(self, events: list[tuple[int, int]]) -> None:
        self._events = events

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        events, self._events = self._events, []
        return events

    def unregister(self, number: int) -> None:
        """Nothing is registered here."""

    def close(self) -> None:
        """Nothing is open."""


_: type[Watched] = End
