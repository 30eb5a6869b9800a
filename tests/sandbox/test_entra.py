"""The stand-in for what gives tokens of Entra ID."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from gptproxy.sandbox.azure_site import azure_answer
from gptproxy.sandbox.entra import ASSERTION, CLIENT_SECRET, IDENTITY_HEADER, entra_answer, is_token
from gptproxy.sandbox.messages import Call, Reply

RESOURCE = "https://cognitiveservices.azure.com"
SECRET = {
    "grant_type": "client_credentials",
    "client_id": "app-1",
    "client_secret": CLIENT_SECRET,
    "scope": f"{RESOURCE}/.default",
}
FILE = {
    **{name: SECRET[name] for name in ("grant_type", "client_id", "scope")},
    "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    "client_assertion": ASSERTION,
}
MACHINE, APP = "/metadata/identity/oauth2/token", "/msi/token"


def posted(form: dict[str, str]) -> Call:
    body = urlencode(form).encode()
    return Call("azure", "POST", "/contoso.com/oauth2/v2.0/token", body=body, now=1000.5)


def got(path: str, version: str, *headers: tuple[str, str], resource: str = RESOURCE) -> Call:
    query = {"api-version": (version,), "resource": (resource,)}
    return Call("azure", "GET", f"{path}?...", query=query, headers=headers, now=1000.5)


GOOD = [
    (posted(SECRET), {"expires_in": 3599, "ext_expires_in": 3599}),
    (posted(FILE), {"expires_in": 3599, "ext_expires_in": 3599}),
    (
        got(MACHINE, "2018-02-01", ("metadata", "true")),
        {"expires_in": "3599", "expires_on": "4599"},
    ),
    (got(APP, "2019-08-01", ("x-identity-header", IDENTITY_HEADER)), {"expires_on": "4599"}),
]


@pytest.mark.parametrize(("call", "lasts"), GOOD)
def test_a_token(call: Call, lasts: dict[str, object]) -> None:
    """Each service says in its own way how long it is good; a resource takes it."""
    reply = azure_answer(call)
    assert isinstance(reply, Reply)
    content = json.loads(reply.body)
    token = content.pop("access_token")
    assert (reply.status, content) == (200, {"token_type": "Bearer", **lasts})
    assert is_token(token)
    models = Call(
        "azure",
        "GET",
        "/openai/models?api-version=2024-10-21",
        query={"api-version": ("2024-10-21",)},
        headers=(("authorization", f"Bearer {token}"),),
    )
    listed = azure_answer(models)
    assert isinstance(listed, Reply)
    assert listed.status == 200


@pytest.mark.parametrize(
    ("call", "status", "code"),
    [
        (posted({**SECRET, "client_secret": "another"}), 401, "invalid_client"),
        (posted({**SECRET, "client_id": ""}), 401, "invalid_client"),
        (posted({**FILE, "client_assertion": "another"}), 401, "invalid_client"),
        (posted({**SECRET, "grant_type": "password"}), 400, "unsupported_grant_type"),
        (posted({**SECRET, "scope": "https://graph.microsoft.com/.default"}), 400, "invalid_scope"),
        (got(MACHINE, "2018-02-01"), 400, "invalid_request"),
        (got(MACHINE, "2019-08-01", ("metadata", "true")), 400, "invalid_request"),
        (got(APP, "2019-08-01"), 401, "unauthorized_client"),
        (got(APP, "2018-02-01", ("x-identity-header", IDENTITY_HEADER)), 400, "invalid_request"),
        (
            got(APP, "2019-08-01", ("x-identity-header", IDENTITY_HEADER), resource="x"),
            400,
            "invalid_request",
        ),
    ],
)
def test_none(call: Call, status: int, code: str) -> None:
    """In the form of OAuth 2.0 (RFC 6749 5.2)."""
    reply = entra_answer(call)
    assert reply is not None
    assert (reply.status, json.loads(reply.body)["error"]) == (status, code)


@pytest.mark.parametrize("path", ["/openai/v1/models", "/msi", "/a/oauth2/v2.0/tokens"])
def test_what_it_is_not_asked(path: str) -> None:
    """All else is the resource's."""
    assert entra_answer(Call("azure", "POST", path)) is None
    assert entra_answer(Call("azure", "GET", path)) is None
    assert not is_token(None)
    assert not is_token("azure-key-primary")
