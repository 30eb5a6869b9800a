"""
The routes about stored objects: what is asked is passed on to the upstream that keeps them, what is made is recorded.

May import the access, upstream, HTTP, ownership and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from urllib.parse import quote

from attrs import evolve

from gptproxy.access import Caller, model_not_allowed
from gptproxy.api.batch_file import NOT_SEEN, BatchReading, check_batch_file
from gptproxy.api.checked_upload import CheckedForm
from gptproxy.api.endpoint import known_caller
from gptproxy.api.exchange import Exchange
from gptproxy.api.form_call import form_boundary
from gptproxy.api.json_call import SLICE_BYTES, WHOLE_BYTES, read_json_call
from gptproxy.api.objects import Objects, kept_apart
from gptproxy.api.route_table import Body, ModelRule
from gptproxy.api.upstream_route import (
    UpstreamRoute,
    is_json,
    loggable,
    patience_of,
    refuse_compressed,
)
from gptproxy.http import IRequestBody, Response, StreamedUpload, whole_body
from gptproxy.upstream import Call, UpstreamAnswer
from gptproxy.wire import NameFinder, NameScan, Refusal

__all__ = ["PassedCall"]

UNWANTED_BYTES = 65_536
"""Of a body where none is wanted: some clients send an empty object with every request."""

_MODEL_BY_DEFAULT = ("/moderations", "/responses/input_tokens")
"""Where a model is used whether one is named or not."""

_OTHERS_RECORDS = NameFinder((), ("stored_completions", "logs", "responses"))
"""Sources of evaluations that take in whatever was stored under the organisation's key, whoever stored it."""


class PassedCall(UpstreamRoute):
    """One such route, of any method but for lists."""

    async def answer(self, exchange: Exchange) -> None:
        """
        Know the caller, find what the call names, pass it on.

        :param exchange: the call.
        """
        await self.pass_on(exchange, await known_caller(self.authenticator, exchange))

    async def pass_on(self, exchange: Exchange, caller: Caller) -> None:
        """
        Find what the call names, and pass it on.

        :param exchange: the call.
        :param caller: who is calling.
        """
        self.may_use_unseen(caller)
        names = self.names_in_path(exchange)
        body = self.operation.body
        if body in (Body.UPLOAD, Body.CHECKED_UPLOAD) and not is_json(exchange.fields):
            await self._streamed(exchange, caller, names)
            return
        call = self._without_body(exchange)
        if body is Body.NONE:
            # A body that the route does not have is not passed on.
            await whole_body(exchange.request, UNWANTED_BYTES)
        else:
            call = await self._with_body(exchange, caller, call, names)
        objects = self.guarded(caller)
        keeper = await objects.keeper(caller, names) if objects is not None else None
        if objects is not None and self.route == "/batches" and keeper is not None:
            unread = await self._look_through(exchange, caller, objects, names, keeper)
            if unread is not None:
                await self.relay(exchange, unread)
                return
        answer = await self.send(
            exchange,
            caller,
            evolve(call, affinity=keeper),
            self.targets(caller, call.model or "", keeper),
            made=bool(self.operation.creates),
        )
        try:
            await self._forget(exchange, objects, answer)
        except BaseException:
            if isinstance(answer.answer, Response):
                answer.answer.abandon()
            raise
        await self.relay(exchange, answer)

    def _without_body(self, exchange: Exchange) -> Call:
        return Call(
            self.raw_route(exchange),
            None,
            None,
            None,
            exchange.fields,
            exchange.query,
            self.operation.repeatable,
            method=exchange.request.method,
            patience_seconds=patience_of(exchange.fields),
            deployment=False,
        )

    async def _with_body(
        self, exchange: Exchange, caller: Caller, call: Call, names: set[str]
    ) -> Call:
        refuse_compressed(exchange.fields)
        body = await whole_body(exchange.request, self.settings.limits.body_bytes)
        if not body:
            # Cancelling and its like have none.
            return evolve(call, body=body)
        read = await read_json_call(
            body, self.turns, needs_model=self.operation.model is ModelRule.NEEDED
        )
        objects = self.guarded(caller)
        if read.model and self.operation.model is not ModelRule.NONE:
            exchange.model = loggable(read.model)
            self.may_use(caller, read.model, names)
        elif self.route in _MODEL_BY_DEFAULT and caller.models is not None:
            raise model_not_allowed("")
        if objects is not None:
            names |= self.private(await objects.named_in(body, few=False))
            await self.items(objects, caller, read, names)
            if self.route == "/batches" and not read.spans.keys().isdisjoint(NOT_SEEN):
                raise _batch_elsewhere()
            if self.route.startswith("/evals"):
                await self._refuse_records(body)
        if not read.model or self.operation.model is ModelRule.NONE:
            return evolve(call, body=body)
        return evolve(call, body=body, model=read.model, model_span=read.model_span)

    async def _look_through(
        self, exchange: Exchange, caller: Caller, objects: Objects, names: set[str], keeper: str
    ) -> UpstreamAnswer | None:
        """
        Look through the lines of a batch's files.

        :param names: the files'.
        :param keeper: the upstream that has them.
        :return: an answer that is none: it is relayed.
        """
        targets = self.targets(caller, "", keeper)
        for name in names:
            answer = await self.sender.send(
                Call(
                    f"/files/{quote(name, safe='')}/content",
                    None,
                    None,
                    None,
                    (),
                    b"",
                    method=b"GET",
                    affinity=keeper,
                    deployment=False,
                ),
                targets,
                own_key=False,
                request_id=exchange.request_id,
            )
            if not isinstance(answer.answer, Response):
                return answer
            await check_batch_file(
                answer.answer,
                BatchReading(
                    caller,
                    objects,
                    keeper,
                    self.private,
                    self.turns,
                    self.clock,
                    self.settings.timeouts.stream_idle_seconds,
                ),
            )
        return None

    async def _refuse_records(self, body: bytes) -> None:
        scan = NameScan(body, _OTHERS_RECORDS)
        if len(body) <= WHOLE_BYTES:
            scan.step(WHOLE_BYTES)
        else:
            await self.turns.run(lambda: scan.step(SLICE_BYTES))
        if scan.found:
            raise Refusal(
                403,
                "Evaluations of stored completions, responses and logs are not offered, "
                "because they would read other people's: evaluate a file.",
                error_type="permission_error",
                code="access_denied",
            )

    async def _streamed(self, exchange: Exchange, caller: Caller, names: set[str]) -> None:
        objects = self.guarded(caller)
        keeper = await objects.keeper(caller, names) if objects is not None else None
        targets = self.targets(caller, "", keeper)
        body = IRequestBody(exchange.request)
        if objects is not None and self.operation.body is Body.CHECKED_UPLOAD:
            boundary = form_boundary(exchange.fields)
            if keeper is None:
                # Where the form goes is settled before it is known what it names.
                targets = targets[:1]
            body = CheckedForm(body, boundary, _checking(objects, caller, targets[0].upstream.name))
        answer = await self.send(
            exchange,
            caller,
            evolve(self._without_body(exchange), upload=StreamedUpload(body), affinity=keeper),
            targets,
            made=bool(self.operation.creates),
        )
        await self.relay(exchange, answer)

    async def _forget(
        self, exchange: Exchange, objects: Objects | None, answer: UpstreamAnswer
    ) -> None:
        if objects is None or not self.operation.deletes:
            return
        status = answer.answer.code if isinstance(answer.answer, Response) else answer.answer.status
        # What the upstream does not know any more is gone as well.
        if status < 300 or status == 404:
            await objects.ownership.forget(self.path_segments(exchange)[-1])


def _batch_elsewhere() -> Refusal:
    return Refusal(
        403,
        "Batches whose input or output lies in somebody's storage are not offered: upload the input as a file.",
        error_type="permission_error",
        code="access_denied",
    )


def _checking(
    objects: Objects, caller: Caller, upstream: str
) -> Callable[[Collection[str]], Awaitable[None]]:
    async def check(ids: Collection[str]) -> None:
        keeper = await objects.keeper(caller, ids)
        if keeper not in (None, upstream):
            raise kept_apart()

    return check
