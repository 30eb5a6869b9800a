"""
One call from its headers to its last byte: who asked, what is answered, what the access line says of it.

May import the access, upstream, HTTP and wire rooms and Twisted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from http import HTTPStatus
from itertools import count

import orjson
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.server import Request

from gptproxy.api.access_line import write_access_line
from gptproxy.http import (
    Fields,
    RelayBroken,
    Response,
    abort_answer,
    answer_whole,
    begin_answer,
    fields_of,
    relay_body,
    when_lost,
)
from gptproxy.upstream import HeldAnswer, NoUpstreamAnswer, UpstreamAnswer
from gptproxy.wire import Refusal

__all__ = ["Exchange", "new_request_id", "refusal_page"]

REQUEST_ID = b"x-gptproxy-request-id"

CLIENT_CLOSED_REQUEST = 499
"""What the access line says when the caller left before the answer: nginx's number for it."""

_EVENT_ENDS = (b"\n\n", b"\r\r", b"\r\n\r\n")

_JSON = (b"content-type", b"application/json")

# Python's table, because twisted.web has no word for 429.
_PHRASES = {int(status): status.phrase.encode() for status in HTTPStatus}

_PROCESS = secrets.token_hex(6)
_numbers = count(1)


def new_request_id() -> str:
    """:return: an id that no other call of this or another process has."""
    return f"{_PROCESS}-{next(_numbers):x}"


def refusal_page(status: int, reason: str) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """
    Word what the HTTP room refuses before any resource is found; the Site's
    :data:`~gptproxy.http.site.RefusalPage`.

    :param status: status code.
    :param reason: one sentence.
    :return: headers, and the body in OpenAI's error form.
    """
    headers = ((b"content-type", b"application/json"), (REQUEST_ID, new_request_id().encode()))
    return headers, Refusal(status, reason).body()


class Exchange:
    """
    :param request: the caller's request.
    :param route: OpenAI's path, for the access line.
    :param clock: for durations and the relay's idle time.

    :ivar request_id: the call's id.
    :ivar fields: the request's field lines, names in lower case.
    :ivar query: the target's query as sent.
    :ivar caller: for the access line: who is calling, once that is known.
    :ivar model: for the access line: the model's name, once it is known.
    :ivar extra_fields: field lines that gptproxy adds to the answer.
    """

    _log = Logger()

    def __init__(self, request: Request, route: str, clock: IReactorTime) -> None:
        self.request = request
        self.route = route
        self.request_id = new_request_id()
        self.fields: Fields = fields_of(request)
        self.query: bytes = request.uri.partition(b"?")[2]
        self.caller = "-"
        self.model = "-"
        self.extra_fields: list[tuple[bytes, bytes]] = []
        self._clock = clock
        self._started = clock.seconds()
        self._upstream = "-"
        self._attempts = 0
        self._gone = False
        self._left: Callable[[], None] | None = None
        # Asked for at once: asked for after the loss it never comes.
        when_lost(request, self._caller_left)

    def refuse(self, refusal: Refusal) -> None:
        """
        Answer with gptproxy's own words.

        :param refusal: what to say.
        """
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

    async def relay(self, answer: UpstreamAnswer, stream_idle_seconds: float) -> None:
        """
        Hand an upstream's answer to the caller.

        :param answer: the answer.
        :param stream_idle_seconds: how long nothing may move.
        """
        self._upstream, self._attempts = answer.upstream, answer.attempts
        self.extra_fields += (
            (b"x-gptproxy-upstream", answer.upstream.encode()),
            (b"x-gptproxy-attempts", b"%d" % answer.attempts),
        )
        if isinstance(answer.answer, HeldAnswer):
            self._whole(answer.answer.status, answer.fields, answer.answer.body)
            return
        await self._relay_live(answer.answer, answer.fields, stream_idle_seconds)

    async def _relay_live(
        self, response: Response, fields: Fields, stream_idle_seconds: float
    ) -> None:
        if self._gone:
            response.abandon()
            return
        body = response.take_whole()
        if body is not None:
            self._whole(response.code, fields, body, response.phrase)
            return
        length = response.length if isinstance(response.length, int) else None
        is_stream = any(
            name == b"content-type" and value.lower().startswith(b"text/event-stream")
            for name, value in fields
        )
        if is_stream:
            # A reverse proxy in front would otherwise gather events (nginx reads this header).
            fields = (*fields, (b"x-accel-buffering", b"no"))
        # The status and headers go out now; a stream's first event may be long in coming.
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
        try:
            await relay_body(response, self.request, self._clock, stream_idle_seconds)
        except RelayBroken as broken:
            # In a body of known length one more event could be taken for its end.
            self._break_off(broken, may_add=is_stream and length is None)
            return
        self.request.finish()

    def _break_off(self, broken: RelayBroken, *, may_add: bool) -> None:
        """The answer cannot be completed: its end must look like none, or clients take it for whole."""
        self._log.error(
            "{request_id}: upstream {upstream}: {trouble}",
            request_id=self.request_id,
            upstream=self._upstream,
            trouble=str(broken),
        )
        if may_add and (not broken.tail or broken.tail.endswith(_EVENT_ENDS)):
            error = Refusal(
                502,
                "The model's server broke off its answer: send the request again.",
                error_type="server_error",
                code="upstream_broke_off",
            )
            self.request.write(b"data: " + error.body() + b"\n\n")
        abort_answer(self.request)

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

    def write_access_line(self) -> None:
        """Say in the log what came of the call."""
        write_access_line(
            request_id=self.request_id,
            caller=self.caller,
            method=self.request.method[:16].decode("ascii", "backslashreplace"),
            route=self.route,
            model=self.model,
            upstream=self._upstream,
            attempts=self._attempts,
            status=CLIENT_CLOSED_REQUEST if self._gone else self.request.code,
            sent=self.request.sentLength,
            seconds=self._clock.seconds() - self._started,
        )

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
