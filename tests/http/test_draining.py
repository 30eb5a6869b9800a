"""The end of a site's connections."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from gptproxy.http import Drain
from gptproxy.http.request import Request
from tests.http.serving import Client, EarlyRendered

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy"


class DrainTests(SynchronousTestCase):
    """What is under way is finished."""

    def setUp(self) -> None:
        self.waiting: list[Request] = []
        self.resource = EarlyRendered(self.take)
        self.client = Client(self.resource)
        self.cut = 0

    def take(self, request: Request) -> bytes | None:
        if request.method == b"POST":
            self.waiting.append(request)
            return None
        return b"fine"

    def give_up(self) -> None:
        self.cut += 1
        for request in self.waiting:
            request.channel.abort_answer()

    def drain(self, seconds: float = 30.0) -> Deferred[bool]:
        self.ending = Drain(self.client.site, self.client.clock, self.give_up)
        return Deferred.fromCoroutine(self.ending.run(seconds))

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            self.client.wait(0.05)

    def test_nobody_is_there(self) -> None:
        """It is over at once."""
        self.client.transport.leave()
        self.assertTrue(self.successResultOf(self.drain()))

    def test_an_idle_connection(self) -> None:
        """Is closed after a second, in which a request is still answered, and told that it was the last."""
        self.client.send(GET)
        self.client.answer()
        drained = self.drain()
        self.wait(0.9)
        self.assertFalse(self.client.ended)
        self.client.send(GET)
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.headers[b"connection"]), (200, b"close"))
        self.assertTrue(self.client.ended)
        self.client.transport.leave()
        self.wait(0.1)
        self.assertTrue(self.successResultOf(drained))

    def test_an_idle_connection_that_stays_idle(self) -> None:
        """Is closed, and its client is not waited for longer than two seconds."""
        drained = self.drain()
        self.wait(1.2)
        self.assertTrue(self.client.transport.half_closed)
        self.assertNoResult(drained)
        self.wait(2.1)
        self.assertTrue(self.successResultOf(drained))
        self.assertEqual(self.cut, 0)

    def test_a_request_under_way(self) -> None:
        """Is answered, and the answer says that the connection ends."""
        self.client.send(POST)
        drained = self.drain()
        self.wait(20)
        self.assertNoResult(drained)
        self.waiting.pop().write(b"x")
        self.resource.requests[-1].finish()
        answer = self.client.answers(b"POST")[0]
        self.assertEqual(answer.headers[b"connection"], b"close")
        self.client.transport.leave()
        self.wait(0.1)
        self.assertTrue(self.successResultOf(drained))

    def test_the_time_is_over(self) -> None:
        """What is still under way is cut."""
        self.client.send(POST)
        drained = self.drain(5.0)
        self.wait(5.1)
        self.assertEqual(self.cut, 1)
        self.wait(2.1)
        self.assertFalse(self.successResultOf(drained))

    def test_hurry(self) -> None:
        """Nothing is waited for; before it is asked for, too."""
        self.client.send(POST)
        drained = self.drain()
        self.assertNoResult(drained)
        self.ending.hurry()
        self.assertFalse(self.successResultOf(drained))
        self.assertEqual(self.cut, 1)

    def test_half_a_request(self) -> None:
        """Has its time to become a whole one."""
        self.client.send(GET[:10])
        drained = self.drain()
        self.wait(2)
        self.assertNoResult(drained)
        self.client.send(GET[10:])
        self.assertEqual(self.client.answer().headers[b"connection"], b"close")

    def test_half_a_request_that_stays_one(self) -> None:
        """Is closed when the time is over."""
        self.client.send(GET[:10])
        drained = self.drain(5.0)
        self.wait(5.1)
        self.assertTrue(self.client.ended)
        self.wait(2.1)
        self.assertFalse(self.successResultOf(drained))


class Turnstile:
    """Lets in as a test says."""

    def __init__(self) -> None:
        self.shedding = self.crowded = True
        self.turned = 0
        self.away = True

    def turns_away(self, now: float) -> bool:
        self.turned += self.away
        return self.away


class TurnedAwayTests(SynchronousTestCase):
    """Refusals that take as little as can be."""

    def setUp(self) -> None:
        self.resource = EarlyRendered(lambda request: b"fine")
        self.client = Client(self.resource)
        self.turnstile = self.client.site.turnstile = Turnstile()
        self.client.site.busy_answer = lambda seconds: BUSY

    def ask(self, request: bytes, method: bytes = b"POST") -> int:
        self.client.send(request)
        return self.client.answer(method).status

    def test_a_whole_post(self) -> None:
        """Is refused without a resource, and the connection kept."""
        self.assertEqual(self.ask(POST), 503)
        self.client.wait(1.0)
        self.assertEqual(self.ask(POST), 503)
        self.assertEqual((self.turnstile.turned, self.resource.requests), (2, []))
        self.turnstile.away = False
        self.client.wait(1.0)
        self.assertEqual(self.ask(POST), 200)

    def test_everything_else(self) -> None:
        """Goes the usual way: what is not whole, not alone, not framed in the one plain way, or no POST."""
        for request in (
            GET,
            POST.replace(b"length: 2", b"length: 02\r\ncontent-length: 2"),
            POST.replace(b"host: h", b"host: h\r\nconnection: close"),
            POST.replace(b"HTTP/1.1", b"HTTP/1.0"),
            POST.replace(b"content-length: 2", b"transfer-encoding: chunked"),
            POST + b"G",
            POST[:-1],
        ):
            with self.subTest(request):
                client = Client(self.resource)
                client.site.turnstile = self.turnstile
                client.site.busy_answer = lambda seconds: BUSY
                client.send(request)
                client.transport.settle()
                self.assertNotIn(b"busy", client.transport.take())
        self.assertEqual(self.turnstile.turned, 0)

    def test_while_it_drains(self) -> None:
        """Each answer says that the connection ends, so it goes the usual way."""
        self.client.site.drain()
        self.client.send(POST)
        self.assertEqual(self.client.answers(b"POST")[0].headers[b"connection"], b"close")
