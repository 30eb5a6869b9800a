"""
The end of a site's connections: what is under way is finished, within a bound of time.

May import Twisted and this room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from gptproxy.http.closing import LINGER_SECONDS
from gptproxy.http.site import Site

__all__ = ["Drain"]

LOOK_SECONDS: Final = 0.05
"""Between two looks whether all has ended; one takes about a millisecond with 10,000 connections."""


class Drain:
    """
    Nobody listens any more: the connections there are come to their end. It is run once.

    :param site: whose connections.
    :param clock: for the bounds.
    :param cut: ends the calls that are still under way, each with an answer or an event that says why.
    """

    def __init__(self, site: Site, clock: IReactorTime, cut: Callable[[], None]) -> None:
        self._site = site
        self._clock = clock
        self._cut = cut
        self._hurried = False
        self._waiting: Deferred[None] | None = None

    async def run(self, seconds: float) -> bool:
        """
        Connections between two requests are closed, but not in the face of a request that is on its way; answers say
        that their connection ends with them.

        :param seconds: how long requests and answers may take.
        :return: all were finished; False: the last were cut.
        """
        site, clock = self._site, self._clock
        site.drain()
        deadline = clock.seconds() + seconds
        while site.busy and not self._hurried and clock.seconds() < deadline:
            await self._pause()
        finished = not site.busy
        if not finished:
            self._cut()
            site.close_connections()
        # What was written last lies with the kernel, or soon will; ended before the client has it, the process would
        # take it along. Clients that do not close for their part are not waited for.
        deadline = clock.seconds() + LINGER_SECONDS
        while site.channels and not self._hurried and clock.seconds() < deadline:
            await self._pause()
        return finished

    def hurry(self) -> None:
        """Wait for nothing any more: what is under way is cut."""
        self._hurried = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _pause(self) -> None:
        self._waiting = deferLater(self._clock, LOOK_SECONDS)
        try:
            await self._waiting
        except CancelledError:
            if not self._hurried:
                raise
        finally:
            self._waiting = None
