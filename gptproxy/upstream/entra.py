"""
Tokens of Microsoft Entra ID, for Azure upstreams that take no key.

May import the HTTP and config rooms and Twisted. One fetch at a time for each upstream, ahead of the token's end, so
that no caller waits for one but the first. Sources: "OAuth 2.0 client credentials flow" and "Workload identity
federation" of the Microsoft identity platform; "Azure Instance Metadata Service", managed identities; "How to use
managed identities for App Service and Azure Functions", REST endpoint reference.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlencode

import orjson
from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from gptproxy.config import EntraSettings
from gptproxy.config.file_reading import read_file
from gptproxy.http import NoAnswer, OwnAnswer, OwnCalls
from gptproxy.http.single_flight import SingleFlight

__all__ = ["EntraTokens", "NoToken", "read_assertion"]

AHEAD_SECONDS = 300.0
"""So long before its end a token is fetched anew: two or three outages of the token server's fit in."""

AGAIN_SECONDS = 30.0
"""So long a token is not fetched ahead again: a managed identity's service may give the one it keeps until late."""

TROUBLE_SECONDS = 5.0
"""How long the token server is not asked again after it gave none: calls come faster than it recovers."""

REFUSED_SECONDS = 60.0
"""How often at most a token that Azure refuses is dropped: a role that is missing is not mended by another token."""

TOTAL_SECONDS = 20.0
"""How long the token server has, retries included."""

ANSWER_LIMIT_BYTES = 65_536
"""Bound on its answer; tokens have 2 to 4 KiB."""

ASSERTION_LIMIT_BYTES = 16_384
"""Bound on a workload identity's file; assertions have 1 to 2 KiB."""

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CODE = re.compile(r"[a-z_]{1,64}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_TOKEN = re.compile(r"[!-~]{1,16384}", re.ASCII)
_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


class NoToken(Exception):
    """
    No token could be had.

    :param reason: for the log; nothing secret.
    """


@frozen
class _Token:
    """
    :param value: what goes into the Authorization field.
    :param came: when it was fetched, in seconds.
    :param ends: when it is no good any more, in seconds.
    """

    value: bytes = field(repr=False)
    came: float
    ends: float

    def is_due(self, now: float) -> bool:
        """:return: the next one is to be fetched."""
        return self.ends - now < AHEAD_SECONDS and now - self.came >= AGAIN_SECONDS


def read_assertion(path: Path) -> bytes:
    """
    :param path: a workload identity's file.
    :return: the assertion in it.
    :raise OSError: it cannot be read.
    """
    return read_file(path, ASSERTION_LIMIT_BYTES).strip()


class EntraTokens:
    """
    :param calls: asks the token servers.
    :param clock: for the tokens' ends.
    :param read: gives a workload identity's assertion; reads the file in a thread.
    :param since_1970: the time of day in seconds: App Service says when a token ends, not how long it lasts.
    """

    _log = Logger()

    def __init__(
        self,
        calls: OwnCalls,
        clock: IReactorTime,
        read: Callable[[Path], Deferred[bytes]],
        since_1970: Callable[[], float] = time.time,
    ) -> None:
        self._calls = calls
        self._since_1970 = since_1970
        self._clock = clock
        self._read = read
        self._flights: SingleFlight[str, bytes] = SingleFlight()
        # By the upstream's name.
        self._tokens: dict[str, _Token] = {}
        self._trouble: dict[str, tuple[float, str]] = {}
        self._dropped: dict[str, float] = {}

    async def token(self, upstream: str, entra: EntraSettings) -> bytes:
        """
        :param upstream: the name of the upstream it is for.
        :param entra: who gptproxy is there.
        :return: a token that is good now.
        :raise NoToken: there is none.
        """
        now = self._clock.seconds()
        token = self._tokens.get(upstream)
        if token is not None and now < token.ends:
            if token.is_due(now) and not self._is_in_trouble(upstream, now):
                ahead = self._flights.join(upstream, lambda: self._fetch(upstream, entra))
                ahead.addErrback(self._not_ahead, upstream)
            return token.value
        if self._is_in_trouble(upstream, now):
            raise NoToken(self._trouble[upstream][1])
        return await self._flights.join(upstream, lambda: self._fetch(upstream, entra))

    def refused(self, upstream: str, token: bytes) -> bool:
        """
        Azure answered 401.

        :param upstream: the upstream's name.
        :param token: what was sent.
        :return: another will be sent the next time. It is not where one was dropped in the last minute already.
        """
        now = self._clock.seconds()
        kept = self._tokens.get(upstream)
        if kept is None or kept.value != token:
            # Another call has had it dropped.
            return True
        if now - self._dropped.get(upstream, -REFUSED_SECONDS) < REFUSED_SECONDS:
            return False
        self._dropped[upstream] = now
        del self._tokens[upstream]
        return True

    def _is_in_trouble(self, upstream: str, now: float) -> bool:
        return now < self._trouble.get(upstream, (0.0, ""))[0]

    def _not_ahead(self, failure: Failure, upstream: str) -> None:
        """The old token is still good, and the next call tries again."""
        if failure.check(NoToken) is None and failure.check(CancelledError) is None:
            self._log.failure(
                "a token for {upstream} was not fetched", failure=failure, upstream=upstream
            )

    async def _fetch(self, upstream: str, entra: EntraSettings) -> bytes:
        try:
            answer = await (self._managed(entra) if entra.managed else self._by_client(entra))
            token = self._token_in(answer)
        except (NoAnswer, NoToken, OSError) as trouble:
            cause = trouble.cause if isinstance(trouble, NoAnswer) else str(trouble)
            if isinstance(trouble, OSError):
                cause = f"token_file: {trouble.strerror}"
            reason = f"has no token: {cause}"
            self._trouble[upstream] = (self._clock.seconds() + TROUBLE_SECONDS, reason)
            self._log.warn("upstream {upstream} {reason}", upstream=upstream, reason=reason)
            raise NoToken(reason) from None
        self._trouble.pop(upstream, None)
        self._tokens[upstream] = token
        return token.value

    async def _by_client(self, entra: EntraSettings) -> OwnAnswer:
        form = {
            "grant_type": "client_credentials",
            "client_id": entra.client_id or "",
            "scope": entra.scope,
        }
        if entra.client_secret is not None:
            form["client_secret"] = entra.client_secret.reveal()
        elif entra.token_file is not None:
            form["client_assertion_type"] = _ASSERTION_TYPE
            form["client_assertion"] = (await self._read(entra.token_file)).decode("latin-1")
        return await self._calls.ask(
            "POST",
            f"{entra.authority}/{quote(entra.tenant or '', safe='')}/oauth2/v2.0/token",
            _FORM,
            urlencode(form).encode("ascii"),
            limit_bytes=ANSWER_LIMIT_BYTES,
            total_seconds=TOTAL_SECONDS,
        )

    async def _managed(self, entra: EntraSettings) -> OwnAnswer:
        """The machine's own service is asked, or App Service's: they differ in the version and in who may ask."""
        app = entra.identity_header
        query = {
            "api-version": "2018-02-01" if app is None else "2019-08-01",
            "resource": entra.scope.removesuffix("/.default"),
        }
        if entra.client_id is not None:
            query["client_id"] = entra.client_id
        shown = {"metadata": "true"} if app is None else {"x-identity-header": app.reveal()}
        return await self._calls.ask(
            "GET",
            f"{entra.managed_identity_url}?{urlencode(query)}",
            {**shown, "accept": "application/json"},
            limit_bytes=ANSWER_LIMIT_BYTES,
            total_seconds=TOTAL_SECONDS,
        )

    def _token_in(self, answer: OwnAnswer) -> _Token:
        """:raise NoToken: there is none in it; only the error's code is told, for its words name the application."""
        try:
            content = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            content = None
        members = content if isinstance(content, dict) else {}
        value = members.get("access_token")
        if answer.status == 200 and isinstance(value, str) and _TOKEN.fullmatch(value):
            now = self._clock.seconds()
            return _Token(value.encode("ascii"), now, now + self._lasts(members))
        code = members.get("error")
        named = f", {code}" if isinstance(code, str) and _CODE.fullmatch(code) else ""
        raise NoToken(f"the token server answered {answer.status}{named}")

    def _lasts(self, members: dict[str, object]) -> float:
        """:return: how many seconds a token is good for; 0 where that is not said, so that it serves one call."""
        # Managed identities write their numbers as text.
        lasts = str(members.get("expires_in", ""))
        if _SECONDS.fullmatch(lasts):
            return float(lasts)
        ends = str(members.get("expires_on", ""))
        return max(0.0, float(ends) - self._since_1970()) if _SECONDS.fullmatch(ends) else 0.0
