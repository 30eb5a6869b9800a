"""
Connections whose requests were refused for want of time: nothing is read from them for a moment.

May import Twisted. What a client sends meanwhile lies with the kernel, and then with the client (TCP's flow control): a
client that does not heed Retry-After gets one refusal in that time, whatever it sends.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["CONNECTIONS_PER_SECOND", "HeldBack"]

CONNECTIONS_PER_SECOND: Final = 500
"""For so many connections that are held back, each is held back for a second more: so however many there are, about a
third more than that are refused in a second, which takes less than a tenth of a core."""

LOOK_SECONDS: Final = 0.05
"""Between two looks whose time is over."""

RELEASED_AT_ONCE: Final = 50
"""When there is room for them: what they have sent comes in one after the other, not as the next flood."""

_GOLDEN: Final = 0.6180339887498949
"""Its multiples, without their whole parts, lie as evenly as can be, however many there are: who was refused together
does not come back together."""


class _Held(Protocol):
    """A connection."""

    def release(self) -> None:
        """It is read from again. Whether it still is there is its own business."""
        ...  # pragma: no cover - a protocol's method has no body to run


class HeldBack:
    """
    Each connection is held back for half the :attr:`seconds` at least, and for all of them at most.

    :param clock: for the time.
    :param necessary: whether it still is; where not, some are released before their time at each look.
    """

    def __init__(self, clock: IReactorTime, necessary: Callable[[], bool]) -> None:
        self._clock = clock
        self._necessary = necessary
        self._held: list[tuple[float, int, _Held]] = []
        self._serial = 0
        self._next: IDelayedCall | None = None

    @property
    def seconds(self) -> int:
        """How long, at most, the next one is held back, which is what its client is to be told."""
        return 1 + len(self._held) // CONNECTIONS_PER_SECOND

    def hold(self, connection: _Held) -> None:
        """
        :param connection: is not read from; it is told when it may be.
        """
        self._serial = serial = self._serial + 1
        # A look too late is more than was said.
        seconds = (self.seconds - LOOK_SECONDS) * (0.5 + 0.5 * (serial * _GOLDEN % 1.0))
        heappush(self._held, (self._clock.seconds() + seconds, serial, connection))
        if self._next is None:
            self._next = self._clock.callLater(LOOK_SECONDS, self._look)

    def release_all(self) -> None:
        """All are read from again, now."""
        following, self._next = self._next, None
        if following is not None:
            following.cancel()
        held, self._held = self._held, []
        for _, _, connection in held:
            connection.release()

    def _look(self) -> None:
        held, now = self._held, self._clock.seconds()
        early = 0 if self._necessary() else RELEASED_AT_ONCE
        while held and (held[0][0] <= now or early > 0):
            early -= 1
            heappop(held)[2].release()
        self._next = self._clock.callLater(LOOK_SECONDS, self._look) if held else None
