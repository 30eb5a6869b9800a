"""
What tests of calling others give in place of the network: an agent that follows a script.

Used by the tests of the access and upstream rooms and of own calls. It answers with the HTTP room's own
:class:`~gptproxy.http.Response`, so that bodies are taken as in earnest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from gptproxy.http import BytesBody, Origin, Response, split_url
from gptproxy.http.flow import ReadSide
from gptproxy.http.grammar import ResponseHead
from gptproxy.http.interfaces import IConnection
from gptproxy.http.response import BodyTransport, ClientRequest

Field = tuple[bytes, bytes]


@frozen
class Asked:
    """One request as the agent got it."""

    method: bytes
    origin: Origin
    target: bytes
    fields: tuple[Field, ...]
    body: bytes | None
    producer: IBodyProducer | None

    def values(self, name: bytes) -> list[bytes]:
        """:return: the values of a field."""
        return [value for given, value in self.fields if given == name]


@frozen
class Answer:
    """
    What the server says.

    :param end: why the body ends; None: it does not end.
    """

    status: int = 200
    body: bytes = b""
    fields: tuple[Field, ...] = ()
    end: Exception | None = field(factory=ResponseDone)


class _Connection:
    """What a body's transport is read from; pausing it means nothing here."""

    def pauseProducing(self) -> None:
        """Nothing."""

    def resumeProducing(self) -> None:
        """Nothing."""


class _Gathered:
    """Takes what a producer writes."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


Step = Answer | Exception | None
"""An answer, a failure, or nothing at all until it is given up."""


@implementer(IAgent)
class ScriptedAgent:
    """
    :param script: what comes of each request in turn, or a function of the request.

    :ivar asked: the requests.
    :ivar dropped: how often a request or an answer's body was given up.
    """

    def __init__(self, script: Iterable[Step] | Callable[[Asked], Step]) -> None:
        self._script = script if callable(script) else iter(script)
        self.asked: list[Asked] = []
        self.dropped = 0
        self.responses: list[Response] = []

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        origin, target = split_url(uri)
        fields = [
            (name.lower(), value)
            for name, values in (headers or Headers()).getAllRawHeaders()
            for value in values
        ]
        return cast(
            "Deferred[IResponse]",
            Deferred.fromCoroutine(self.ask(method, origin, target, fields, bodyProducer)),
        )

    async def ask(
        self,
        method: bytes,
        origin: Origin,
        target: bytes,
        fields: Iterable[tuple[bytes, bytes]],
        body: IBodyProducer | None = None,
    ) -> Response:
        gathered = _Gathered()
        if body is not None:
            await body.startProducing(cast(IConsumer, gathered))
            assert body.length == len(gathered.data)
        asked = Asked(
            method, origin, target, tuple(fields), gathered.data if body is not None else None, body
        )
        self.asked.append(asked)
        step = self._script(asked) if callable(self._script) else next(self._script)
        if isinstance(step, Exception):
            raise step
        if step is None:
            return await self._never()
        return self._response(asked, step)

    def _never(self) -> Deferred[Response]:
        return Deferred(lambda _: self._drop())

    def _drop(self) -> None:
        self.dropped += 1

    def _response(self, asked: Asked, answer: Answer) -> Response:
        length = len(answer.body) if isinstance(answer.end, ResponseDone) else None
        response = Response(
            ResponseHead(answer.status, b"", 1, answer.fields),
            length,
            ClientRequest(asked.method, asked.target, Headers()),
            BodyTransport(ReadSide(cast(IConnection, _Connection())), self._drop),
        )
        self.responses.append(response)
        if answer.body:
            response.body_piece(answer.body)
        if answer.end is not None:
            response.body_ended(Failure(answer.end))
        return response


def is_sent_again_by_the_agent(asked: Asked) -> bool:
    """:return: the real agent would send this body once more on a fresh connection."""
    return isinstance(asked.producer, BytesBody)


def leaks(secret: str, *things: object) -> bool:
    """:return: 8 characters in a row of the secret are in what any of these shows of itself."""
    shown = "\n".join(f"{thing!r} {thing!s}" for thing in things)
    return any(secret[start : start + 8] in shown for start in range(max(1, len(secret) - 7)))
