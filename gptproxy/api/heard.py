"""
The items that a stream tells as it passes: they become their caller's, who may name them in the next call.

May import the HTTP room, this room, and Twisted. The bytes are looked at, not held up: an item is known to be
somebody's a moment after its caller has read of it, and until then it is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson
from twisted.internet.interfaces import IProtocol, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from gptproxy.api.creation import Found
from gptproxy.http import Response

__all__ = ["HeardItems", "heard"]

_ADDED: Final = b'"response.output_item.added"'
"""The type of the event that tells a new item first. A quote inside a text has a backslash before it."""

MOST_BYTES: Final = 65_536
"""Of a line that is waited for: reasoning that is encrypted has some KiB, and what is made is told by later events."""


class HeardItems:
    """
    :param tell: is given ids and kinds.
    """

    def __init__(self, tell: Callable[[Found], None]) -> None:
        self._tell = tell
        self._rest = b""

    def receive(self, piece: bytes) -> None:
        """
        :param piece: the stream's next bytes.
        """
        text = self._rest + piece if self._rest else piece
        last = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
        self._rest = text[last:] if len(text) - last <= MOST_BYTES else b""
        found: Found = []
        place = text.find(_ADDED, 0, last)
        while place >= 0:
            begin = max(text.rfind(b"\n", 0, place), text.rfind(b"\r", 0, place)) + 1
            end = last
            for line_end in (b"\n", b"\r"):
                found_at = text.find(line_end, place, end)
                end = found_at if found_at >= 0 else end
            found += _items(text[begin:end])
            place = text.find(_ADDED, end, last)
        if found:
            self._tell(found)


def _items(line: bytes) -> Found:
    try:
        content = orjson.loads(line.removeprefix(b"data:"))
    except orjson.JSONDecodeError:
        return []
    item = content.get("item") if isinstance(content, dict) else None
    if not isinstance(item, dict):
        return []
    told = (item.get("id"), "item"), (item.get("container_id"), "container")
    return [(each, kind) for each, kind in told if isinstance(each, str) and each]


class _Passing(Protocol):
    """Stands between a body and who takes it."""

    def __init__(self, items: HeardItems, taker: IProtocol) -> None:
        self._items = items
        self._taker = taker

    def makeConnection(self, transport: ITransport) -> None:
        self.transport = transport
        self._taker.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        self._items.receive(data)
        self._taker.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._taker.connectionLost(reason)


class _HeardResponse(Response):
    """
    An answer whose body is heard as it passes.

    :param inner: the upstream's.
    :param items: hears it.
    """

    def __init__(self, inner: Response, items: HeardItems) -> None:
        # Not Response's: this one has no body of its own, and hands every question on.
        self._inner = inner
        self._items = items
        self._minor_version = inner.version[2]
        self.code = inner.code
        self.phrase = inner.phrase
        self.fields = inner.fields
        self.length = inner.length
        self.request = inner.request
        self.previousResponse = inner.previousResponse

    @property
    def end(self) -> Failure | None:
        return self._inner.end

    def deliverBody(self, protocol: IProtocol) -> None:
        self._inner.deliverBody(_Passing(self._items, protocol))

    def take_whole(self) -> bytes | None:
        body = self._inner.take_whole()
        if body is not None:
            self._items.receive(body)
        return body

    def abandon(self) -> None:
        self._inner.abandon()


def heard(response: Response, tell: Callable[[Found], None]) -> Response:
    """
    :param response: a stream of events; its body has not been taken.
    :param tell: is given the ids and kinds of the items in it, as they pass.
    :return: the same stream.
    """
    return _HeardResponse(response, HeardItems(tell))
