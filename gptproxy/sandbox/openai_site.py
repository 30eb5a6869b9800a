"""The stand-in for api.openai.com: routes, keys, errors and headers in OpenAI's form.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from attrs import evolve

from gptproxy.sandbox.chunks import completion_chunks, framed
from gptproxy.sandbox.completions import Answer, completion_body
from gptproxy.sandbox.faults import Fault
from gptproxy.sandbox.messages import (
    Call,
    EventReply,
    Headers,
    JsonObject,
    Refusal,
    Reply,
    identifier,
    read_json,
    write_json,
)
from gptproxy.sandbox.models import MODELS, Model
from gptproxy.sandbox.operations import ROUTES, Binary, model_object, operate, uploaded
from gptproxy.sandbox.responses import Response, response_body, response_events

__all__ = ["KEY", "invalid_key", "openai_answer", "openai_headers", "openai_json"]

KEY = "sk-sandbox-openai"

_FREE_CHOICE = frozenset({"moderate", "image", "speech"})


def openai_headers(call: Call, content_type: str = "application/json") -> Headers:
    """
    :return: the fields that OpenAI sends, and those of the content network before it, which a
        gateway must not pass on: Set-Cookie, Server, Alt-Svc, CF-RAY and the like.
    """
    ident = identifier(call, "request", 32)
    return (
        ("Content-Type", content_type),
        ("Server", "cloudflare"),
        ("x-request-id", f"req_{ident}"),
        ("openai-organization", "org-sandbox"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "200000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "199000"),
        ("x-ratelimit-reset-requests", "8.64s"),
        ("x-ratelimit-reset-tokens", "6m0s"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
        ("x-content-type-options", "nosniff"),
        ("cf-cache-status", "DYNAMIC"),
        ("Set-Cookie", f"__cf_bm={ident}; path=/; HttpOnly; Secure; SameSite=None"),
        ("Set-Cookie", f"_cfuvid={ident}; path=/; HttpOnly; Secure; SameSite=None"),
        ("CF-RAY", f"{ident[:16]}-FRA"),
        ("alt-svc", 'h3=":443"; ma=86400'),
    )


def openai_json(call: Call, value: JsonObject, status: int = 200) -> Reply:
    """:return: a body as OpenAI writes it, indented by two, with its fields."""
    return Reply(status, openai_headers(call), write_json(value, indent=2) + b"\n")


def invalid_key(key: str | None) -> Refusal:
    """
    :param key: what was sent, of which the message repeats the ends, as OpenAI does.
    :return: the 401.
    """
    if key is None:
        return Refusal(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    shown = f"{key[:8]}{'*' * max(len(key) - 12, 0)}{key[-4:]}" if len(key) > 12 else "*" * len(key)
    return Refusal(
        401,
        f"Incorrect API key provided: {shown}. You can find your API key at "
        "https://platform.openai.com/account/api-keys.",
        code="invalid_api_key",
    )


def _no_model(name: object) -> Refusal:
    return Refusal(
        404,
        f"The model `{name}` does not exist or you do not have access to it.",
        code="model_not_found",
    )


def _model_for(operation: str, request: JsonObject) -> Model:
    name = request.get("model")
    if operation in _FREE_CHOICE:
        return MODELS["gpt-4o"]
    if name is None:
        raise Refusal(400, "you must provide a model parameter")
    if not isinstance(name, str) or name not in MODELS:
        raise _no_model(name)
    model = MODELS[name]
    if operation in model.does:
        return model
    if operation == "embed":
        raise Refusal(403, "You are not allowed to generate embeddings from this model")
    asked = "chat" if operation == "chat" else "completion"
    path = "v1/chat/completions" if operation == "chat" else "v1/completions"
    raise Refusal(
        404,
        f"This is not a {asked} model and thus not supported in the {path} endpoint.",
        param="model",
    )


def _filtered(answer: Answer, fault: Fault | None) -> Answer:
    if fault is None or fault.fault not in ("filtered_output", "filtered_stream"):
        return answer
    kept = fault.after_events or 0
    choices = tuple(
        evolve(choice, pieces=choice.pieces[:kept], tool=None, finish="content_filter")
        for choice in answer.choices
    )
    return evolve(answer, choices=choices)


def _operation(call: Call, operation: str, fault: Fault | None) -> Reply | EventReply:
    request = read_json(call.body)
    outcome = operate(operation, call, request, _model_for(operation, request))
    if isinstance(outcome, Binary):
        return Reply(200, openai_headers(call, outcome.content_type), outcome.body)
    if isinstance(outcome, Response):
        if not outcome.stream:
            return openai_json(call, response_body(outcome, fault, azure=False))
        headers = openai_headers(call, "text/event-stream; charset=utf-8")
        return EventReply(headers, response_events(outcome, fault, azure=False))
    if not isinstance(outcome, Answer):
        return openai_json(call, outcome)
    answer = _filtered(outcome, fault)
    if not answer.stream:
        return openai_json(call, completion_body(answer))
    headers = openai_headers(call, "text/event-stream; charset=utf-8")
    return EventReply(headers, framed(completion_chunks(answer)))


def _routed(call: Call, fault: Fault | None) -> Reply | EventReply:
    route = call.segments[1:] if call.segments[:1] == ("v1",) else ()
    models = route[:1] == ("models",) and len(route) <= 2
    if not models and route not in ROUTES and route != ("files",):
        raise Refusal(404, f"Invalid URL ({call.method} {call.path})")
    if call.bearer() != KEY:
        raise invalid_key(call.bearer())
    if call.method not in (("GET", "HEAD") if models else ("POST",)):
        raise Refusal(
            405,
            f"Not allowed to {call.method} on {call.path}. (HINT: Perhaps you meant to use a "
            "different HTTP method?)",
            code="method_not_supported",
        )
    if route == ("models",):
        data = [model_object(model) for model in MODELS.values()]
        return openai_json(call, {"object": "list", "data": data})
    if models:
        if route[1] not in MODELS:
            raise _no_model(route[1])
        return openai_json(call, model_object(MODELS[route[1]]))
    if route == ("files",):
        return openai_json(call, uploaded(call))
    return _operation(call, ROUTES[route], fault)


def openai_answer(call: Call, fault: Fault | None = None) -> Reply | EventReply:
    """
    :param call: what was asked.
    :param fault: one that changes the answer; others are for others to play.
    :return: what api.openai.com would answer, errors included.
    """
    try:
        return _routed(call, fault)
    except Refusal as refusal:
        return openai_json(call, refusal.body(), refusal.status)
