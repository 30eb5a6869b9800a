"""The Responses API: requests in, a response object or its stream of events out.

Shapes: the API reference's "The response object" and "Streaming events"; what Azure adds,
``content_filters``, is of its users' reports.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from attrs import field, frozen

from gptproxy.sandbox.answers import answer_text
from gptproxy.sandbox.completions import PIECE
from gptproxy.sandbox.faults import Fault
from gptproxy.sandbox.messages import JsonObject, Refusal, write_json
from gptproxy.sandbox.models import Model

__all__ = ["Response", "named_event", "response_answer", "response_body", "response_events"]

_BYTES_PER_TOKEN = 4


@frozen
class Response:
    """Everything that a body or a stream is written from.

    :param pieces: its text as a stream would carry it; each piece counts as one token.
    """

    ident: str
    created: int
    model: str
    pieces: tuple[str, ...] = field(repr=False)
    input_tokens: int
    stream: bool


def named_event(event: JsonObject) -> bytes:
    """:return: an event under the name that its ``type`` says."""
    return b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), write_json(event))


def _messages(request: JsonObject) -> list[JsonObject]:
    said = request.get("input")
    if isinstance(said, str) and said:
        return [{"role": "user", "content": said}]
    if isinstance(said, list) and said and all(isinstance(item, dict) for item in said):
        return [item for item in said if "role" in item]
    raise Refusal(
        400,
        "Missing required parameter: 'input'.",
        param="input",
        code="missing_required_parameter",
    )


def response_answer(request: JsonObject, model: Model, *, ident: str, created: int) -> Response:
    """
    :param request: the body of POST /responses.
    :param model: the model that it names.
    :param ident: what distinguishes the answer.
    :param created: seconds since 1970.
    :return: the answer.
    :raise Refusal: 400, where the request cannot be answered.
    """
    messages = _messages(request)
    text = answer_text(messages, str(request.get("model") or model.name))
    tokens = -(-len(write_json(messages)) // _BYTES_PER_TOKEN)
    stream = request.get("stream") is True
    return Response(
        f"resp_{ident}", created, model.snapshot, tuple(PIECE.findall(text)), tokens, stream
    )


def _object(answer: Response, status: str, text: str | None, **more: object) -> JsonObject:
    output: list[JsonObject] = []
    if text is not None:
        output.append(_item(answer, "completed", [_part(text)]))
    made = len(PIECE.findall(text or ""))
    ended = status in ("completed", "incomplete")
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": made,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + made,
    }
    return {
        "id": answer.ident,
        "object": "response",
        "created_at": answer.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage if ended else None,
        "metadata": {},
        **more,
    }


def _item(answer: Response, status: str, content: list[JsonObject]) -> JsonObject:
    ident = answer.ident.replace("resp_", "msg_")
    item: JsonObject = {"id": ident, "type": "message", "status": status, "role": "assistant"}
    return {**item, "content": content}


def _part(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": []}


def _filters(azure: bool, blocked: bool) -> JsonObject:
    if not azure:
        return {}
    severity = {"filtered": blocked, "severity": "medium" if blocked else "safe"}
    entry = {
        "blocked": blocked,
        "source_type": "completion",
        "content_filter_raw": [],
        "content_filter_results": {"violence": severity},
        "content_filter_offsets": {"start_offset": 0, "end_offset": 0, "check_offset": 0},
    }
    return {"content_filters": [entry]}


def _is_filtered(fault: Fault | None) -> bool:
    return fault is not None and fault.fault in ("filtered_output", "filtered_stream")


def response_body(answer: Response, fault: Fault | None, *, azure: bool) -> JsonObject:
    """
    :param answer: what is to be said.
    :param fault: one that changes it, or None.
    :param azure: with Azure's ``content_filters``.
    :return: the body of an answer that is not streamed.
    """
    if _is_filtered(fault):
        details = {"reason": "content_filter"}
        filters = _filters(azure, True)
        return _object(answer, "incomplete", "", incomplete_details=details, **filters)
    return _object(answer, "completed", "".join(answer.pieces), **_filters(azure, False))


def _ends(
    answer: Response, fault: Fault | None, pieces: tuple[str, ...], azure: bool
) -> list[JsonObject]:
    """The last events: the text whole, and how it ended."""
    if fault is not None and fault.fault == "response_failed":
        error = fault.body or {"code": "server_error", "message": "The model failed."}
        failed = _object(answer, "failed", None, error=error)
        return [{"type": "response.failed", "response": failed}]
    text = "".join(pieces)
    place: JsonObject = {"output_index": 0, "item_id": _item(answer, "", [])["id"]}
    done: list[JsonObject] = []
    if pieces:
        place["content_index"] = 0
        done += (
            {"type": "response.output_text.done", **place, "text": text},
            {"type": "response.content_part.done", **place, "part": _part(text)},
        )
    if _is_filtered(fault):
        details = {"reason": "content_filter"}
        whole = _object(answer, "incomplete", text, **_filters(azure, True))
        return [
            *done,
            {"type": "response.incomplete", "response": {**whole, "incomplete_details": details}},
        ]
    item = _item(answer, "completed", [_part(text)])
    whole = _object(answer, "completed", text, **_filters(azure, False))
    return [
        *done,
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]


def response_events(answer: Response, fault: Fault | None, *, azure: bool) -> tuple[bytes, ...]:
    """
    :param answer: what is to be said.
    :param fault: one that changes it, or None; its ``after_events`` are text deltas.
    :param azure: with Azure's ``content_filters``.
    :return: the stream's events; there is no ``[DONE]``.
    """
    begun = _object(answer, "in_progress", None)
    pieces = answer.pieces
    if _is_filtered(fault) or (fault is not None and fault.fault == "response_failed"):
        pieces = pieces[: (fault.after_events if fault is not None else None) or 0]
    place = {"output_index": 0, "item_id": _item(answer, "", [])["id"], "content_index": 0}
    events: list[JsonObject] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": _item(answer, "in_progress", []),
        },
        {"type": "response.content_part.added", **place, "part": _part("")},
        *(
            {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            for piece in pieces
        ),
        *_ends(answer, fault, pieces, azure),
    ]
    return tuple(
        named_event({**event, "sequence_number": number}) for number, event in enumerate(events)
    )
