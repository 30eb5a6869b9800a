"""
A JSON body read as far as the gateway must: which model, a stream or not, what else is named twice.

Pure: imports the wire room.
"""

from __future__ import annotations

import orjson
from attrs import frozen

from gptproxy.wire import DuplicateMember, NotAnObject, Refusal, Span, member_spans

__all__ = ["JSONCall", "read_json_call"]


@frozen
class JSONCall:
    """
    :param body: the bytes as they came.
    :param content: what they say.
    :param model: the model's name.
    :param model_span: where its value stands in the body.
    """

    body: bytes
    content: dict[str, object]
    model: str
    model_span: Span


def read_json_call(body: bytes) -> JSONCall:
    """
    :param body: the request's body.
    :return: the call.
    :raise Refusal: 400; broken JSON is told with its line and column.
    """
    if not body:
        raise Refusal(400, "The request's body is empty: send a JSON object.")
    try:
        content = orjson.loads(body)
        spans = member_spans(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(
            400,
            f"We could not parse the JSON body of your request: {_what(error)} at line {error.lineno}, "
            f"column {error.colno}.",
            code="invalid_json",
        ) from error
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
    return JSONCall(body, content, model, spans["model"])


def _what(error: orjson.JSONDecodeError) -> str:
    """:return: the parser's words without the position, which it gives in its own form behind a colon."""
    return error.msg.partition(":")[0]
