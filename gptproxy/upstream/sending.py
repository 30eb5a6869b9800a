"""
A call carried out: sent, judged, sent again or elsewhere, until there is an answer for the caller.

May import the upstream, HTTP, config and wire rooms and Twisted. What to do next is decided in
:mod:`gptproxy.upstream.decision`; here it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import frozen
from OpenSSL.SSL import Error as TLSError
from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from gptproxy.config import RetrySettings
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
from gptproxy.upstream.call import (
    Call,
    HeldAnswer,
    NoUpstreamAnswer,
    Target,
    UpstreamAnswer,
)
from gptproxy.upstream.decision import AnswerWith, Outcome, Plan, WaitThenSendTo, next_action
from gptproxy.upstream.fields import fields_down
from gptproxy.upstream.judgement import Meaning, meaning_of, retry_after_seconds
from gptproxy.wire import Refusal

__all__ = ["Sender"]

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


@frozen
class _Attempt:
    """
    :param target: whom was asked.
    :param outcome: what it means.
    :param answer: what came, or the refusal that stands for what did not.
    """

    target: Target
    outcome: Outcome
    answer: Response | HeldAnswer | Refusal


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


class Sender:
    """
    :param agent: sends.
    :param clock: for the waits and the budget.
    :param random: a number from 0 to 1, for the waits.
    :param retry: the bounds.
    """

    _log = Logger()

    def __init__(
        self,
        agent: Agent,
        clock: IReactorTime,
        random: Callable[[], float],
        retry: RetrySettings,
    ) -> None:
        self._agent = agent
        self._clock = clock
        self._random = random
        self._retry = retry

    async def send(
        self, call: Call, targets: Sequence[Target], *, own_key: bool, request_id: str
    ) -> UpstreamAnswer:
        """
        :param call: what is asked.
        :param targets: of whom, in order.
        :param own_key: the key is the caller's own: what the upstream says about it goes back unchanged.
        :param request_id: for the log.
        :return: the answer. Cancelling this at any moment drops what is under way.
        :raise NoUpstreamAnswer: 502 or 504, when no upstream gave one.
        """
        plan = Plan(len(targets), self._retry, call.repeatable, self._clock.seconds())
        attempt = await self._attempt(call, targets[0], 0, own_key)
        attempts = [attempt]
        # Nearly always the first attempt is the last, and there is nothing to decide.
        while attempt.outcome.meaning is not Meaning.FINAL:
            self._tell(attempt, len(attempts), request_id)
            action = next_action(
                plan, [made.outcome for made in attempts], self._clock.seconds(), self._random
            )
            if isinstance(action, AnswerWith):
                attempt = attempts[action.outcome]
                break
            if isinstance(action, WaitThenSendTo):
                await deferLater(self._clock, action.seconds)
            attempt = await self._attempt(call, targets[action.target], action.target, own_key)
            attempts.append(attempt)
        return self._answer(attempt, len(attempts), own_key=own_key)

    def _tell(self, attempt: _Attempt, number: int, request_id: str) -> None:
        """Tell the operator; what sends the call elsewhere is theirs to mend."""
        elsewhere = attempt.outcome.meaning is Meaning.ELSEWHERE
        self._log.emit(
            LogLevel.error if elsewhere else LogLevel.warn,
            "{request_id}: upstream {upstream}: {trouble} (attempt {number})",
            request_id=request_id,
            upstream=attempt.target.upstream.name,
            trouble=_trouble(attempt),
            number=number,
        )

    async def _attempt(self, call: Call, target: Target, index: int, own_key: bool) -> _Attempt:
        request = outgoing(call, target)
        producer = BytesBody(request.body) if call.repeatable else _SentOnce(request.body)
        try:
            response = await self._agent.ask(
                b"POST", request.origin, request.target, request.fields, producer
            )
            if response.code < 300:
                return _Attempt(target, Outcome(index, Meaning.FINAL), response)
            if response.code < 400:
                # The API redirects nobody, so this is no API; the caller is sent nowhere, nor is the key.
                response.abandon()
                return _Attempt(
                    target, Outcome(index, Meaning.ELSEWHERE), _redirects(response.code)
                )
            collecting = collect_body(response, ERROR_LIMIT_BYTES)
            collecting.addTimeout(ERROR_SECONDS, self._clock)
            body = await collecting
        except _NO_ANSWER as error:
            return _Attempt(target, _outcome_of(index, error), _refusal_for(error))
        held = HeldAnswer(response.code, response.fields, body)
        outcome = Outcome(
            index,
            meaning_of(held, own_key=own_key),
            untouched=held.status in (429, 503),
            retry_after=retry_after_seconds(held.fields),
        )
        return _Attempt(target, outcome, held)

    def _answer(self, attempt: _Attempt, attempts: int, *, own_key: bool) -> UpstreamAnswer:
        answer = attempt.answer
        name = attempt.target.upstream.name
        if isinstance(answer, Refusal):
            raise NoUpstreamAnswer(answer, name, attempts)
        fields = fields_down(answer.fields)
        if isinstance(answer, HeldAnswer):
            if answer.status in (401, 403) and not own_key:
                raise NoUpstreamAnswer(_key_refused(), name, attempts)
            if attempt.outcome.meaning is not Meaning.FINAL:
                # What could be done was done; clients would multiply it by their own retries.
                fields = [field for field in fields if field[0] != b"x-should-retry"]
                fields.append((b"x-should-retry", b"false"))
        return UpstreamAnswer(name, attempts, answer, tuple(fields))


def _outcome_of(index: int, error: Exception) -> Outcome:
    if isinstance(error, ConnectFailed):
        return Outcome(index, Meaning.AT_ONCE, untouched=True)
    if isinstance(error, _TIMED_OUT):
        return Outcome(index, Meaning.AGAIN)
    return Outcome(index, Meaning.AT_ONCE)


def _refusal_for(error: Exception) -> Refusal:
    timed_out = isinstance(error, _TIMED_OUT)
    return Refusal(
        504 if timed_out else 502,
        "The model's server did not answer in time: try again later."
        if timed_out
        else "The model's server cannot be reached: try again later.",
        error_type="server_error",
        code="upstream_timeout" if timed_out else "upstream_unreachable",
        headers=((b"x-should-retry", b"false"),),
        cause=f"{type(error).__name__}: {error}",
    )


def _redirects(status: int) -> Refusal:
    return Refusal(
        502,
        "The model's server answered with a redirection: tell the gateway's operator.",
        error_type="server_error",
        code="upstream_redirects",
        headers=((b"x-should-retry", b"false"),),
        cause=f"answered {status}: its url in the configuration is not the API's",
    )


def _key_refused() -> Refusal:
    return Refusal(
        502,
        "The model's server refuses the gateway's own credentials: tell the gateway's operator.",
        error_type="server_error",
        code="upstream_credentials_refused",
        headers=((b"x-should-retry", b"false"),),
    )


def _trouble(attempt: _Attempt) -> str:
    """:return: what happened, for the log; nothing of the answer's body."""
    if isinstance(attempt.answer, Refusal):
        return attempt.answer.cause
    status = attempt.answer.status if isinstance(attempt.answer, HeldAnswer) else 0
    what = "refuses the key" if status in (401, 403) else attempt.outcome.meaning.name.lower()
    return f"status {status}, {what}"
