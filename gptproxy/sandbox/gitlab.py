"""The stand-in for a GitLab: who holds a token, and the errors of its API.

Bodies: GitLab's ``lib/api/api_guard.rb`` and its REST API pages "Users", "Personal access
tokens" and "Version".

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from attrs import frozen

from gptproxy.sandbox.messages import Call, Headers, JsonObject, Reply, identifier, write_json

__all__ = ["TOKENS", "gitlab_answer", "gitlab_headers", "gitlab_json"]

_FOR_USERS = frozenset({"api", "read_api", "read_user"})


@frozen
class _Token:
    user_id: int
    username: str
    name: str
    scopes: tuple[str, ...] = ("read_user",)
    state: str = "active"


TOKENS: Mapping[str, _Token] = MappingProxyType(
    {
        "glpat-sandbox-alice": _Token(1, "alice", "Alice Adams"),
        "glpat-sandbox-bob": _Token(2, "bob", "Bob Brown", ("api",)),
        "glpat-sandbox-revoked": _Token(3, "carol", "Carol Clark", state="revoked"),
        "glpat-sandbox-expired": _Token(4, "dave", "Dave Davis", state="expired"),
        "glpat-sandbox-narrow": _Token(5, "erin", "Erin Evans", ("read_repository",)),
        "glpat-sandbox-blocked": _Token(6, "frank", "Frank Foster", state="blocked"),
    }
)

_REVOKED: JsonObject = {
    "error": "invalid_token",
    "error_description": "Token was revoked. You have to re-authorize from the user.",
}
_EXPIRED: JsonObject = {
    "error": "invalid_token",
    "error_description": "Token is expired. You can either do re-authorization or token refresh.",
}
_NARROW: JsonObject = {
    "error": "insufficient_scope",
    "error_description": "The request requires higher privileges than provided by the access "
    "token.",
    "scope": "api read_user read_api",
}


def gitlab_headers(call: Call, content_type: str = "application/json") -> Headers:
    """:return: the fields that a GitLab sends."""
    return (
        ("Server", "nginx"),
        ("Content-Type", content_type),
        ("Cache-Control", "max-age=0, private, must-revalidate"),
        ("Vary", "Origin"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "SAMEORIGIN"),
        ("X-Gitlab-Meta", '{"correlation_id":"sandbox","version":"1"}'),
        ("X-Request-Id", identifier(call, "request", 26)),
        ("X-Runtime", "0.012345"),
    )


def gitlab_json(call: Call, value: object, status: int = 200) -> Reply:
    """:return: a body as GitLab writes it, with its fields."""
    return Reply(status, gitlab_headers(call), write_json(value))


def _user(token: _Token) -> JsonObject:
    address = f"http://gitlab.sandbox/{token.username}"
    return {
        "id": token.user_id,
        "username": token.username,
        "public_email": None,
        "name": token.name,
        "state": "active",
        "locked": False,
        "avatar_url": None,
        "web_url": address,
        "created_at": "2024-01-02T03:04:05.678Z",
        "bio": "",
        "location": None,
        "bot": False,
        "last_sign_in_at": "2025-01-02T03:04:05.678Z",
        "confirmed_at": "2024-01-02T03:04:05.678Z",
        "last_activity_on": "2025-01-02",
        "email": f"{token.username}@gitlab.sandbox",
        "color_scheme_id": 1,
        "projects_limit": 100000,
        "current_sign_in_at": "2025-01-02T03:04:05.678Z",
        "identities": [],
        "can_create_group": True,
        "can_create_project": True,
        "two_factor_enabled": False,
        "external": False,
        "private_profile": False,
        "commit_email": f"{token.username}@gitlab.sandbox",
    }


def _self(token: _Token, now: float) -> JsonObject:
    # Tokens end on a date, at 00:00 UTC; this one always has a season to live.
    day = datetime.fromtimestamp(now, UTC).date() + timedelta(days=90)
    return {
        "id": 100 + token.user_id,
        "name": f"{token.username}'s token",
        "revoked": False,
        "created_at": "2025-01-02T03:04:05.678Z",
        "description": None,
        "scopes": list(token.scopes),
        "user_id": token.user_id,
        "last_used_at": "2025-01-02T03:04:05.678Z",
        "active": True,
        "expires_at": day.isoformat(),
    }


def gitlab_answer(call: Call) -> Reply:
    """
    :param call: what was asked; the token comes in ``PRIVATE-TOKEN`` or as a bearer.
    :return: what GitLab would answer.
    """
    parts = call.segments
    if parts[:1] != ("api",):
        headers = (
            *gitlab_headers(call, "text/html; charset=utf-8"),
            ("Location", "/users/sign_in"),
        )
        return Reply(302, headers, b"<html><body>You are being redirected.</body></html>")
    secret = call.header("private-token") or call.bearer()
    token = TOKENS.get(secret or "")
    if token is None:
        return gitlab_json(call, {"message": "401 Unauthorized"}, 401)
    if token.state == "revoked":
        return gitlab_json(call, _REVOKED, 401)
    if token.state == "expired":
        return gitlab_json(call, _EXPIRED, 401)
    if token.state == "blocked":
        return gitlab_json(call, {"message": "403 Forbidden - Your account has been blocked."}, 403)
    if parts[:2] != ("api", "v4") or call.method not in ("GET", "HEAD"):
        return gitlab_json(call, {"error": "404 Not Found"}, 404)
    if parts[2:] == ("personal_access_tokens", "self"):
        return gitlab_json(call, _self(token, call.now))
    if parts[2:] not in (("user",), ("version",)):
        return gitlab_json(call, {"error": "404 Not Found"}, 404)
    if _FOR_USERS.isdisjoint(token.scopes):
        return gitlab_json(call, _NARROW, 403)
    if parts[2:] == ("version",):
        return gitlab_json(call, {"version": "18.4.1-ee", "revision": "5a5a5a5a5a5"})
    return gitlab_json(call, _user(token))
