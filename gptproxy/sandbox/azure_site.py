"""The stand-ins for Azure OpenAI resources: deployments, api-versions, keys, filter results.

Both forms of its addresses: ``/openai/deployments/NAME/...?api-version=V`` and ``/openai/v1/...``.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from attrs import frozen

from gptproxy.sandbox.azure import (
    DEPLOYMENT_NOT_FOUND,
    RESOURCE_NOT_FOUND,
    UNAUTHORIZED,
    asynchronous_chunks,
    azure_body,
    azure_chunks,
    error,
    filtered_body,
    filtered_chunks,
)
from gptproxy.sandbox.chunks import completion_chunks, framed
from gptproxy.sandbox.completions import Answer, completion_body
from gptproxy.sandbox.entra import entra_answer, is_token
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
from gptproxy.sandbox.models import DEPLOYMENTS, MODELS, Model
from gptproxy.sandbox.operations import ROUTES, Binary, model_object, operate, uploaded
from gptproxy.sandbox.responses import Response, response_body, response_events

__all__ = ["KEYS", "azure_answer", "azure_headers", "azure_json", "version_of"]

#: The key of each resource.
KEYS: Mapping[str, str] = MappingProxyType(
    {"azure": "azure-key-primary", "azure_secondary": "azure-key-secondary"}
)

_DATED = re.compile(r"\d{4}-\d\d-\d\d(?:-preview)?")
_UNDATED = frozenset({"v1", "preview", "latest"})
#: stream_options came with 2024-09-01-preview, prompt_filter_results with 2023-07-01-preview.
_STREAM_OPTIONS_SINCE = "2024-09-01"
_FILTER_RESULTS_SINCE = "2023-07-01"

#: Azure passes ten custom header fields to the model and answers 431 for more ("Quotas and
#: limits"). These are not custom.
_CUSTOM_HEADERS = 10
_ORDINARY_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "api-key",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "transfer-encoding",
        "user-agent",
        "x-ms-client-request-id",
    }
)


class _Failure(Exception):
    """An error of Azure's front end, which has a form of its own."""

    def __init__(self, status: int, body: JsonObject) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@frozen
class _Place:
    """Where in a resource a call goes: below a deployment, or below /openai or /openai/v1."""

    route: tuple[str, ...]
    deployment: str | None
    version: str


def azure_headers(call: Call, content_type: str = "application/json") -> Headers:
    """:return: the fields that Azure sends; its x-ratelimit-reset-* are plain numbers."""
    ident = str(UUID(identifier(call, "request", 32)))
    region = "East US 2" if call.role == "azure_secondary" else "Sweden Central"
    return (
        ("Content-Type", content_type),
        ("Server", "istio-envoy"),
        ("apim-request-id", ident),
        ("x-request-id", str(UUID(identifier(call, "model", 32)))),
        ("x-ms-region", region),
        ("x-ms-client-request-id", ident),
        ("x-ms-rai-invoked", "true"),
        ("azureml-model-session", "v20250101-1-sandbox"),
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-limit-tokens", "60000"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-remaining-tokens", "59000"),
        ("x-ratelimit-reset-requests", "10"),
        ("x-ratelimit-reset-tokens", "1"),
        ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
        ("x-content-type-options", "nosniff"),
        ("Set-Cookie", f"ARRAffinity={ident}; Path=/; HttpOnly; Secure"),
    )


def azure_json(call: Call, value: JsonObject, status: int = 200) -> Reply:
    """:return: a body as Azure writes it, without spaces, with its fields."""
    return Reply(status, azure_headers(call), write_json(value))


def version_of(call: Call) -> str:
    """:return: the call's api-version; empty where it names none or several."""
    versions = call.query.get("api-version", ())
    return versions[0] if len(versions) == 1 else ""


def _placed(call: Call) -> _Place:
    parts = call.segments
    if parts[:2] == ("openai", "v1"):
        version = version_of(call)
        if "api-version" in call.query and version not in _UNDATED:
            raise _Failure(400, error("BadRequest", "API version not supported"))
        return _Place(parts[2:], None, version or "v1")
    version = version_of(call)
    if parts[:1] != ("openai",) or _DATED.fullmatch(version) is None:
        raise _Failure(404, RESOURCE_NOT_FOUND)
    if parts[1:2] == ("deployments",):
        return _Place(parts[3:], parts[2] if len(parts) > 2 else "", version)
    return _Place(parts[1:], None, version)


def _deployment(name: object, operation: str) -> Model:
    model = DEPLOYMENTS.get(name) if isinstance(name, str) else None
    if model is None:
        raise _Failure(404, DEPLOYMENT_NOT_FOUND)
    if operation not in model.does:
        raise _Failure(
            400,
            error(
                "OperationNotSupported",
                f"The {operation} operation does not work with the specified model, {name}. "
                "Please choose different model and try again. You can learn more about which "
                "models can be used with each operation here: "
                "https://go.microsoft.com/fwlink/?linkid=2197993.",
            ),
        )
    return model


def _check_caller(call: Call) -> None:
    # Below /openai/v1 the key may come as a bearer too; elsewhere a bearer is an Entra token.
    bearer = call.bearer()
    key = bearer if call.segments[:2] == ("openai", "v1") else None
    if KEYS[call.role] not in (call.header("api-key"), key) and not is_token(bearer):
        raise _Failure(401, UNAUTHORIZED)
    custom = [name for name, _ in call.headers if name not in _ORDINARY_HEADERS]
    if len(custom) > _CUSTOM_HEADERS:
        raise _Failure(431, error("431", "Request Header Fields Too Large"))


def _operation(
    call: Call, place: _Place, operation: str, fault: Fault | None
) -> Reply | EventReply:
    classic = place.deployment is not None
    # A deployment that is not there is found out before the body is read.
    model = _deployment(place.deployment, operation) if classic else None
    request = read_json(call.body)
    if model is None:
        model = _deployment(request.get("model"), operation)
    elif place.version < _STREAM_OPTIONS_SINCE and "stream_options" in request:
        raise Refusal(400, "Unrecognized request argument supplied: stream_options")
    outcome = operate(operation, call, request, model)
    if isinstance(outcome, Binary):
        return Reply(200, azure_headers(call, outcome.content_type), outcome.body)
    if isinstance(outcome, Response):
        if not outcome.stream:
            return azure_json(call, response_body(outcome, fault, azure=True))
        headers = azure_headers(call, "text/event-stream; charset=utf-8")
        return EventReply(headers, response_events(outcome, fault, azure=True))
    if not isinstance(outcome, Answer):
        return azure_json(call, outcome)
    if not outcome.stream:
        return azure_json(call, _body(outcome, fault))
    headers = azure_headers(call, "text/event-stream; charset=utf-8")
    return EventReply(headers, framed(_stream(outcome, fault, place.version)))


def _body(answer: Answer, fault: Fault | None) -> JsonObject:
    name = fault.fault if fault is not None else ""
    body = completion_body(answer)
    if name in ("filtered_output", "filtered_stream"):
        return filtered_body(body)
    return azure_body(body, ran=name != "content_filter_error_200")


def _stream(answer: Answer, fault: Fault | None, version: str) -> list[JsonObject]:
    chunks = completion_chunks(answer)
    for chunk in chunks:
        chunk.pop("obfuscation", None)
    old = version < _FILTER_RESULTS_SINCE
    if fault is None:
        return azure_chunks(chunks, old=old)
    if fault.fault in ("filtered_output", "filtered_stream"):
        return filtered_chunks(chunks, fault.after_events or 0)
    if fault.fault == "async_filter_stream":
        contents = 4 if fault.after_events is None else fault.after_events
        return asynchronous_chunks(chunks, contents, fault.filtered)
    return azure_chunks(chunks, ran=fault.fault != "content_filter_error_200", old=old)


def _routed(call: Call, fault: Fault | None) -> Reply | EventReply:
    _check_caller(call)
    place = _placed(call)
    operation = ROUTES.get(place.route)
    if operation is not None and call.method == "POST":
        # Classic addresses name the deployment in the path, but for the Responses API; v1 names it in the body.
        named_in_body = call.segments[1] == "v1" or operation == "respond"
        if (place.deployment is None) != named_in_body:
            raise _Failure(404, RESOURCE_NOT_FOUND)
        return _operation(call, place, operation, fault)
    if place.deployment is None and place.route == ("models",) and call.method in ("GET", "HEAD"):
        # The base models of the region, not the deployments.
        data = [model_object(model) for model in MODELS.values()]
        return azure_json(call, {"object": "list", "data": data})
    if place.deployment is None and place.route == ("files",) and call.method == "POST":
        return azure_json(call, uploaded(call))
    raise _Failure(404, RESOURCE_NOT_FOUND)


def azure_answer(call: Call, fault: Fault | None = None) -> Reply | EventReply:
    """
    :param call: what was asked; its role says which resource.
    :param fault: one that changes the answer; others are for others to play.
    :return: what the resource would answer, errors included.
    """
    granted = entra_answer(call)
    if granted is not None:
        return granted
    try:
        return _routed(call, fault)
    except Refusal as refusal:
        return azure_json(call, refusal.body(), refusal.status)
    except _Failure as failure:
        return azure_json(call, failure.body, failure.status)
