"""
The calls of a ``gptproxy docs`` command, which keep the server's pace together.

May import the HTTP room and Twisted. A quota of tokens a minute is one for all calls: what one of them is told to wait,
the others that are under way or begin meanwhile wait too, instead of each finding out by a call of its own that is
refused, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.iweb import IAgent

from gptproxy.http import NoAnswer, OwnAnswer, OwnCalls

__all__ = ["PacedCalls"]

THROTTLED_SECONDS: Final = 1.0
"""What a 429 asks all to wait that does not say how long."""


class PacedCalls(OwnCalls):
    """
    As :class:`~gptproxy.http.OwnCalls`, with one pause for all calls to a server.

    :param agent: sends.
    :param clock: for timeouts and waits.
    :param random: a number from 0 to 1, for the waits.
    :param attempts: the first one included.
    """

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        random: Callable[[], float],
        *,
        attempts: int = 3,
    ) -> None:
        super().__init__(agent, clock, random, attempts=attempts)
        self._time = clock
        # When a server may be asked again, by its address: one entry for each that is configured.
        self._until: dict[str, float] = {}

    async def attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limit_bytes: int,
        deadline: float,
    ) -> OwnAnswer:
        """See :meth:`~gptproxy.http.OwnCalls.attempt`; a pause that another call has brought on is waited for."""
        server = urlsplit(url).netloc
        # Meanwhile another call may have been told to wait for longer.
        while (left := self._until.get(server, 0.0) - self._time.seconds()) > 0:
            if self._time.seconds() + left >= deadline:
                raise NoAnswer("the server asks to wait for longer than there is time")
            await deferLater(self._time, left)
        answer = await super().attempt(method, url, headers, body, limit_bytes, deadline)
        wait = answer.wait_seconds() or (THROTTLED_SECONDS if answer.status == 429 else 0.0)
        if wait:
            until = self._time.seconds() + wait
            self._until[server] = max(self._until.get(server, until), until)
        return answer
