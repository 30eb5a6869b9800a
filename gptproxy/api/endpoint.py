"""
What every route has in common: it is rendered at the headers, knows its caller, and ends in exactly one answer.

May import the access, HTTP and wire rooms and Twisted.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from gptproxy.access import Authenticator, Caller
from gptproxy.api.calls import Calls
from gptproxy.api.exchange import Exchange
from gptproxy.api.gate import Gate
from gptproxy.api.running import Running
from gptproxy.http import (
    BodyIncomplete,
    BodyTooLarge,
    IRenderedAtHeaders,
    MalformedMessage,
    abort_answer,
    answer_whole,
)
from gptproxy.wire import Refusal

__all__ = ["Endpoint", "RefusedRoute", "UnknownRoute", "known_caller", "unknown_route"]

_REFUSED = (Refusal, BodyTooLarge, MalformedMessage, BodyIncomplete)


@implementer(IRenderedAtHeaders)
class Endpoint(Resource):
    """
    One route.

    :param route: OpenAI's path without base and version.
    :param clock: for durations.
    """

    isLeaf = True
    methods: tuple[bytes, ...] = (b"POST",)
    """Those it answers; none named: all."""
    takes_rest = False
    """More segments may follow the route's own."""
    calls: Calls | None = None
    """Who is told of the route's calls; None: the access log alone."""
    gate: Gate | None = None
    """Where the route's calls come in; None: all may, and nobody counts them."""

    _log = Logger()

    def __init__(self, route: str, clock: IReactorTime) -> None:
        super().__init__()
        self.route = route
        self.clock = clock

    def render(self, request: Request) -> int:
        """
        Start answering.

        :param request: its headers are complete.
        :return: NOT_DONE_YET.
        """
        if self.gate is not None and (refusal := self.gate.refusal()) is not None:
            # The less it takes the better: no access line, no body read.
            fields = ((b"content-type", b"application/json"), *refusal.headers)
            answer_whole(request, refusal.status, b"", fields, refusal.body())
            return NOT_DONE_YET
        exchange = Exchange(request, self.route, self.clock, self.calls)
        if self.gate is not None:
            exchange.gate = self.gate
            self.gate.enter(exchange)
        # A caller who leaves cancels whatever is being waited for.
        exchange.when_left(Running(self._answer(exchange), self.route).cancel)
        return NOT_DONE_YET

    async def answer(self, exchange: Exchange) -> None:
        """
        Answer; to be overridden.

        :param exchange: the call.
        :raise Refusal: what the caller is told instead.
        """
        raise NotImplementedError

    async def _answer(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            try:
                if request.postpath and not self.takes_rest and any(request.postpath):
                    raise unknown_route()
                if self.methods and request.method not in self.methods:
                    raise _method_not_allowed(self.methods)
                await self.answer(exchange)
            except _REFUSED as reason:
                exchange.refuse(_refusal(reason))
            except CancelledError:
                # The caller left; nobody is there to be told.
                pass
            except Exception:  # noqa: BLE001 - a fault of ours, whichever: it is logged with its traceback
                self._unexpected(Failure(), exchange)
            exchange.end()
        finally:
            if exchange.gate is not None:
                exchange.gate.leave(exchange)

    def _unexpected(self, failure: Failure, exchange: Exchange) -> None:
        """A fault of ours."""
        self._log.failure(
            "{request_id}: {route} failed",
            failure=failure,
            request_id=exchange.request_id,
            route=self.route,
        )
        if exchange.over:
            return
        if exchange.request.startedWriting:
            abort_answer(exchange.request)
            return
        exchange.refuse(
            Refusal(
                500,
                "The gateway failed on this request: tell its operator the request id.",
                error_type="server_error",
                code="internal_error",
            )
        )


class RefusedRoute(Endpoint):
    """
    A route that exists at OpenAI's and is nobody's here.

    :param route: OpenAI's path.
    :param clock: for durations.
    :param status: status code.
    :param sentence: why.
    :param code: the machine-readable reason.
    :param methods: those that are refused; others are not allowed. None named: all.
    """

    def __init__(
        self,
        route: str,
        clock: IReactorTime,
        status: int,
        sentence: str,
        code: str,
        methods: tuple[bytes, ...] = (),
    ) -> None:
        super().__init__(route, clock)
        self.methods = methods
        self._refusal = Refusal(status, sentence, code=code)

    async def answer(self, exchange: Exchange) -> None:
        """
        Say so.

        :param exchange: the call.
        """
        raise self._refusal.again()


class UnknownRoute(Endpoint):
    """Every path that the route table does not name, whatever the method."""

    methods = ()
    takes_rest = True

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__("-", clock)

    async def answer(self, exchange: Exchange) -> None:
        """
        Say so.

        :param exchange: the call.
        """
        raise unknown_route()


def _refusal(reason: Exception) -> Refusal:
    """:return: what a caller is told whose request is not answered for this reason."""
    if isinstance(reason, Refusal):
        return reason
    if isinstance(reason, BodyTooLarge):
        return Refusal(
            413,
            f"The request's body is larger than {reason.limit_bytes} bytes: send less.",
            code="request_too_large",
        )
    if isinstance(reason, MalformedMessage):
        return Refusal(400, f"The request is malformed: {reason.reason}.")
    return Refusal(408, "The request's body did not arrive in time: send it again.")


def unknown_route() -> Refusal:
    """:return: a 404 as OpenAI words it, without echoing the path."""
    return Refusal(
        404,
        "Unknown request URL: see the documentation for the routes this gateway offers.",
        code="unknown_url",
    )


async def known_caller(authenticator: Authenticator, exchange: Exchange) -> Caller:
    """
    :param authenticator: judges the credential.
    :param exchange: the call; it learns the caller's name.
    :return: who is calling.
    :raise Refusal: nobody who may, or one who has too much under way.
    """
    found = authenticator.look_up(exchange.fields)
    # Who is known need not be waited for, nor the address be asked for.
    caller = (
        found
        if isinstance(found, Caller)
        else await authenticator.ask_about(found, exchange.address)
    )
    exchange.caller = caller.name
    if exchange.gate is not None:
        await exchange.gate.admit(exchange, caller)
    return caller


def _method_not_allowed(methods: tuple[bytes, ...]) -> Refusal:
    allowed = b", ".join(methods)
    return Refusal(
        405,
        f"Not allowed to use this method on this endpoint: use {allowed.decode()}.",
        code="method_not_allowed",
        headers=((b"allow", allowed),),
    )
