"""
A JSON body read as far as the gateway must: which model, a stream or not, what else is named twice.

May import the upstream and wire rooms and this room's turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import orjson
from attrs import field, frozen

from gptproxy.api.turns import Turns
from gptproxy.upstream import UpstreamAnswer
from gptproxy.wire import (
    BrokenJSON,
    DuplicateMember,
    Edit,
    MemberScan,
    NotAnObject,
    Refusal,
    Span,
    member_spans,
    splice,
)

__all__ = [
    "READ_OF_LARGE",
    "SLICE_BYTES",
    "WHOLE_BYTES",
    "JSONCall",
    "missing_model",
    "read_json_call",
]

WHOLE_BYTES: Final = 262_144
"""What is parsed at once: 1 to 2 ms. The parser holds the interpreter, so a thread would not free the loop of more."""

SLICE_BYTES: Final = 65_536
"""How far one turn gets in a larger body: mostly below 1 ms, about 3 ms in one made of brackets."""

READ_OF_LARGE: Final = ("model", "stream", "store", "background")

_NOWHERE: Final = Span(0, 0)


@frozen
class JSONCall:
    """
    :param body: the bytes as they came.
    :param content: what they say; of a body over :data:`WHOLE_BYTES` only what :data:`READ_OF_LARGE` names.
    :param model: the model's name; empty where there is none.
    :param model_span: where its value stands in the body; empty where there is none.
    :param messages_span: where the value of ``messages`` stands; None where there is none.
    :param spans: where the value of each member stands.
    :param answered: makes of the upstream's answer what the caller gets; None: it is relayed as it is.
    """

    body: bytes
    content: Mapping[str, object]
    model: str
    model_span: Span
    messages_span: Span | None = None
    spans: Mapping[str, Span] = field(factory=dict)
    answered: Callable[[UpstreamAnswer], UpstreamAnswer] | None = None

    @property
    def whole(self) -> bool:
        """Whether ``content`` is all that the body says."""
        return len(self.body) <= WHOLE_BYTES


async def read_json_call(
    body: bytes, turns: Turns, *, needs_model: bool = True, model: str = ""
) -> JSONCall:
    """
    :param body: the request's body.
    :param turns: in which a body over :data:`WHOLE_BYTES` is read.
    :param needs_model: a body without a model is refused.
    :param model: the model that the path names, as Azure's does: it is put into the body in the place of what stands
        there. Empty where the path names none.
    :return: the call.
    :raise Refusal: 400; broken JSON is told with its line and column.
    """
    if not body:
        raise Refusal(400, "The request's body is empty: send a JSON object.")
    try:
        if len(body) > WHOLE_BYTES:
            scan = MemberScan(body)
            await turns.run(lambda: scan.step(SLICE_BYTES))
            spans = scan.spans
            content = _small_values(body, spans)
        else:
            content = orjson.loads(body)
            spans = member_spans(body)
    except orjson.JSONDecodeError as error:
        # The parser gives the position in its own form behind a colon.
        raise _broken(error.msg.partition(":")[0], error.lineno, error.colno) from error
    except BrokenJSON as error:
        raise _broken(error.reason, error.line, error.column) from error
    except NotAnObject as error:
        raise Refusal(
            400, "The request's body is not a JSON object: send one.", code="invalid_json"
        ) from error
    except DuplicateMember as error:
        raise Refusal(
            400,
            "A member occurs twice in the request's JSON object: send each once.",
            code="duplicate_member",
            param=error.name[:64],
        ) from error
    if model and content.get("model") != model:
        return await _with_model(body, spans, model, turns)
    named = content.get("model")
    if named is None and not needs_model:
        return JSONCall(body, content, "", _NOWHERE, spans.get("messages"), spans)
    if not isinstance(named, str) or not named:
        raise missing_model(written=named is not None)
    return JSONCall(body, content, named, spans["model"], spans.get("messages"), spans)


def missing_model(*, written: bool = False) -> Refusal:
    """
    :param written: there is something in its place.
    :return: a 400.
    """
    return Refusal(
        400,
        "You must provide a model parameter: the model's name as a string.",
        code="invalid_type" if written else "missing_required_parameter",
        param="model",
    )


async def _with_model(body: bytes, spans: Mapping[str, Span], model: str, turns: Turns) -> JSONCall:
    """:return: the call with the path's model in its body."""
    name = orjson.dumps(model)
    if "model" in spans:
        edit = Edit(*spans["model"], name)
    else:
        start = body.index(b"{") + 1
        edit = Edit(start, start, b'"model":' + name + (b"," if spans else b""))
    return await read_json_call(splice(body, [edit]), turns)


def _small_values(body: bytes, spans: Mapping[str, Span]) -> dict[str, object]:
    """:return: what is read of a large body; a value that is large itself is none that anybody expects there."""
    content: dict[str, object] = {}
    for name in READ_OF_LARGE:
        if name in spans:
            start, end = spans[name]
            try:
                content[name] = orjson.loads(body[start:end] if end - start <= WHOLE_BYTES else b"")
            except orjson.JSONDecodeError:
                # Large, or a number beyond a float's range: neither a name nor a truth value.
                content[name] = ...
    return content


def _broken(what: str, line: int, column: int) -> Refusal:
    return Refusal(
        400,
        f"We could not parse the JSON body of your request: {what} at line {line}, column {column}.",
        code="invalid_json",
    )
