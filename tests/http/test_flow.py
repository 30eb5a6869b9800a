"""Reading and writing are paused and resumed each by itself; a timer runs once."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from gptproxy.http.flow import ReadSide, WriteSide
from gptproxy.http.timer import Timer
from tests.http.asking import Pieces
from tests.http.memory import MemoryTransport


def test_a_transport_is_told_only_of_changes() -> None:
    calls: list[str] = []

    class Telling(MemoryTransport):
        def pauseProducing(self) -> None:
            calls.append("pause")

        def resumeProducing(self) -> None:
            calls.append("resume")

    side = ReadSide(Telling())
    for reading in (True, False, False, True, True):
        side.read(reading)
    assert calls == ["pause", "resume"]


def test_producers_follow_one_another_on_one_registration() -> None:
    resumed: list[bool] = []
    transport = MemoryTransport()
    side = WriteSide(transport, lambda: resumed.append(True))
    verifyObject(IPushProducer, side)
    first, second = Pieces(), Pieces()
    side.register(first)
    side.pauseProducing()
    side.unregister()
    side.register(second)
    side.resumeProducing()
    assert (first.calls, second.calls, resumed) == (["pause"], ["pause", "resume"], [True])
    side.unregister()
    side.pauseProducing()
    side.resumeProducing()
    side.stopProducing()
    assert (second.calls, side.paused) == (["pause", "resume"], False)
    side.end()
    assert transport.producer is None


def test_a_timer_runs_what_was_set_last_and_once() -> None:
    clock, ran = Clock(), list[str]()
    timer = Timer(clock)
    timer.put_off(5)
    timer.cancel()
    timer.set(5, lambda: ran.append("first"))
    timer.set(5, lambda: ran.append("second"))
    clock.advance(4)
    timer.put_off(5)
    clock.advance(4)
    assert ran == []
    clock.advance(1)
    timer.put_off(5)
    timer.cancel()
    clock.advance(100)
    assert (ran, clock.getDelayedCalls()) == (["second"], [])


def test_a_timer_may_be_set_again_from_what_it_runs() -> None:
    clock, ran = Clock(), list[str]()
    timer = Timer(clock)
    timer.set(1, lambda: timer.set(1, lambda: ran.append("then")))
    clock.advance(1)
    clock.advance(1)
    assert (ran, clock.getDelayedCalls()) == (["then"], [])
