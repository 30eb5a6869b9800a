"""
The calls that are under way, and who is told of each that has ended.

May import the logs room, the call's record and tracing. An :class:`~gptproxy.api.exchange.Exchange` tells it when it
begins and ends.
"""

from __future__ import annotations

from collections.abc import Iterable

from gptproxy.call_record import CallObserver, CallRecord
from gptproxy.logs import access_log
from gptproxy.tracing import Tracer

__all__ = ["Calls"]


class Calls:
    """
    :param observers: told of each call that has ended, one after the other.
    :param tracer: makes a span of each; None: nobody does.

    :ivar open: calls under way.
    :ivar streams: answers that are being streamed.
    :ivar ended: calls that have ended.
    """

    __slots__ = ("_observers", "ended", "open", "streams", "tracer")

    def __init__(
        self,
        observers: Iterable[CallObserver] = (access_log.write,),
        tracer: Tracer | None = None,
    ) -> None:
        self._observers = tuple(observers)
        self.tracer = tracer
        self.open = 0
        self.streams = 0
        self.ended = 0

    def observe(self, observer: CallObserver) -> None:
        """
        :param observer: told from now on, after the others.
        """
        self._observers = (*self._observers, observer)

    def end(self, record: CallRecord) -> None:
        """
        :param record: what is known of a call that has ended.
        """
        self.open -= 1
        self.ended += 1
        for observe in self._observers:
            observe(record)
