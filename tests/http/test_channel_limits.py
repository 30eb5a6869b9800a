"""A client's connection is bounded in time and in what it may fill; who leaves is noticed."""

from __future__ import annotations

import pytest
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gptproxy.http import Request
from gptproxy.http.channel import MAX_READ_AHEAD_BYTES
from tests.http.memory import reset
from tests.http.serving import Client, EarlyRendered, Rendered, read_answer

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"


def path_of(request: Request) -> bytes:
    return request.path


@implementer(IPushProducer)
class Endless:
    """Writes 16 KiB whenever it may."""

    def __init__(self, request: Request) -> None:
        self.request, self.paused = request, False

    def produce(self) -> None:
        while not self.paused:
            self.request.write(b"x" * 16_384)

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def stopProducing(self) -> None:
        """Whoever made it sees the end of the request."""


class TimeoutTests(SynchronousTestCase):
    def test_headers_that_do_not_arrive_in_time_are_answered_408(self) -> None:
        """The time counts from the first byte, whatever dribbles in meanwhile."""
        client = Client(Rendered(path_of))
        for i in range(5):
            client.send(GET[i : i + 1])
            client.wait(5)
        client.wait(5)
        self.assertEqual(client.answer().status, 408)
        self.assertTrue(client.ended)
        client.check_nothing_is_left()

    def test_so_are_those_of_a_second_request_that_comes_in_parts(self) -> None:
        """From its own first byte; not the longer time that a connection may be idle."""
        client = Client(Rendered(path_of))
        client.send(GET)
        client.answer()
        client.wait(20)
        for i in range(5):
            client.send(GET[i : i + 1])
            client.wait(5)
        self.assertFalse(client.ended)
        client.wait(5)
        self.assertEqual(client.answer().status, 408)
        client.check_nothing_is_left()

    def test_a_body_that_nobody_wanted_and_that_filled_the_buffer_is_thrown_away(self) -> None:
        """And the connection read from again, for the next request."""
        size = MAX_READ_AHEAD_BYTES + 1
        client = Client(EarlyRendered(lambda _: None))
        client.send(
            b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        )
        self.assertFalse(client.transport.reading)
        resource = client.site.resource
        resource.requests[0].answer_lean(200, b"OK", (), b"")
        self.assertTrue(client.transport.reading)
        client.send(GET)
        resource.requests[1].answer_lean(200, b"OK", (), b"")
        self.assertEqual(len(client.answers(b"POST", b"GET")), 2)
        client.check_nothing_is_left()

    def test_a_client_that_says_nothing_is_left_without_a_word(self) -> None:
        for lead in (b"", b"\r\n"):
            client = Client(Rendered(path_of))
            client.send(lead)
            client.wait(30)
            self.assertEqual((client.transport.take(), client.ended), (b"", True))
            client.check_nothing_is_left()

    def test_between_requests_there_is_more_time_and_then_the_end(self) -> None:
        client = Client(Rendered(path_of))
        client.send(GET)
        client.wait(89)
        client.send(GET)
        self.assertEqual(len(client.answers(b"GET", b"GET")), 2)
        client.wait(89)
        self.assertFalse(client.ended)
        client.wait(1)
        self.assertEqual((client.transport.take(), client.ended), (b"", True))
        client.check_nothing_is_left()

    def test_the_next_requests_headers_have_their_own_time(self) -> None:
        client = Client(Rendered(path_of))
        client.send(GET + GET[:5])
        client.answer()
        client.wait(30)
        self.assertEqual(client.answer().status, 408)
        client.check_nothing_is_left()

    def test_an_answer_may_take_as_long_as_it_takes(self) -> None:
        resource = Rendered(lambda _: None)
        client = Client(resource)
        client.send(GET)
        client.wait(10_000)
        self.assertFalse(client.ended)
        resource.requests[0].finish()
        self.assertEqual(client.answer().status, 200)
        client.check_nothing_is_left()


class BackPressureTests(SynchronousTestCase):
    def test_an_answer_that_is_not_read_pauses_its_producer(self) -> None:
        resource = Rendered(lambda _: None)
        client = Client(resource)
        client.transport.peer_reads = False
        client.send(GET)
        endless = Endless(resource.requests[0])
        resource.requests[0].registerProducer(endless, True)
        endless.produce()
        self.assertLess(client.transport.buffered, 100_000)
        client.transport.peer_reads = True
        client.transport.settle()
        self.assertFalse(endless.paused)
        resource.requests[0].unregisterProducer()
        resource.requests[0].finish()
        self.assertEqual(len(client.answer().body) % 16_384, 0)
        client.check_nothing_is_left()

    def test_a_producer_that_comes_when_the_buffer_is_full_is_paused_at_once(self) -> None:
        resource = Rendered(lambda _: None)
        client = Client(resource)
        client.transport.peer_reads = False
        client.send(GET)
        resource.requests[0].write(b"x" * 100_000)
        endless = Endless(resource.requests[0])
        resource.requests[0].registerProducer(endless, True)
        self.assertTrue(endless.paused)
        client.check_nothing_is_left()

    def test_pull_producers_are_refused(self) -> None:
        def pull(request: Request) -> None:
            request.registerProducer(Endless(request), False)

        client = Client(Rendered(pull))
        client.send(GET)
        self.assertEqual(client.answer().status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        client.check_nothing_is_left()

    def test_the_next_request_waits_until_the_client_reads(self) -> None:
        resource = Rendered(lambda _: b"x" * 100_000)
        client = Client(resource)
        client.transport.peer_reads = False
        client.send(GET * 3)
        self.assertEqual(len(resource.requests), 1)
        client.wait(60)
        self.assertFalse(client.ended, "its own slowness is no late request")
        client.transport.peer_reads = True
        client.transport.settle()
        self.assertEqual(len(client.answers(*[b"GET"] * 3)), 3)
        client.check_nothing_is_left()

    def test_a_client_that_never_takes_its_answer_is_dropped(self) -> None:
        client = Client(Rendered(lambda _: b"x" * 100_000))
        client.transport.peer_reads = False
        client.send(GET * 2)
        client.wait(90)
        client.wait(2)
        client.wait(60)
        self.assertIsNotNone(client.transport.lost)
        client.check_nothing_is_left()

    def test_what_is_read_ahead_has_a_bound(self) -> None:
        """Twisted reads up to 64 KiB at once: one read above the bound at most."""
        resource = Rendered(lambda _: None)
        client = Client(resource)
        client.send(GET, *[b"GET /b" + b"b" * 10_000] * 20)
        self.assertFalse(client.transport.reading)
        self.assertGreater(client.transport.held_back, 200_000 - MAX_READ_AHEAD_BYTES - 20_000)
        resource.requests[0].finish()
        client.transport.settle()
        self.assertEqual(read_answer(client.transport.take(), b"GET", closed=False)[0].status, 200)
        self.assertTrue(client.ended)
        client.check_nothing_is_left()


class LeavingTests(SynchronousTestCase):
    def test_whoever_waits_for_an_answer_is_told_that_the_client_left(self) -> None:
        for phase in ("waiting", "begun"):
            for error in (None, reset()):
                resource = EarlyRendered(lambda _: None)
                client = Client(resource)
                client.send(GET)
                if phase == "begun":
                    resource.requests[0].write(b"x")
                client.transport.leave(error)
                self.assertEqual(len(resource.ends), 1)
                self.assertNotEqual(resource.ends, ["finished"])
                # Late words to nobody are swallowed.
                resource.requests[0].write(b"y")
                client.check_nothing_is_left()

    def test_leaving_before_and_between_requests_is_nothing_special(self) -> None:
        for data in (b"", GET[:5], GET, GET + GET[:5]):
            client = Client(Rendered(path_of))
            client.send(data)
            client.check_nothing_is_left()


@pytest.mark.parametrize("tls", [False, True])
def test_a_peer_that_ignores_the_end_is_aborted(tls: bool) -> None:
    client = Client(Rendered(path_of), tls=tls)
    client.send(GET.replace(b"1.1", b"1.0"))
    assert client.answer().body == b"/a"
    client.transport.peer_reads = False
    client.wait(2)
    client.wait(60)
    assert client.transport.lost is not None
    client.check_nothing_is_left()
