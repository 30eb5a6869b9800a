"""
Calls that gptproxy makes for itself (to GitLab, for embeddings, for lists of models), tried again when that helps.

May import the HTTP room, treq and Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy

from attrs import field, frozen
from OpenSSL.SSL import Error as TLSError
from treq.client import HTTPClient
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.client import ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from gptproxy.http.agent import ConnectFailed
from gptproxy.http.client_connection import FirstByteTimeout, ResponseNeverReceived
from gptproxy.http.collecting import ResponseTooLarge, collect_body
from gptproxy.http.grammar import MalformedMessage
from gptproxy.http.request_producer import BytesBody
from gptproxy.http.retry_after import asked_seconds

__all__ = ["NoAnswer", "OwnAnswer", "OwnCalls", "backoff_seconds"]

_NETWORK_TROUBLE = (
    ConnectFailed,
    ConnectionClosed,
    ConnectionLost,
    FirstByteTimeout,
    MalformedMessage,
    ResponseFailed,
    ResponseNeverReceived,
    TLSError,
    defer.TimeoutError,
)

LONGEST_SECONDS = 1e9
"""What a server may ask to wait; timers take no more."""

_WORTH_ANOTHER_TRY = frozenset((408, 429, 500, 502, 503, 504))


class NoAnswer(Exception):
    """
    No answer could be had, for reasons of the network or of the server's speech.

    :param cause: the last attempt's failure, by name; nothing secret.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@frozen
class OwnAnswer:
    """
    A whole answer.

    :param status: HTTP status code.
    :param body: its body, decompressed if the server compressed it.
    :param retry_after: the Retry-After header as sent, or None.
    :param link: the Link header as sent (RFC 8288), or None.
    :param location: the Location header as sent, or None.
    :param retry_after_ms: the retry-after-ms header as sent, or None.
    :param date: the Date header as sent, or None.
    """

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None
    link: str | None = None
    location: str | None = None
    retry_after_ms: str | None = None
    date: str | None = None

    def wait_seconds(self) -> float:
        """:return: what the server asks to wait, in seconds (RFC 9110 10.2.3); 0 where it does not."""
        asked = asked_seconds(self.retry_after_ms or "", self.retry_after or "", self.date or "")
        return min(asked or 0.0, LONGEST_SECONDS)


def backoff_seconds(
    attempt: int, *, first_seconds: float, longest_seconds: float, random: Callable[[], float]
) -> float:
    """
    How long to wait before another try: drawn evenly from 0 to a bound that doubles ("full jitter"), so that many
    callers who failed together do not come back together.

    :param attempt: how many were made, 1 or more.
    :param first_seconds: the bound after the first.
    :param longest_seconds: what the doubling stops at.
    :param random: a number from 0 to 1.
    :return: seconds.
    """
    # The exponent is bounded so that no attempt's number makes a float overflow.
    return random() * min(longest_seconds, first_seconds * 2.0 ** min(attempt - 1, 60))


class OwnCalls:
    """
    treq over our agent, without cookies and without redirections, with a bound on time, size and number of attempts.

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
        # Cookies of one server are nothing to another (GHSA-92x2-jw7w-xvvx); this jar takes none.
        jar = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        # treq 26.7 asks for its own subclass, whose one addition is that it can be indexed; nobody does that here.
        self._client = HTTPClient(agent, cookiejar=jar)  # type: ignore[arg-type]  # see above
        self._clock = clock
        self._random = random
        self._attempts = attempts

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        limit_bytes: int,
        total_seconds: float,
    ) -> OwnAnswer:
        """
        Ask until there is an answer that another attempt would not change. What another attempt must wait for longer
        than there is time, it does not wait for.

        :param method: the method.
        :param url: an absolute URL.
        :param headers: the fields.
        :param body: the body.
        :param limit_bytes: bound on the answer's body.
        :param total_seconds: bound on everything: attempts and the waits between them.
        :return: the answer, whatever its status.
        :raise NoAnswer: there was none in time, or it was no HTTP, or too large.
        """
        deadline = self._clock.seconds() + total_seconds
        everything = Deferred.fromCoroutine(
            self._until_settled(method, url, headers, body, limit_bytes, deadline)
        )
        everything.addTimeout(total_seconds, self._clock)
        try:
            return await everything
        except _NETWORK_TROUBLE as trouble:
            # What a failure to connect says is where to and why not.
            known = isinstance(trouble, ConnectFailed)
            raise NoAnswer(str(trouble) if known else type(trouble).__name__) from trouble
        except ResponseTooLarge as too_large:
            raise NoAnswer("ResponseTooLarge") from too_large

    async def _until_settled(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limit: int,
        deadline: float,
    ) -> OwnAnswer:
        attempt = 1
        while True:
            wait = backoff_seconds(
                attempt, first_seconds=0.5, longest_seconds=8.0, random=self._random
            )
            try:
                answer = await self.attempt(method, url, headers, body, limit, deadline)
            except _NETWORK_TROUBLE:
                if self._is_last(attempt, wait, deadline):
                    raise
            else:
                wait = max(wait, answer.wait_seconds())
                if answer.status not in _WORTH_ANOTHER_TRY or self._is_last(
                    attempt, wait, deadline
                ):
                    return answer
            await deferLater(self._clock, wait)
            attempt += 1

    def _is_last(self, attempt: int, wait: float, deadline: float) -> bool:
        return attempt >= self._attempts or self._clock.seconds() + wait >= deadline

    async def attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        limit_bytes: int,
        deadline: float,
    ) -> OwnAnswer:
        """
        Ask once; whoever makes many calls to one server may wait in here for its pace.

        :param method: as :meth:`ask` is given it; so are the next ones.
        :param url: likewise.
        :param headers: likewise.
        :param body: likewise.
        :param limit_bytes: likewise.
        :param deadline: by the clock, of all attempts: then this one is cancelled.
        :return: the answer, whatever its status.
        :raise Exception: there was none.
        """
        fields = Headers({name: [value] for name, value in headers.items()})
        # Our own producer: treq's takes the global reactor to feed a body in turns, and the agent sends it only once.
        data = None if body is None else BytesBody(body)
        response = await self._client.request(
            method, url, headers=fields, data=data, allow_redirects=False, unbuffered=True
        )
        content = await collect_body(response.original, limit_bytes)

        def sent(name: bytes) -> str | None:
            # Asked for as bytes: asked for as text, Twisted decodes as UTF-8, which a server's words need not be.
            values = response.headers.getRawHeaders(name)
            return values[-1].decode("latin-1") if values else None

        return OwnAnswer(
            response.code,
            content,
            sent(b"retry-after"),
            sent(b"link"),
            sent(b"location"),
            sent(b"retry-after-ms"),
            sent(b"date"),
        )
