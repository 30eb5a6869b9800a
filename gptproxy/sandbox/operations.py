"""What both families of sites can do: operations from a route and a body to an outcome.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from attrs import field, frozen

from gptproxy.sandbox.answers import text_of
from gptproxy.sandbox.completions import Answer, chat_answer, text_answer
from gptproxy.sandbox.embeddings import embeddings_answer
from gptproxy.sandbox.messages import Call, JsonObject, Refusal, identifier
from gptproxy.sandbox.models import Model
from gptproxy.sandbox.responses import Response, response_answer

__all__ = ["ROUTES", "Binary", "form_parts", "model_object", "operate", "uploaded"]

#: The path below the site's base, and the operation behind it.
ROUTES: Mapping[tuple[str, ...], str] = MappingProxyType(
    {
        ("chat", "completions"): "chat",
        ("completions",): "text",
        ("responses",): "respond",
        ("embeddings",): "embed",
        ("moderations",): "moderate",
        ("images", "generations"): "image",
        ("audio", "speech"): "speech",
    }
)

#: One pixel, transparent.
_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJg"
    "gg=="
)
#: Every value of a byte, so that a relay that touches one is found out.
_SOUND = b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(range(256)) * 16

_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_SPEECH = 4096  # characters, of the API reference's "Create speech"
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))', re.IGNORECASE)
_FIELD = re.compile(r'\b(name|filename)="([^"]*)"')


@frozen
class Binary:
    """An outcome that is not JSON."""

    content_type: str
    body: bytes = field(repr=False)


def model_object(model: Model) -> JsonObject:
    """:return: an entry of the list of models."""
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "openai"}


def operate(
    operation: str, call: Call, request: JsonObject, model: Model
) -> Answer | Response | JsonObject | Binary:
    """
    :param operation: one of the values of `ROUTES`.
    :param call: gives time and identifiers.
    :param request: its body.
    :param model: the model or deployment that it names.
    :return: an answer to be put into a body or a stream, a body, or bytes.
    :raise Refusal: 400, where the body is not one of that operation.
    """
    created = int(call.now)
    ident = identifier(call, "completion")
    if operation == "chat":
        return chat_answer(request, model, ident=ident, created=created)
    if operation == "text":
        return text_answer(request, model, ident=ident, created=created)
    if operation == "respond":
        return response_answer(request, model, ident=ident, created=created)
    if operation == "embed":
        return embeddings_answer(request, model)
    if operation == "moderate":
        return _moderated(request, ident)
    if operation == "image":
        return _drawn(request, created)
    return _spoken(request)


def _moderated(request: JsonObject, ident: str) -> JsonObject:
    value = request.get("input")
    inputs = value if isinstance(value, list) and value else [value]
    if not all(isinstance(one, (str, dict)) for one in inputs):
        raise Refusal(400, "Invalid type for 'input'.", param="input", code="invalid_type")
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 0.00001),
        "category_applied_input_types": {category: ["text"] for category in _CATEGORIES},
    }
    return {
        "id": f"modr-{ident}",
        "model": "omni-moderation-latest",
        "results": [result for _ in inputs],
    }


def _drawn(request: JsonObject, created: int) -> JsonObject:
    prompt = text_of(request.get("prompt"))
    if not prompt:
        raise Refusal(
            400,
            "Missing required parameter: 'prompt'.",
            param="prompt",
            code="missing_required_parameter",
        )
    return {"created": created, "data": [{"b64_json": _PNG, "revised_prompt": prompt}]}


def _spoken(request: JsonObject) -> Binary:
    text = request.get("input")
    if not isinstance(text, str) or not 1 <= len(text) <= _SPEECH:
        raise Refusal(400, f"'input' is a string of 1 to {_SPEECH} characters.", param="input")
    return Binary("audio/mpeg", _SOUND)


def form_parts(call: Call) -> dict[str, tuple[str, bytes]]:
    """
    :param call: with a multipart/form-data body (RFC 7578).
    :return: name to filename and content.
    :raise Refusal: 400, where it has none.
    """
    kind = call.header("content-type") or ""
    found = _BOUNDARY.search(kind)
    if found is None or not kind.lower().startswith("multipart/form-data"):
        raise Refusal(400, "Invalid Content-Type header: expected multipart/form-data.")
    boundary = b"\r\n--" + (found[1] or found[2]).encode("latin-1")
    pieces = (b"\r\n" + call.body).split(boundary)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise Refusal(400, "The multipart body ends before its closing boundary.")
    parts = {}
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        names = dict(_FIELD.findall(head.decode("utf-8", "replace")))
        parts[names.get("name", "")] = (names.get("filename", ""), content)
    return parts


def uploaded(call: Call) -> JsonObject:
    """
    :param call: POST /files.
    :return: the file object; its size is that of the bytes received.
    :raise Refusal: 400, where the body is not multipart or lacks a part.
    """
    parts = form_parts(call)
    for name in ("file", "purpose"):
        if name not in parts:
            raise Refusal(
                400,
                f"Missing required parameter: '{name}'.",
                param=name,
                code="missing_required_parameter",
            )
    filename, content = parts["file"]
    return {
        "id": f"file-{identifier(call, 'file')}",
        "object": "file",
        "bytes": len(content),
        "created_at": int(call.now),
        "filename": filename,
        "purpose": parts["purpose"][1].decode("utf-8", "replace"),
        "status": "processed",
        "status_details": None,
        "expires_at": None,
    }
