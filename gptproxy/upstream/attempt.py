"""
One attempt: a call sent to one upstream, and what came of it.

May import the upstream, HTTP, config and wire rooms and Twisted.
"""

from __future__ import annotations

from attrs import field, frozen
from OpenSSL.SSL import Error as TLSError
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from gptproxy.config import StreamSettings
from gptproxy.http import (
    Agent,
    BytesBody,
    ConnectFailed,
    FirstByteTimeout,
    MalformedMessage,
    Response,
    ResponseNeverReceived,
    ResponseTooLarge,
    collect_body,
)
from gptproxy.upstream.addressing import outgoing
from gptproxy.upstream.call import Call, HeldAnswer, Target
from gptproxy.upstream.entra import EntraTokens, NoToken
from gptproxy.upstream.holding import BrokenOff, Intercepted, hold
from gptproxy.upstream.judgement import Judgement, Meaning, judge
from gptproxy.wire import Refusal

__all__ = ["Attempts", "Failed"]

ERROR_LIMIT_BYTES = 1_048_576
"""Bound on an error that is held to be judged; Azure's longest are a few KiB."""

ERROR_SECONDS = 30.0
"""How long such an error may take behind its headers."""

_TIMED_OUT = (FirstByteTimeout, defer.TimeoutError)

_NO_ANSWER = (
    *_TIMED_OUT,
    ConnectFailed,
    ConnectionClosed,
    ConnectionLost,
    MalformedMessage,
    ResponseNeverReceived,
    ResponseTooLarge,
    TLSError,
)

# What must not be done twice is sent again on these. 429 and 503: the upstream takes no work now. The key refused, the
# resource blocked, the deployment gone: turned away at the door, and never the caller's fault. Of the 400s only the
# filter's goes on, and an interception is exempt by its meaning; of the 404s only DeploymentNotFound goes on.
_REFUSED_BEFORE_WORK = frozenset((401, 403, 404, 429, 503))

_FINAL_WORD = ((b"x-should-retry", b"false"),)


@frozen
class Failed:
    """
    An attempt that did not bring the answer, or brought an error.

    :param target: whom was asked.
    :param judgement: what it means.
    :param answer: what came, or the refusal that stands for what did not.
    :param untouched: the upstream surely did not work on the call.
    :param sick: it speaks against the upstream's health.
    :param spent: the call's body was streamed and is gone.
    """

    target: Target
    judgement: Judgement
    answer: Response | HeldAnswer | Refusal = field(repr=False)
    untouched: bool = False
    sick: bool = False
    spent: bool = False

    @property
    def status(self) -> int:
        """What the upstream answered; 0 where it did not."""
        if isinstance(self.answer, HeldAnswer):
            return self.answer.status
        return self.answer.code if isinstance(self.answer, Response) else 0

    def drop(self) -> None:
        """The caller gets another answer."""
        if isinstance(self.answer, Response):
            self.answer.abandon()


@implementer(IBodyProducer)
class _SentOnce:
    """
    The body of a call that must not be worked on twice. A :class:`~gptproxy.http.BytesBody` the agent sends once more
    by itself when a kept connection ends without an answer; the upstream may have got it all the same.
    """

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All was written at once."""

    resumeProducing = pauseProducing
    stopProducing = pauseProducing


class Attempts:
    """
    :param agent: sends.
    :param clock: for the bounds on errors.
    :param stream: how answers are held back.
    :param tokens: of the upstreams that take no key.
    """

    def __init__(
        self, agent: Agent, clock: IReactorTime, stream: StreamSettings, tokens: EntraTokens | None
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._stream = stream
        self._tokens = tokens

    async def make(self, call: Call, target: Target, *, own_key: bool) -> Response | Failed:
        """
        :param call: what is asked.
        :param target: of whom.
        :param own_key: the key is the caller's own.
        :return: the answer, live, of which the caller may see all; or what went wrong. Cancelling this drops what is
            under way.
        """
        request = outgoing(call, target)
        entra = target.upstream.entra
        if entra is not None:
            if self._tokens is None:
                raise RuntimeError(
                    "an upstream has [upstream.entra], and nobody fetches its tokens"
                )
            try:
                token = await self._tokens.token(target.upstream.name, entra)
            except NoToken as none:
                return _without_token(call, target, none)
            request.fields.append((b"authorization", b"Bearer " + token))
        try:
            response = await self._agent.ask(
                call.method,
                request.origin,
                request.target,
                request.fields,
                _producer(call, request.body),
            )
            if response.code < 300:
                held = await hold(call, response, self._clock, self._stream)
                return held if isinstance(held, Response) else _held(call, target, held)
            if response.code < 400:
                # The API redirects nobody, so this is no API; the caller is sent nowhere, nor is the key.
                response.abandon()
                judgement = Judgement(Meaning.ELSEWHERE, "answers with a redirection")
                return _failed(call, target, judgement, _redirects(response.code))
            collecting = collect_body(response, ERROR_LIMIT_BYTES)
            collecting.addTimeout(ERROR_SECONDS, self._clock)
            body = await collecting
        except _NO_ANSWER as error:
            return _no_answer(call, target, error)
        answer = HeldAnswer(response.code, response.fields, body)
        judgement = judge(answer, own_key=own_key)
        if (
            answer.status == 401
            and entra is not None
            and self._tokens is not None
            and self._tokens.refused(target.upstream.name, token)
        ):
            judgement = Judgement(Meaning.AT_ONCE, "refuses the token: another is fetched")
        return Failed(
            target,
            judgement,
            answer,
            untouched=answer.status in _REFUSED_BEFORE_WORK,
            sick=answer.status >= 500 and judgement.meaning is Meaning.AGAIN,
            spent=call.upload is not None,
        )


def _producer(call: Call, body: bytes | None) -> IBodyProducer | None:
    if call.upload is not None:
        return call.upload
    if body is None:
        # The agent sends a request without a body once more by itself, as one with a BytesBody.
        return None if call.repeatable or call.method != b"POST" else _SentOnce(b"")
    return BytesBody(body) if call.repeatable else _SentOnce(body)


def _held(call: Call, target: Target, held: Intercepted | BrokenOff) -> Failed:
    """:return: an answer with status 200 that the caller had better not get."""
    if isinstance(held, Intercepted):
        judgement = Judgement(Meaning.FILTERED, "intercepts the answer by its content filter")
        return _failed(call, target, judgement, held.answer)
    meaning = Meaning.BROKEN if held.retryable else Meaning.ELSEWHERE
    judgement = Judgement(meaning, f"broke its answer off: {held.reason}")
    return Failed(
        target,
        judgement,
        held.answer or _broke_off(held.reason),
        sick=held.retryable,
        spent=call.upload is not None,
    )


def _failed(call: Call, target: Target, judgement: Judgement, answer: Response | Refusal) -> Failed:
    return Failed(target, judgement, answer, spent=call.upload is not None)


def _no_answer(call: Call, target: Target, error: Exception) -> Failed:
    timed_out = isinstance(error, _TIMED_OUT)
    unconnected = isinstance(error, ConnectFailed)
    cause = f"{type(error).__name__}: {error}"
    return Failed(
        target,
        Judgement(Meaning.AGAIN if timed_out else Meaning.AT_ONCE, cause),
        _unreached(timed_out, cause),
        untouched=unconnected,
        sick=True,
        # The agent takes nothing of a body before it is connected.
        spent=call.upload is not None and not unconnected,
    )


def _without_token(call: Call, target: Target, none: NoToken) -> Failed:
    refusal = Refusal(
        502,
        "The gateway cannot log in at the model's server: tell the gateway's operator.",
        error_type="server_error",
        code="upstream_credentials_refused",
        headers=_FINAL_WORD,
        cause=str(none),
    )
    return Failed(target, Judgement(Meaning.ELSEWHERE, str(none)), refusal, untouched=True)


def _unreached(timed_out: bool, cause: str) -> Refusal:
    return Refusal(
        504 if timed_out else 502,
        "The model's server did not answer in time: try again later."
        if timed_out
        else "The model's server cannot be reached: try again later.",
        error_type="server_error",
        code="upstream_timeout" if timed_out else "upstream_unreachable",
        headers=_FINAL_WORD,
        cause=cause,
    )


def _broke_off(reason: str) -> Refusal:
    return Refusal(
        502,
        "The model's server broke off its answer: try again later.",
        error_type="server_error",
        code="upstream_broke_off",
        headers=_FINAL_WORD,
        cause=reason,
    )


def _redirects(status: int) -> Refusal:
    return Refusal(
        502,
        "The model's server answered with a redirection: tell the gateway's operator.",
        error_type="server_error",
        code="upstream_redirects",
        headers=_FINAL_WORD,
        cause=f"answered {status}: its url in the configuration is not the API's",
    )
