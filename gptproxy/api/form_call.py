"""
The routes whose model stands in a multipart form: transcriptions, and what is made of images.

May import the access, upstream, HTTP and wire rooms, this room, and Twisted.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from gptproxy.api.endpoint import known_caller
from gptproxy.api.exchange import Exchange
from gptproxy.api.model_call import ModelCall
from gptproxy.api.objects import refused_reference
from gptproxy.api.turns import Turns
from gptproxy.api.upstream_route import is_json, loggable, patience_of, refuse_compressed
from gptproxy.http import Fields, whole_body
from gptproxy.ownership import TooManyReferences, form_references
from gptproxy.upstream import Call
from gptproxy.wire import BrokenForm, Edit, FormScan, Refusal, Span, boundary_of, splice

__all__ = ["FORM_BYTES", "FormCall", "HeldForm", "broken_form", "form_boundary", "read_form"]

FORM_BYTES: Final = 27_262_976
"""26 MiB: audio may have 25 MiB, and the rest of the form a little."""

SLICE_BYTES: Final = 1_048_576
"""How far one turn gets: searching a MiB for a boundary takes below a millisecond."""


@frozen
class HeldForm:
    """
    :param body: the form.
    :param model: the model's name; empty where there is none.
    :param model_span: where it stands; empty where there is none.
    :param stream: it asks for a stream of events.
    :param names: ids of objects that its fields name.
    """

    body: bytes
    model: str
    model_span: Span
    stream: bool
    names: frozenset[str]


class FormCall(ModelCall):
    """One such route. A JSON body, which the newer of these routes take too, is read as any other."""

    async def answer(self, exchange: Exchange) -> None:
        """
        Know the caller, hold the form, find the model in it, send, relay.

        :param exchange: the call.
        """
        if is_json(exchange.fields):
            await super().answer(exchange)
            return
        caller = await known_caller(self.authenticator, exchange)
        refuse_compressed(exchange.fields)
        boundary = form_boundary(exchange.fields)
        body = await whole_body(exchange.request, FORM_BYTES)
        form = await read_form(
            body,
            boundary,
            self.turns,
            self.path_model(exchange),
            needs_model=self.needs_model(caller),
        )
        names = self.private(form.names) | self.names_in_path(exchange)
        if form.model:
            exchange.model = loggable(form.model)
            self.may_use(caller, form.model, names)
        objects = self.guarded(caller)
        keeper = await objects.keeper(caller, names) if objects is not None else None
        answer = await self.send(
            exchange,
            caller,
            Call(
                self.route,
                form.model,
                form.body,
                form.model_span,
                exchange.fields,
                exchange.query,
                self.operation.repeatable,
                affinity=keeper,
                stream=form.stream,
                patience_seconds=patience_of(exchange.fields),
                model_in_form=True,
                deployment=self.table_route.deployment,
            ),
            self.targets(caller, form.model, keeper),
            made=False,
        )
        await self.relay(exchange, answer)


def form_boundary(fields: Fields) -> bytes:
    """
    :param fields: a request's field lines.
    :return: its form's boundary.
    :raise Refusal: 400, where its body is no form.
    """
    types = [value for name, value in fields if name == b"content-type"]
    try:
        boundary = boundary_of(types[0]) if len(types) == 1 else b""
    except BrokenForm as error:
        raise broken_form(error) from error
    if not boundary:
        raise Refusal(
            400,
            "This route takes a form: send Content-Type: multipart/form-data with a boundary.",
            code="invalid_form",
        )
    return boundary


async def read_form(
    body: bytes, boundary: bytes, turns: Turns, model: str = "", *, needs_model: bool = True
) -> HeldForm:
    """
    :param body: a whole form.
    :param boundary: its boundary.
    :param turns: in which it is read.
    :param model: the model that the path names: it is put into the form in the place of what stands there.
    :param needs_model: a form without a model is refused.
    :return: what it says.
    :raise Refusal: 400.
    """
    scan = FormScan(boundary)
    position = 0

    def step() -> bool:
        nonlocal position
        scan.feed(body[position : position + SLICE_BYTES])
        position += SLICE_BYTES
        return position >= len(body)

    try:
        if len(body) <= SLICE_BYTES:
            step()
        else:
            await turns.run(step)
        scan.finish()
        names = [
            each
            for part in scan.parts
            for each in form_references(part.name, _text(part.value), is_file=part.is_file)
        ]
    except BrokenForm as error:
        raise broken_form(error) from error
    except TooManyReferences as error:
        raise refused_reference(str(error)) from error
    models = [part for part in scan.parts if part.name == "model"]
    streams = [part.value for part in scan.parts if part.name == "stream"]
    if len(models) > 1 or len(streams) > 1:
        raise Refusal(
            400,
            "A field occurs twice in the request's form: send each once.",
            code="duplicate_member",
            param="model" if len(models) > 1 else "stream",
        )
    span = Span(models[0].start, models[0].end) if models else None
    named = _text(models[0].value) if models else ""
    if model and named != model:
        if span is None:
            head = b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n' % boundary
            body = head + model.encode() + b"\r\n" + body
            span = Span(len(head), len(head) + len(model.encode()))
        else:
            body = splice(body, [Edit(span.start, span.end, model.encode())])
            span = Span(span.start, span.start + len(model.encode()))
        named = model
    if span is None and not needs_model:
        span = Span(0, 0)
    elif span is None or not named:
        raise Refusal(
            400,
            "You must provide a model parameter: the form's field with the model's name.",
            code="missing_required_parameter",
            param="model",
        )
    return HeldForm(body, named, span, streams == [b"true"], frozenset(names))


def broken_form(error: BrokenForm) -> Refusal:
    """
    :param error: what is wrong with a form.
    :return: a 400.
    """
    return Refusal(400, f"The request's form cannot be read: {error}.", code="invalid_form")


def _text(value: bytes | None) -> str:
    # What is longer than is kept, or no text, is no name of anything.
    return (value or b"").decode("utf-8", "replace")
