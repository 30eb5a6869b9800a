"""
What is put into a call of ``/v1/responses``, and where.

Pure: values in, values out; nothing of Twisted. API page:
https://platform.openai.com/docs/api-reference/responses/create. ``instructions`` are not carried
over to the next response, so what is put there does not pile up in a conversation that the upstream
keeps; it goes behind the caller's own. Only where a stored ``prompt`` speaks and no instructions
do, which they would replace, it becomes a leading item of the input.
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gptproxy.knowledge.augmentation import ChatPlaces, OperatorTexts, insertion
from gptproxy.wire import Edit, Span, element_spans

__all__ = ["augment_response", "conversation_of"]

_SEPARATOR = "\n\n"


def conversation_of(instructions: object, items: object) -> list[object]:
    """
    Read a response's input as a chat's messages.

    :param instructions: as parsed, of any shape.
    :param items: ``input`` as parsed, of any shape.
    :return: messages.
    """
    messages: list[object] = []
    if isinstance(instructions, str) and instructions:
        messages.append({"role": "developer", "content": instructions})
    if isinstance(items, str):
        messages.append({"role": "user", "content": items})
    elif isinstance(items, list):
        messages += items
    return messages


def augment_response(
    body: bytes,
    content: Mapping[str, object],
    spans: Mapping[str, Span],
    chosen: OperatorTexts,
    places: ChatPlaces | None = None,
) -> Edit | None:
    """
    Put texts into a response's call.

    :param body: the request's body.
    :param content: what is parsed of it: ``instructions``, ``prompt``, ``input``, where they are
        there; of a large ``input`` the items that lead, one behind them, and some of the last.
    :param spans: where its members stand.
    :param chosen: what is said.
    :param places: where ``input`` stands, if that is known. Otherwise it is found here.
    :return: what is to be done to the body; None where nothing is, because there is nothing to say,
        or because the call has another shape than the API's, which the upstream tells.
    """
    if not chosen.texts:
        return None
    instructions, items = content.get("instructions"), content.get("input")
    text = _SEPARATOR.join(chosen.texts)
    if isinstance(instructions, str):
        text = f"{instructions}{_SEPARATOR}{text}" if instructions else text
    elif instructions is not None:
        return None
    elif content.get("prompt") is not None:
        return _as_item(body, items, spans, text, places)
    written = orjson.dumps(text)
    if "instructions" in spans:
        start, end = spans["instructions"]
        return Edit(start, end, written)
    place = body.index(b"{") + 1  # a comma may follow: there is a model at least
    return Edit(place, place, b'"instructions":' + written + b",")


def _as_item(
    body: bytes,
    items: object,
    spans: Mapping[str, Span],
    text: str,
    places: ChatPlaces | None,
) -> Edit | None:
    item = orjson.dumps({"role": "developer", "content": [{"type": "input_text", "text": text}]})
    if isinstance(items, str):
        start, end = spans["input"]
        user = orjson.dumps({"role": "user", "content": items})
        return Edit(start, end, b"[" + item + b"," + user + b"]")
    if not isinstance(items, list):
        return None
    if places is None:
        places = ChatPlaces(spans["input"], element_spans(body, spans["input"]))
    return insertion(items, places, item)
