"""
A JSON body read as far as the gateway must: which model, a stream or not, what else is named twice.

May import the wire room and this room's turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson
from attrs import frozen

from gptproxy.api.turns import Turns
from gptproxy.wire import (
    BrokenJSON,
    DuplicateMember,
    MemberScan,
    NotAnObject,
    Refusal,
    Span,
    member_spans,
)

__all__ = ["SLICE_BYTES", "WHOLE_BYTES", "JSONCall", "read_json_call"]

WHOLE_BYTES: Final = 262_144
"""What is parsed at once: 1 to 2 ms. The parser holds the interpreter, so a thread would not free the loop of more."""

SLICE_BYTES: Final = 65_536
"""How far one turn gets in a larger body: mostly below 1 ms, about 3 ms in one made of brackets."""

_READ_OF_LARGE: Final = ("model", "stream")


@frozen
class JSONCall:
    """
    :param body: the bytes as they came.
    :param content: what they say; of a body over :data:`WHOLE_BYTES` only ``model`` and ``stream``.
    :param model: the model's name.
    :param model_span: where its value stands in the body.
    :param messages_span: where the value of ``messages`` stands; None where there is none.
    """

    body: bytes
    content: Mapping[str, object]
    model: str
    model_span: Span
    messages_span: Span | None = None

    @property
    def whole(self) -> bool:
        """Whether ``content`` is all that the body says."""
        return len(self.body) <= WHOLE_BYTES


async def read_json_call(body: bytes, turns: Turns) -> JSONCall:
    """
    :param body: the request's body.
    :param turns: in which a body over :data:`WHOLE_BYTES` is read.
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
    model = content.get("model")
    if not isinstance(model, str) or not model:
        raise Refusal(
            400,
            "You must provide a model parameter: the model's name as a string.",
            code="missing_required_parameter" if model is None else "invalid_type",
            param="model",
        )
    return JSONCall(body, content, model, spans["model"], spans.get("messages"))


def _small_values(body: bytes, spans: Mapping[str, Span]) -> dict[str, object]:
    """:return: what is read of a large body; a value that is large itself is none that anybody expects there."""
    content: dict[str, object] = {}
    for name in _READ_OF_LARGE:
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
