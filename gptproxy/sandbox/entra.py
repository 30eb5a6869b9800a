"""A stand-in for what gives tokens of Entra ID: the directory's token server, and two services for managed identities.

It answers at the Azure resources' own addresses, so that one address is enough: ``/{tenant}/oauth2/v2.0/token``,
``/metadata/identity/oauth2/token`` as a virtual machine has it, ``/msi/token`` as App Service has it.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from gptproxy.sandbox.messages import Call, JsonObject, Reply, write_json

__all__ = ["ASSERTION", "CLIENT_SECRET", "IDENTITY_HEADER", "entra_answer", "is_token"]

CLIENT_SECRET = "entra-client-secret"  # noqa: S105 - the sandbox's own, which opens nothing
"""What an application shows."""

ASSERTION = "eyJhbGciOiJSUzI1NiJ9.sandbox.assertion"
"""What a workload identity's file holds."""

IDENTITY_HEADER = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"
"""What App Service puts into the environment of an app."""

_TOKEN_PREFIX = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.sandbox."  # noqa: S105 - as above
_RESOURCES = ("https://cognitiveservices.azure.com", "https://ai.azure.com")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LASTS_SECONDS = 3599


def is_token(text: str | None) -> bool:
    """
    :param text: what came as a bearer.
    :return: it is a token of this server's.
    """
    return text is not None and text.startswith(_TOKEN_PREFIX)


def entra_answer(call: Call) -> Reply | None:
    """
    :param call: what was asked of an Azure resource.
    :return: the token server's answer; None where the call is not for it.
    """
    parts = call.segments
    if call.method == "POST" and len(parts) == 4 and parts[1:] == ("oauth2", "v2.0", "token"):
        return _directory(call)
    if call.method == "GET" and parts == ("metadata", "identity", "oauth2", "token"):
        return _machine(call)
    if call.method == "GET" and parts == ("msi", "token"):
        return _app(call)
    return None


def _directory(call: Call) -> Reply:
    form = {name: values[0] for name, values in parse_qs(call.body.decode("latin-1")).items()}
    if form.get("grant_type") != "client_credentials":
        return _refused(400, "unsupported_grant_type", "AADSTS70003: The grant is not supported.")
    if form.get("scope", "").removesuffix("/.default") not in _RESOURCES:
        return _refused(400, "invalid_scope", "AADSTS70011: The provided scope is not valid.")
    by_assertion = form.get("client_assertion_type") == _ASSERTION_TYPE
    shown = form.get("client_assertion" if by_assertion else "client_secret")
    if shown != (ASSERTION if by_assertion else CLIENT_SECRET) or not form.get("client_id"):
        return _refused(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
    return _granted(call, {"expires_in": _LASTS_SECONDS, "ext_expires_in": _LASTS_SECONDS})


def _machine(call: Call) -> Reply:
    if call.header("metadata") != "true":
        return _refused(400, "invalid_request", "Required metadata header not specified")
    if not _asks_well(call, "2018-02-01"):
        return _refused(400, "invalid_request", "Required query variable 'resource' is missing")
    ends = str(int(call.now) + _LASTS_SECONDS)
    return _granted(call, {"expires_in": str(_LASTS_SECONDS), "expires_on": ends})


def _app(call: Call) -> Reply:
    if call.header("x-identity-header") != IDENTITY_HEADER:
        return _refused(401, "unauthorized_client", "The header is not this app's.")
    if not _asks_well(call, "2019-08-01"):
        return _refused(400, "invalid_request", "The api-version or the resource is missing.")
    # It says when the token ends, and not how long it lasts.
    return _granted(call, {"expires_on": str(int(call.now) + _LASTS_SECONDS)})


def _asks_well(call: Call, version: str) -> bool:
    (resource,) = call.query.get("resource", ("",))[:1]
    return call.query.get("api-version") == (version,) and resource in _RESOURCES


def _granted(call: Call, lasts: JsonObject) -> Reply:
    token = f"{_TOKEN_PREFIX}{call.number}"
    return _reply(200, {"token_type": "Bearer", **lasts, "access_token": token})


def _refused(status: int, code: str, description: str) -> Reply:
    return _reply(status, {"error": code, "error_description": description})


def _reply(status: int, value: JsonObject) -> Reply:
    fields = (("Content-Type", "application/json; charset=utf-8"), ("Cache-Control", "no-store"))
    return Reply(status, fields, write_json(value))
