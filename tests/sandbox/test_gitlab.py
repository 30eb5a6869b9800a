"""What the stand-in for GitLab answers to each of its tokens."""

from __future__ import annotations

import json

import pytest

from gptproxy.sandbox.gitlab import gitlab_answer
from gptproxy.sandbox.messages import Call, Headers

USER, SELF = "/api/v4/user", "/api/v4/personal_access_tokens/self"


def _call(target: str, headers: Headers = (), method: str = "GET") -> Call:
    return Call("gitlab", method, target, headers=headers, now=1e9)


@pytest.mark.parametrize(
    ("token", "target", "status", "text"),
    [
        ("alice", USER, 200, '"username":"alice"'),
        ("bob", USER, 200, '"username":"bob"'),
        ("alice", SELF, 200, '"scopes":["read_user"]'),
        ("alice", "/api/v4/version", 200, '"version"'),
        ("alice", "/api/v4/projects", 404, "404 Not Found"),
        ("alice", "/api/v3/user", 404, "404 Not Found"),
        ("alice", "/users/alice", 302, "redirected"),
        ("revoked", USER, 401, "Token was revoked"),
        ("expired", SELF, 401, "Token is expired"),
        ("narrow", USER, 403, "insufficient_scope"),
        ("narrow", "/api/v4/version", 403, "insufficient_scope"),
        ("narrow", SELF, 200, '"scopes":["read_repository"]'),
        ("blocked", USER, 403, "Your account has been blocked."),
        ("nobody", USER, 401, '{"message":"401 Unauthorized"}'),
    ],
)
@pytest.mark.parametrize("header", ["private-token", "authorization"])
def test_gitlab_knows_its_tokens(
    token: str, target: str, status: int, text: str, header: str
) -> None:
    """Both headers; the two kinds of 403 and the three of 401 differ in their bodies."""
    value = f"glpat-sandbox-{token}"
    headers: Headers = ((header, f"Bearer {value}" if header == "authorization" else value),)
    reply = gitlab_answer(_call(target, headers))
    assert reply.status == status
    assert text in reply.body.decode()
    assert value not in reply.body.decode()


def test_gitlab_without_a_token_and_with_another_method() -> None:
    """No token is 401; GitLab's routes here are for reading."""
    assert gitlab_answer(_call(USER)).status == 401
    alice: Headers = (("private-token", "glpat-sandbox-alice"),)
    assert gitlab_answer(_call(USER, alice, "POST")).status == 404
    user = json.loads(gitlab_answer(_call(USER, alice)).body)
    assert (user["id"], user["state"], user["bot"]) == (1, "active", False)
    own = json.loads(gitlab_answer(_call(SELF, alice)).body)
    assert own["expires_at"] == "2001-12-08"
