"""How a client's connection ends: in good order, or so that nobody takes half an answer for a whole one."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from gptproxy.http import BodyIncomplete, IRequestBody, Request, abort_answer
from gptproxy.http.closing import ABORT_SECONDS, LINGER_SECONDS
from tests.http.serving import Client, EarlyRendered, Receiver, Rendered

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OLD = b"GET /a HTTP/1.0\r\n\r\n"


@implementer(IPushProducer)
class _Silent:
    """Produces nothing."""

    def pauseProducing(self) -> None:
        """Nothing is produced."""

    resumeProducing = stopProducing = pauseProducing


class AbortTests(SynchronousTestCase):
    def begun(
        self, data: bytes, *, length: bool = False, tls: bool = False
    ) -> tuple[Client, Request]:
        resource = EarlyRendered(lambda _: None)
        client = Client(resource, tls=tls)
        client.send(data)
        request = resource.requests[0]
        if length:
            request.setHeader(b"content-length", b"10")
        request.write(b"half")
        return client, request

    def test_an_aborted_answer_never_ends_cleanly(self) -> None:
        """Security 3.8: no last chunk, fewer bytes than were told, or a reset for HTTP/1.0."""
        for tls in (False, True):
            client, request = self.begun(GET, tls=tls)
            abort_answer(request)
            client.transport.settle()
            sent = client.transport.take()
            self.assertTrue(sent.endswith(b"\r\n\r\n4\r\nhalf\r\n"), sent)
            self.assertTrue(client.transport.half_closed)
            client.check_nothing_is_left()
            client, request = self.begun(GET, length=True, tls=tls)
            abort_answer(request)
            client.transport.settle()
            self.assertTrue(client.transport.take().endswith(b"\r\n\r\nhalf"))
            client.check_nothing_is_left()
            client, request = self.begun(OLD, tls=tls)
            abort_answer(request)
            client.transport.settle()
            assert client.transport.lost is not None
            self.assertIs(client.transport.lost.type, ConnectionAborted)
            client.check_nothing_is_left()

    def test_what_is_written_after_an_abort_stays_unsaid(self) -> None:
        """A late finish() would write the last chunk, and revive the connection for another request."""
        for finish in (True, False):
            client, request = self.begun(GET)
            abort_answer(request)
            request.write(b"more")
            if finish:
                request.finish()
            client.send(GET)
            self.assertTrue(client.transport.take().endswith(b"4\r\nhalf\r\n"))
            client.wait(LINGER_SECONDS)
            client.wait(ABORT_SECONDS)
            client.check_nothing_is_left()

    def test_twisteds_own_way_to_close_is_the_same_in_the_middle_of_an_answer(self) -> None:
        client, request = self.begun(OLD)
        request.loseConnection()
        client.transport.settle()
        assert client.transport.lost is not None
        self.assertIs(client.transport.lost.type, ConnectionAborted)
        client.check_nothing_is_left()

    def test_aborting_for_nobody_does_nothing(self) -> None:
        client, request = self.begun(GET)
        client.transport.leave()
        abort_answer(request)
        client.check_nothing_is_left()

    def test_who_reads_the_body_is_told_and_may_not_start_to_read_it(self) -> None:
        resource = EarlyRendered(lambda _: None)
        for asked_before in (True, False):
            client = Client(resource)
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabc")
            request, receiver = resource.requests[-1], Receiver()
            if asked_before:
                IRequestBody(request).deliver(receiver)
            abort_answer(request)
            if not asked_before:
                IRequestBody(request).deliver(receiver)
            self.assertIs(receiver.end, BodyIncomplete)
            client.send(b"de" + GET)
            client.check_nothing_is_left()

    def test_a_paused_producer_does_not_hold_the_end_up(self) -> None:
        client, request = self.begun(GET)

        client.transport.peer_reads = False
        request.registerProducer(_Silent(), True)
        request.write(b"x" * 100_000)
        abort_answer(request)
        client.transport.peer_reads = True
        client.transport.settle()
        self.assertTrue(client.transport.half_closed)
        client.check_nothing_is_left()


@pytest.mark.parametrize("tls", [False, True])
def test_the_last_bytes_are_given_time_and_the_clients_are_thrown_away(tls: bool) -> None:
    """RFC 9112 9.6: closing with unread input would reset the connection, and take the answer with it."""
    client = Client(Rendered(lambda _: b"bye"), tls=tls)
    client.send(GET.replace(b"Host", b"Connection: close\r\nHost"))
    assert client.answer().body == b"bye"
    assert client.transport.half_closed
    assert client.transport.lost is None
    client.send(b"anything", b"x" * 100_000)
    assert tls or client.transport.held_back == 0
    client.wait(LINGER_SECONDS)
    assert (client.transport.lost is None) is tls
    client.wait(ABORT_SECONDS)
    assert client.transport.lost is not None
    client.check_nothing_is_left()


def test_a_client_that_does_not_take_the_last_bytes_is_cut_off_in_the_end() -> None:
    client = Client(Rendered(lambda _: b"x" * 1_000))
    client.transport.peer_reads = False
    client.send(OLD)
    client.wait(LINGER_SECONDS)
    client.wait(ABORT_SECONDS - 1)
    assert client.transport.lost is None
    client.wait(1)
    assert client.transport.lost is not None
    client.check_nothing_is_left()


def test_a_client_that_leaves_while_closing_leaves_nothing_behind() -> None:
    for wait in (0.0, LINGER_SECONDS):
        client = Client(Rendered(lambda _: b"x"))
        client.transport.peer_reads = False
        client.send(OLD)
        client.wait(wait)
        client.check_nothing_is_left()
