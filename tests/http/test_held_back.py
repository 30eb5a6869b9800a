"""Connections that are not read from for a moment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http.held_back import CONNECTIONS_PER_SECOND, HeldBack
from tests.http.serving import Client, EarlyRendered
from tests.http.test_draining import POST, Turnstile

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"


class Connection:
    """Notes when it is released."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.released: list[float] = []

    def release(self) -> None:
        self.released.append(self.clock.seconds())


@given(st.lists(st.tuples(st.integers(1, 400), st.floats(0.0, 0.5)), max_size=12))
@settings(deadline=None, max_examples=50)
def test_each_is_released_once_in_its_time(arrivals: list[tuple[int, float]]) -> None:
    """Not before half of what its client was told has passed, not after that, and nothing stays behind."""
    clock = Clock()
    held = HeldBack(clock, lambda: True)
    all_held: list[tuple[float, int, Connection]] = []
    for number, pause in arrivals:
        for _ in range(number):
            connection = Connection(clock)
            all_held.append((clock.seconds(), held.seconds, connection))
            held.hold(connection)
        for _ in range(int(pause / 0.01)):
            clock.advance(0.01)
    for _ in range(100 * max((told for _, told, _ in all_held), default=0) + 10):
        clock.advance(0.01)
    for began, seconds, connection in all_held:
        (when,) = connection.released
        assert (seconds - 0.05) / 2 <= when - began + 1e-6
        assert when - began <= seconds + 0.011
    assert clock.getDelayedCalls() == []
    assert held.seconds == 1


class HeldBackTests(SynchronousTestCase):
    """The store of them."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.necessary = True
        self.held = HeldBack(self.clock, lambda: self.necessary)

    def hold(self, number: int) -> list[Connection]:
        made = [Connection(self.clock) for _ in range(number)]
        for each in made:
            self.held.hold(each)
        return made

    def test_the_more_the_longer(self) -> None:
        """So that refusals take the same time, however many are refused."""
        self.assertEqual(self.held.seconds, 1)
        self.hold(2 * CONNECTIONS_PER_SECOND + 5)
        self.assertEqual(self.held.seconds, 3)

    def test_those_refused_together_do_not_come_back_together(self) -> None:
        """In no look more than a quarter of them."""
        connections = self.hold(100)
        self.clock.pump([0.05] * 21)
        times = [each.released[0] for each in connections]
        self.assertLessEqual(max(times.count(when) for when in set(times)), 25)

    def test_when_nobody_need_wait(self) -> None:
        """They are released before their time, some at each look."""
        connections = self.hold(120)
        self.necessary = False
        counts = []
        for _ in range(3):
            self.clock.advance(0.05)
            counts.append(sum(bool(each.released) for each in connections))
        self.assertEqual(counts, [50, 100, 120])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_all_at_once(self) -> None:
        """When the site is drained."""
        self.held.release_all()
        connections = self.hold(3)
        self.held.release_all()
        self.assertEqual([each.released for each in connections], [[0.0]] * 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class RefusedConnectionTests(SynchronousTestCase):
    """What becomes of a connection whose call was turned away."""

    def setUp(self) -> None:
        self.resource = EarlyRendered(lambda request: b"fine")
        self.client = Client(self.resource)
        self.site = self.client.site
        self.turnstile = self.site.turnstile = Turnstile()
        self.told: list[int] = []
        self.site.busy_answer = self.busy
        self.client.send(POST)
        self.assertEqual(self.client.answer(b"POST").status, 503)

    def busy(self, seconds: int) -> bytes:
        self.told.append(seconds)
        return b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"

    def test_who_asks_again_at_once(self) -> None:
        """Is not heard before half of the time is over, and heard when all of it is."""
        self.assertEqual(self.told, [1])
        self.client.send(POST)
        for _ in range(9):
            self.client.wait(0.05)
        self.assertEqual((self.client.transport.held_back, self.turnstile.turned), (len(POST), 1))
        for _ in range(11):
            self.client.wait(0.05)
        self.assertEqual(self.client.answer(b"POST").status, 503)
        self.assertEqual(self.turnstile.turned, 2)

    def test_the_end_of_the_overload(self) -> None:
        """Is the end of the wait."""
        self.client.send(POST)
        self.turnstile.shedding = self.turnstile.crowded = False
        self.client.wait(0.05)
        self.assertEqual(self.client.answer(b"POST").status, 200)

    def test_who_has_left(self) -> None:
        """Is not read from, and not kept."""
        self.client.transport.leave()
        self.client.wait(1.0)
        self.assertEqual(self.site.channels, set())
        self.assertEqual(self.site.held_back._held, [])

    def test_closing(self) -> None:
        """Needs no end of the wait: what comes is thrown away, so that the client's end is seen."""
        self.site.close_connections()
        self.assertTrue(self.client.transport.reading)
        self.client.wait(1.0)
        self.assertTrue(self.client.ended)

    def test_draining(self) -> None:
        """Hears what was sent meanwhile, and says that the connection ends."""
        self.client.send(GET)
        self.site.drain()
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.headers[b"connection"]), (200, b"close"))

    def test_a_silent_client(self) -> None:
        """Is idle from the end of the wait on, no sooner."""
        self.client.wait(1.0)
        self.client.wait(self.site.timeouts.keep_alive_idle - 1.0)
        self.assertFalse(self.client.ended)
        self.client.wait(1.1)
        self.assertTrue(self.client.ended)

    def test_what_had_been_read_already(self) -> None:
        """TLS hands on all records that one read brought: each is answered, the reading stays paused."""
        channel = self.client.transport.protocol
        assert channel is not None
        for away, status in ((True, 503), (False, 200)):
            self.turnstile.away = away
            channel.dataReceived(POST)
            self.client.transport.settle()
            self.assertEqual(self.client.answer(b"POST").status, status)
        self.client.wait(1.0)
        self.assertTrue(self.client.transport.reading)
