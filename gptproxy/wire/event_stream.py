"""
Reads a copy of an event stream as it passes, without holding up a byte of it.

Pure: imports nothing of gptproxy and nothing of Twisted. The rules are those of the HTML standard's "Server-sent
events", 9.2.5 and 9.2.6 (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream), on
bytes: the stream is UTF-8, but nothing here needs it decoded. Every byte is looked at a fixed number of times, however
the bytes arrive, and a line may be as long as it likes: images come as single lines of several megabytes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["EventStreamReader", "ServerSentEvent"]

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_DEFAULT_TYPE: Final = b"message"
_MAX_RETRY_DIGITS: Final = 15
"""``int`` is quick with as many, and no stream asks for a wait of thirty thousand years."""


class ServerSentEvent(NamedTuple):
    """
    One event.

    :ivar event: its type; ``message`` where the stream names none.
    :ivar data: its data lines, with a line feed between them.
    """

    event: bytes
    data: bytes


class EventStreamReader:
    """
    One stream's reader. It never fails: every sequence of bytes is an event stream.

    :param limit_bytes: how long a line may be together with the data lines before it in its event. When more comes,
        :attr:`gave_up` is set, what was held is let go, and no event is told any more. None sets no limit.

    :ivar gave_up: the limit was passed.
    :ivar last_event_id: the ``id`` in force at the last empty line; empty where there was none.
    :ivar retry_ms: the last ``retry`` that was a number, in milliseconds.
    """

    __slots__ = (
        "_after_cr",
        "_block_open",
        "_data",
        "_id",
        "_limit",
        "_line",
        "_start",
        "_type",
        "gave_up",
        "last_event_id",
        "retry_ms",
    )

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._limit = limit_bytes
        # The stream's first bytes, until they are known to be a byte order mark or not.
        self._start: bytes | None = b""
        # The last byte was a CR, which ended its line at once; an LF behind it belongs to it.
        self._after_cr = False
        # What has come of a line. Of one that is not held any more, its first byte.
        self._line = bytearray()
        # A line that is neither empty nor a comment has come since the last empty line.
        self._block_open = False
        # The event's data lines, each with a line feed.
        self._data = bytearray()
        self._type = b""
        self._id = b""
        self.gave_up = False
        self.last_event_id = b""
        self.retry_ms: int | None = None

    @property
    def between_events(self) -> bool:
        """
        The bytes seen so far end between events: an event that is appended to them is read as one of its own. It is
        told rightly after the reader gave up, too.
        """
        return not (self._block_open or self._line or self._start)

    def receive(self, data: bytes) -> list[ServerSentEvent]:
        """
        :param data: the stream's next bytes.
        :return: the events that they complete. One that the stream's end cuts off is never told, as the standard has
            it.
        """
        if self._start is not None:
            self._start += data
            if len(self._start) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(
                self._start
            ):
                return []
            data = self._start.removeprefix(_BYTE_ORDER_MARK)
            self._start = None
        if not data:
            return []
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        # For bytes these are exactly the stream's line ends: CR, LF and CRLF.
        lines = data.splitlines()
        tail = lines.pop() if data and not data.endswith((b"\r", b"\n")) else b""
        if lines and self._line:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line.clear()
        events: list[ServerSentEvent] = []
        for line in lines:
            if not line:
                self._end_block(events)
                continue
            self._check_limit(len(line))
            if not line.startswith(b":"):
                self._block_open = True
                if not self.gave_up:
                    self._take_field(line)
        if tail:
            self._take_tail(tail)
        return events

    def _take_tail(self, tail: bytes) -> None:
        """Keep the beginning of a line."""
        self._check_limit(len(self._line) + len(tail))
        if not self.gave_up:
            self._line += tail
        elif not self._line:
            # Enough to tell a comment from a field when the line ends.
            self._line += tail[:1]

    def _check_limit(self, line_bytes: int) -> None:
        if self._limit is None or self.gave_up or len(self._data) + line_bytes <= self._limit:
            return
        self.gave_up = True
        del self._line[1:]
        self._data.clear()
        self._type = b""

    def _take_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data += value
            self._data += b"\n"
        elif name == b"event":
            self._type = value
        elif name == b"id":
            if b"\x00" not in value:
                self._id = value
        elif name == b"retry" and value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self.retry_ms = int(value)

    def _end_block(self, events: list[ServerSentEvent]) -> None:
        self._block_open = False
        if self.gave_up:
            return
        self.last_event_id = self._id
        if self._data:
            with memoryview(self._data) as data:
                events.append(ServerSentEvent(self._type or _DEFAULT_TYPE, bytes(data[:-1])))
            self._data.clear()
        self._type = b""
