"""
Where calls come in: they are counted while they run, and refused where there are too many.

May import the access, config, limits and wire rooms and Twisted. What a call may not begin without is looked at in two
steps: at its headers, before anybody is asked who it is from (:meth:`Gate.refusal`), and when that is known
(:meth:`Gate.admit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptproxy.access import Caller
from gptproxy.config import AllowSettings
from gptproxy.limits import Admission, Limits, Overload
from gptproxy.wire import Refusal

if TYPE_CHECKING:
    from gptproxy.api.exchange import Exchange

__all__ = ["OVERLOADED", "Gate", "Members", "Streams", "busy_answer"]

OVERLOADED: Final = Refusal(
    503,
    "The gateway has more to do than it can: try again in some seconds.",
    error_type="server_error",
    code="overloaded",
    # OpenAI's clients read these; one that retries at once would make it worse.
    headers=((b"retry-after", b"1"), (b"x-should-retry", b"true")),
)

_TOO_MANY_STREAMS: Final = Refusal(
    503,
    "The gateway has as many answers streaming as it may: try again in some seconds.",
    error_type="server_error",
    code="too_many_streams",
    headers=((b"retry-after", b"5"), (b"x-should-retry", b"true")),
)


@cache
def busy_answer(seconds: int) -> bytes:
    """
    :param seconds: after which the client may come again; there are few of them.
    :return: :data:`OVERLOADED` as it goes out where there is no time for more.
    """
    body = OVERLOADED.body()
    fields = (
        (b"content-type", b"application/json"),
        *(
            (name, b"%d" % seconds if name == b"retry-after" else value)
            for name, value in OVERLOADED.headers
        ),
    )
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"HTTP/1.1 503 Service Unavailable\r\n%bcontent-length: %d\r\n\r\n%b" % (
        lines,
        len(body),
        body,
    )


class Members(Protocol):
    """Who is in which group: the :class:`~gptproxy.access.Authenticator` as this module uses it."""

    async def may_read(self, caller: Caller, rules: Sequence[AllowSettings]) -> bool:
        """
        :param caller: who asks.
        :param rules: groups.
        :return: whether the caller is in one of them.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


class Streams:
    """
    Answers that are being streamed, or will be: one count for the process.

    :param most: how many there may be.

    :ivar open: how many there are.
    """

    __slots__ = ("most", "open")

    def __init__(self, most: int) -> None:
        self.most = most
        self.open = 0


class _Held:
    """What a call takes up."""

    __slots__ = ("admission", "streams")

    def __init__(self) -> None:
        self.admission: Admission | None = None
        self.streams = False


class Gate:
    """
    One of one tree of routes: behind it run the calls of one configuration.

    :param clock: for the limits.
    :param limits: how much each may; None: nobody is counted.
    :param overload: knows whether there is too much to do; None: never.
    :param groups: those of the limits by name.
    :param members: knows who is in them.
    :param streams: the count of streams; None: there is no bound.

    :ivar running: the calls under way.
    """

    def __init__(
        self,
        clock: IReactorTime,
        limits: Limits | None = None,
        overload: Overload | None = None,
        groups: Sequence[str] = (),
        members: Members | None = None,
        streams: Streams | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._overload = overload
        self._groups = {name: (AllowSettings(group=name),) for name in groups}
        self._members = members
        self._streams = streams
        self._empty: Deferred[None] | None = None
        self.running: dict[Exchange, _Held] = {}

    def refusal(self) -> Refusal | None:
        """:return: why no call may begin now; None where one may."""
        if self._overload is not None and not self._overload.admits(self._clock.seconds()):
            return OVERLOADED
        return None

    def enter(self, exchange: Exchange) -> None:
        """
        :param exchange: a call that begins.
        """
        self.running[exchange] = _Held()
        if self._overload is not None:
            self._overload.began()

    async def admit(self, exchange: Exchange, caller: Caller) -> None:
        """
        :param exchange: a call; it is counted until it leaves.
        :param caller: who makes it.
        :raise Refusal: 429.
        """
        limits = self._limits
        if limits is None or limits.unlimited:
            return
        groups: list[str] = []
        if self._members is not None:
            for name, rules in self._groups.items():
                if await self._members.may_read(caller, rules):
                    groups.append(name)
        # Cancelled meanwhile, it would not have come here.
        held = self.running[exchange]
        held.admission = limits.admit(caller.owner, groups, self._clock.seconds())

    def begin_stream(self, exchange: Exchange) -> None:
        """
        :param exchange: a call whose answer is to be streamed; it is counted until it leaves.
        :raise Refusal: 503.
        """
        streams, held = self._streams, self.running.get(exchange)
        if streams is None or held is None or held.streams:
            return
        if streams.open >= streams.most:
            raise _TOO_MANY_STREAMS.again()
        streams.open += 1
        held.streams = True

    def leave(self, exchange: Exchange) -> None:
        """
        :param exchange: a call that has ended, however it did.
        """
        held = self.running.pop(exchange, None)
        if held is None:
            return
        if self._overload is not None:
            self._overload.ended()
        if held.streams and self._streams is not None:
            self._streams.open -= 1
        if held.admission is not None:
            held.admission.end(_tokens_of(exchange), self._clock.seconds())
        if not self.running and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def when_empty(self) -> Deferred[None]:
        """:return: fires when no call is under way: at once where none is. To be asked for once."""
        self._empty = Deferred()
        empty = self._empty
        if not self.running:
            self._empty = None
            empty.callback(None)
        return empty

    def cut(self) -> None:
        """End every call that is under way: the process ends."""
        for exchange in list(self.running):
            exchange.cut()


def _tokens_of(exchange: Exchange) -> int:
    """
    :return: what a call cost, as its answer tells. A stream that does not tell had about a token an event; its question
        had one to four bytes.
    """
    usage = exchange.usage
    if usage is not None:
        return usage.input_tokens + usage.output_tokens
    if not exchange.events:
        return 0
    sent = next((value for name, value in exchange.fields if name == b"content-length"), b"0")
    return exchange.events + int(sent) // 4
