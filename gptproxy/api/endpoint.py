"""
What every route has in common: it is rendered at the headers, knows its caller, and ends in exactly one answer.

May import the access, HTTP and wire rooms and Twisted.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from gptproxy.access import Authenticator, Caller
from gptproxy.api.exchange import Exchange
from gptproxy.http import (
    BodyIncomplete,
    BodyTooLarge,
    IRenderedAtHeaders,
    MalformedMessage,
    abort_answer,
)
from gptproxy.wire import Refusal

__all__ = ["Endpoint", "UnknownRoute"]


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
        exchange = Exchange(request, self.route, self.clock)
        answering = Deferred.fromCoroutine(self._answer(exchange))
        # A caller who leaves cancels whatever is being waited for.
        exchange.when_left(answering.cancel)
        answering.addErrback(self._not_logged)
        return NOT_DONE_YET

    async def answer(self, exchange: Exchange) -> None:
        """
        Answer; to be overridden.

        :param exchange: the call.
        :raise Refusal: what the caller is told instead.
        """
        raise NotImplementedError

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._answer_or_refuse(exchange)
        except CancelledError:
            # The caller left; nobody is there to be told.
            pass
        except Exception:  # noqa: BLE001 - a fault of ours, whichever: it is logged with its traceback
            self._unexpected(Failure(), exchange)
        exchange.write_access_line()

    async def _answer_or_refuse(self, exchange: Exchange) -> None:
        try:
            rest = [segment for segment in exchange.request.postpath or [] if segment]
            if rest and not self.takes_rest:
                raise unknown_route()
            if self.methods and exchange.request.method not in self.methods:
                raise _method_not_allowed(self.methods)
            await self.answer(exchange)
        except Refusal as refusal:
            exchange.refuse(refusal)
        except BodyTooLarge as too_large:
            exchange.refuse(
                Refusal(
                    413,
                    f"The request's body is larger than {too_large.limit_bytes} bytes: send less.",
                    code="request_too_large",
                )
            )
        except MalformedMessage as malformed:
            exchange.refuse(Refusal(400, f"The request is malformed: {malformed.reason}."))
        except BodyIncomplete:
            exchange.refuse(
                Refusal(408, "The request's body did not arrive in time: send it again.")
            )

    def _not_logged(self, failure: Failure) -> None:
        """What is left to fail when the caller has been answered."""
        self._log.failure("{route}: no access line", failure=failure, route=self.route)

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
    :raise Refusal: nobody who may.
    """
    caller = await authenticator.caller(exchange.fields)
    exchange.caller = caller.name
    return caller


def _method_not_allowed(methods: tuple[bytes, ...]) -> Refusal:
    allowed = b", ".join(methods)
    return Refusal(
        405,
        f"Not allowed to use this method on this endpoint: use {allowed.decode()}.",
        code="method_not_allowed",
        headers=((b"allow", allowed),),
    )
