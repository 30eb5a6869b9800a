"""
One call from its headers to its last byte: who asked, what is answered, what the access line says of it.

May import the access, upstream, HTTP and wire rooms and Twisted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

import orjson
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.server import Request

from gptproxy.api.broken_off import BROKEN_OFF, STOPPED, GatewayStopped, broken_off_event
from gptproxy.api.calls import Calls
from gptproxy.api.gate import Gate
from gptproxy.api.request_id import REQUEST_ID, new_request_id
from gptproxy.call_record import CallRecord
from gptproxy.http import (
    Fields,
    Relay,
    RelayBroken,
    Response,
    abort_answer,
    answer_whole,
    begin_answer,
    fields_of,
    is_event_stream,
    relay_body,
    when_lost,
)
from gptproxy.tracing import Span
from gptproxy.upstream import HeldAnswer, NoUpstreamAnswer, UpstreamAnswer, Usage, usage_of
from gptproxy.wire import Refusal

__all__ = ["Exchange"]

CLIENT_CLOSED_REQUEST = 499
"""What the access line says when the caller left before the answer: nginx's number for it."""

_NO_BYTES = b""

_JSON = (b"content-type", b"application/json")

# Python's table, because twisted.web has no word for 429.
_PHRASES = {int(status): status.phrase.encode() for status in HTTPStatus}

_ACCESS_LOG_ALONE = Calls()


class Exchange:
    """
    :param request: the caller's request.
    :param route: OpenAI's path, for the access line.
    :param clock: for durations and the relay's idle time.
    :param calls: who is told when it ends; None: the access log alone.

    :ivar request_id: the call's id.
    :ivar fields: the request's field lines, names in lower case.
    :ivar query: the target's query as sent.
    :ivar caller: for the access line: who is calling, once that is known.
    :ivar model: for the access line: the model's name, once it is known.
    :ivar topics: for the access line: the topics that the call is about, by commas.
    :ivar passages: for the access line: how many passages went in.
    :ivar extra_fields: field lines that gptproxy adds to the answer.
    :ivar gate: by which the call came in.
    """

    _log = Logger()

    def __init__(
        self, request: Request, route: str, clock: IReactorTime, calls: Calls | None = None
    ) -> None:
        self.request = request
        self.route = route
        self.request_id = new_request_id()
        self.fields: Fields = fields_of(request)
        self.query: bytes = request.uri.partition(b"?")[2]
        self.caller = "-"
        self.model = "-"
        self.topics = "-"
        self.passages = 0
        self.extra_fields: list[tuple[bytes, bytes]] = []
        self.gate: Gate | None = None
        self._clock = clock
        self._started = clock.seconds()
        self._first_byte: float | None = None
        self._upstream = "-"
        self._attempts = 0
        self._error = "-"
        # The answer's last bytes, which tell what it cost; read by whoever asks.
        self._answer_end: bytes | bytearray = _NO_BYTES
        self._gone = False
        self._left: Callable[[], None] | None = None
        self._relay: Relay | None = None
        self._calls = calls = _ACCESS_LOG_ALONE if calls is None else calls
        calls.open += 1
        self._span: Span | None = None
        if calls.tracer is not None:
            self._span = calls.tracer.begin(self._method, route, self.fields)
            self.fields = self._span.fields
        # Asked for at once: asked for after the loss it never comes.
        when_lost(request, self._caller_left)

    def refuse(self, refusal: Refusal) -> None:
        """
        Answer with gptproxy's own words.

        :param refusal: what to say.
        """
        self._error = refusal.code or str(refusal.status)
        if isinstance(refusal, NoUpstreamAnswer):
            self._upstream, self._attempts = refusal.upstream, refusal.attempts
        if refusal.cause:
            self._log.warn(
                "{request_id}: {status}: {cause}",
                request_id=self.request_id,
                status=refusal.status,
                cause=refusal.cause,
            )
        self._whole(refusal.status, (_JSON, *refusal.headers), refusal.body())

    def answer_json(self, content: object) -> None:
        """
        Answer 200 with gptproxy's own content.

        :param content: what orjson can write.
        """
        self._whole(200, (_JSON,), orjson.dumps(content))

    async def relay(
        self,
        answer: UpstreamAnswer,
        stream_idle_seconds: float,
        heartbeat_seconds: float | None = None,
    ) -> None:
        """
        Hand an upstream's answer to the caller.

        :param answer: the answer.
        :param stream_idle_seconds: how long nothing may move.
        :param heartbeat_seconds: how long a stream of events may be silent before a comment line is sent; None sends
            none.
        """
        self._upstream, self._attempts = answer.upstream, answer.attempts
        self.extra_fields += (
            (b"x-gptproxy-upstream", answer.upstream.encode()),
            (b"x-gptproxy-attempts", b"%d" % answer.attempts),
        )
        response = answer.answer
        if isinstance(response, HeldAnswer):
            self._whole(response.status, answer.fields, response.body)
            return
        if self._gone:
            response.abandon()
            return
        body = response.take_whole()
        if body is None:
            await self._relay_live(response, answer.fields, stream_idle_seconds, heartbeat_seconds)
            return
        self._answer_end = body
        self._whole(response.code, answer.fields, body, response.phrase)

    async def _relay_live(
        self,
        response: Response,
        fields: Fields,
        stream_idle_seconds: float,
        heartbeat_seconds: float | None,
    ) -> None:
        length = response.length if isinstance(response.length, int) else None
        is_stream = is_event_stream(fields)
        # In a body of known length one more event, or a comment, could be taken for its end.
        may_add = is_stream and length is None
        if is_stream:
            # A reverse proxy in front would otherwise gather events (nginx reads this header).
            fields = (*fields, (b"x-accel-buffering", b"no"))
        # The status and headers go out now; a stream's first event may be long in coming.
        self._first_byte = self._clock.seconds()
        begin_answer(
            self.request,
            response.code,
            response.phrase or _phrase(response.code),
            self._fields(fields),
            length,
        )
        if self.request.method == b"HEAD":
            response.abandon()
            self.request.finish()
            return
        self._relay = relay = relay_body(
            response,
            self.request,
            self._clock,
            stream_idle_seconds,
            heartbeat_seconds if may_add else None,
        )
        self._answer_end = relay.tail
        self._calls.streams += is_stream
        try:
            await relay.result
        except RelayBroken as broken:
            self._break_off(broken, may_add=may_add and relay.between_events)
            return
        finally:
            self._calls.streams -= is_stream
        self.request.finish()

    def _break_off(self, broken: RelayBroken, *, may_add: bool) -> None:
        """The answer cannot be completed: its end must look like none, or clients take it for whole."""
        error = STOPPED if broken.cause.check(GatewayStopped) else BROKEN_OFF
        self._error = error.code or "-"
        self._log.error(
            "{request_id}: upstream {upstream}: {trouble}",
            request_id=self.request_id,
            upstream=self._upstream,
            trouble=str(broken),
        )
        if may_add:
            self.request.write(broken_off_event(self.route, self._answer_end, error))
        abort_answer(self.request)

    @property
    def raw_segments(self) -> list[str]:
        """The path's segments as the caller wrote them; a trailing slash makes none."""
        path: bytes = self.request.uri.partition(b"?")[0]
        return [segment.decode("latin-1") for segment in path.split(b"/") if segment]

    @property
    def address(self) -> str:
        """The peer's IP address as text; empty where it has none, as at a Unix socket."""
        return getattr(self.request.getClientAddress(), "host", "") or ""

    @property
    def usage(self) -> Usage | None:
        """The tokens that the call cost, as its answer has told so far; it is read when this is asked for."""
        return usage_of(self._answer_end) if self._answer_end else None

    @property
    def events(self) -> int:
        """How many events the answer had so far, if it is a stream."""
        return self._relay.events if self._relay is not None else 0

    @property
    def over(self) -> bool:
        """Nothing more can be said to the caller: the answer is complete, or nobody is there."""
        return self._gone or bool(self.request.finished)

    def when_left(self, call: Callable[[], None]) -> None:
        """
        :param call: what to call when the caller leaves before the answer is complete.
        """
        if self._gone:
            call()
        else:
            self._left = call

    def cut(self) -> None:
        """End the call now, because the process ends: by a refusal, or by an event where an answer has begun."""
        if not self.over:
            if self._relay is not None:
                self._relay.break_off(GatewayStopped())
            else:
                self.refuse(STOPPED.again())
        left, self._left = self._left, None
        if left is not None:
            left()

    def end(self) -> None:
        """Tell what came of the call, to the log and whoever counts: once, when nothing more is said to the caller."""
        usage = self.usage
        first_byte = self._first_byte
        record = CallRecord(
            self.request_id,
            self.caller,
            self._method,
            self.route,
            self.model,
            self._upstream,
            self._attempts,
            CLIENT_CLOSED_REQUEST if self._gone else self.request.code,
            self.request.sentLength,
            self._clock.seconds() - self._started,
            None if first_byte is None else first_byte - self._started,
            None if usage is None else usage.input_tokens,
            None if usage is None else usage.output_tokens,
            self.topics,
            self.passages,
            self._error,
            time.time(),
        )
        if self._span is not None:
            self._span.end(record)
        self._calls.end(record)

    @property
    def _method(self) -> str:
        return self.request.method[:16].decode("ascii", "backslashreplace")

    def _fields(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """:return: the answer's field lines, ours behind them."""
        return [*fields, *self.extra_fields, (REQUEST_ID, self.request_id.encode())]

    def _whole(
        self,
        status: int,
        fields: Iterable[tuple[bytes, bytes]],
        body: bytes,
        reason: bytes = b"",
    ) -> None:
        if not self._gone:
            self._first_byte = self._clock.seconds()
            answer_whole(
                self.request, status, reason or _phrase(status), self._fields(fields), body
            )

    def _caller_left(self) -> None:
        self._gone = True
        left, self._left = self._left, None
        if left is not None:
            left()


def _phrase(status: int) -> bytes:
    """:return: what HTTP calls a status; nothing for one of somebody's own."""
    return _PHRASES.get(status, b"")
