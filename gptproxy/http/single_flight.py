"""
One call for all who wait for the same answer.

May import Twisted; nothing of gptproxy.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["SingleFlight"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Flight(Generic[_Value]):
    """A call under way and who waits for it."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[_Value]] = []
        self.call: Deferred[None] | None = None


class SingleFlight(Generic[_Key, _Value]):
    """
    Calls by key: whoever asks while one is under way waits for that one. Each has a Deferred of their own, so one who
    leaves takes nothing from the others; when the last has left, the call is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[_Key, _Flight[_Value]] = {}

    def __len__(self) -> int:
        """:return: calls under way."""
        return len(self._flights)

    def __contains__(self, key: _Key) -> bool:
        """:return: a call is under way."""
        return key in self._flights

    def join(self, key: _Key, start: Callable[[], Coroutine[Any, Any, _Value]]) -> Deferred[_Value]:
        """
        :param key: what is asked.
        :param start: makes the call, if none is under way.
        :return: a Deferred that fires as the call does. Cancelling it leaves the call to the others.
        """
        flight = self._flights.get(key)
        starting = flight is None
        if flight is None:
            flight = self._flights[key] = _Flight()
        waiter: Deferred[_Value] = Deferred(lambda left: self._leave(key, left))
        flight.waiting.append(waiter)
        if starting:
            call = Deferred.fromCoroutine(start())
            landed: Deferred[None] = call.addCallbacks(
                lambda value: self._land(key, flight, lambda each: each.callback(value)),
                lambda failure: self._land(key, flight, lambda each: _fail(each, failure)),
            )
            flight.call = landed
        return waiter

    def _land(
        self, key: _Key, flight: _Flight[_Value], tell: Callable[[Deferred[_Value]], None]
    ) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        waiting, flight.waiting = flight.waiting, []
        for waiter in waiting:
            # What an earlier one did with the answer may have made this one leave.
            if not waiter.called:
                tell(waiter)

    def _leave(self, key: _Key, waiter: Deferred[_Value]) -> None:
        flight = self._flights.get(key)
        if flight is None or waiter not in flight.waiting:
            return
        flight.waiting.remove(waiter)
        if not flight.waiting and flight.call is not None:
            del self._flights[key]
            flight.call.cancel()


def _fail(waiter: Deferred[_Value], failure: Failure) -> None:
    # A Failure of each waiter's own: one that handles it must not clean another's traceback.
    waiter.errback(Failure(failure.value))
