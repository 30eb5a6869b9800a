"""What the stand-in for GitLab answers to each of its tokens."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

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
        ("alice", "/api/v4/projects", 403, "api read_api"),
        ("alice", "/api/v4/groups/10/members/all/1", 403, "insufficient_scope"),
        ("alice", "/api/v4/nothing", 404, "404 Not Found"),
        ("alice", "/api/v4/users/2", 200, '"username":"bob"'),
        ("alice", "/api/v4/users/99", 404, "404 User Not Found"),
        ("alice", "/api/v4/users/bob", 404, "404 User Not Found"),
        ("alice", "/api/v4/job", 404, "404 Not Found"),
        ("alice", f"{SELF}/associations", 200, '"web_url":"http://gitlab.sandbox/groups/engin'),
        ("bob", "/api/v4/groups", 200, '"full_path":"sales"'),
        ("bob", "/api/v4/projects", 200, '"path_with_namespace":"engineering/web/app"'),
        ("bob", "/api/v4/groups/engineering%2Fweb", 200, '"full_path":"engineering/web"'),
        ("bob", "/api/v4/groups/99", 404, "404 Group Not Found"),
        ("bob", "/api/v4/projects/99", 404, "404 Project Not Found"),
        ("bob", "/api/v4/projects/20/nothing", 404, "404 Not Found"),
        ("service", "/api/v4/groups/engineering/members/all/1", 200, '"access_level":30'),
        ("service", "/api/v4/projects/20/members/all/2", 200, '"access_level":40'),
        ("service", "/api/v4/groups/sales/members/all/1", 404, "404 Not Found"),
        ("service", "/api/v4/groups/nobody/members/all/1", 404, "404 Not Found"),
        ("service", "/api/v4/groups/sales/members/all/x", 404, "404 Not Found"),
        ("service", "/api/v4/projects/20/repository/branches/main", 200, '"protected":true'),
        ("service", "/api/v4/projects/20/repository/branches/topic", 200, '"protected":false'),
        ("bot", USER, 200, '"bot":true'),
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
    assert gitlab_answer(_call("/api/v3/user", alice)).status == 404
    own = json.loads(gitlab_answer(_call(SELF, alice)).body)
    assert own["expires_at"] == "2001-12-08"


def test_oauth_tokens() -> None:
    """They are users' too, but no personal tokens; what they may is told elsewhere."""
    oauth: Headers = (("authorization", f"Bearer {'5a' * 32}"),)
    assert gitlab_answer(_call(USER, oauth)).status == 200
    for path in (SELF, f"{SELF}/associations"):
        assert gitlab_answer(_call(path, oauth)).status == 400
    info = json.loads(gitlab_answer(_call("/oauth/token/info", oauth)).body)
    assert info["scope"] == ["read_user", "read_api"]
    alice: Headers = (("authorization", "Bearer glpat-sandbox-alice"),)
    assert gitlab_answer(_call("/oauth/token/info", alice)).status == 401
    assert gitlab_answer(_call("/oauth/token/info")).status == 401


@pytest.mark.parametrize("header", ["job-token", "authorization"])
def test_job_tokens(header: str) -> None:
    """They are good for their own job and nothing else; personal tokens are none."""

    def job(name: str, target: str = "/api/v4/job") -> tuple[int, str]:
        value = f"glcbt-sandbox-{name}" if name != "pat" else "glpat-sandbox-alice"
        scheme = "Bearer " if header == "authorization" else ""
        reply = gitlab_answer(_call(target, ((header, scheme + value),)))
        return reply.status, reply.body.decode()

    status, body = job("alice")
    assert (status, json.loads(body)["user"]["username"]) == (200, "alice")
    assert json.loads(body)["web_url"] == "http://gitlab.sandbox/engineering/web/app/-/jobs/300"
    assert job("alice", USER)[0] == 401
    assert job("nobody")[0] == 401
    assert job("blocked")[0] == 403
    assert job("pat")[0] == (401 if header == "job-token" else 404)


def test_id_tokens() -> None:
    """What it signs can be verified by the keys that it shows."""
    reply = gitlab_answer(_call("/oauth/discovery/keys"))
    (key,) = json.loads(reply.body)["keys"]

    def number(text: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")

    public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
    query = {"job": ("glcbt-sandbox-topic",), "aud": ("me",), "age": ("60",)}
    call = Call("gitlab", "GET", "/-/sandbox/id_token", query=query, now=1e9)
    token = json.loads(gitlab_answer(call).body)["id_token"]
    signed, _, signature = token.rpartition(".")
    public.verify(
        base64.urlsafe_b64decode(signature + "=="),
        signed.encode(),
        padding.PKCS1v15(),
        hashes.SHA256(),
    )
    claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
    assert (claims["aud"], claims["iat"]) == ("me", 10**9 - 60)
    assert (claims["user_login"], claims["ref_protected"]) == ("bob", "false")
    assert claims["iss"] == "http://gitlab.sandbox"
    query = {"job": ("nobody",)}
    call = Call("gitlab", "GET", "/-/sandbox/id_token", query=query)
    assert gitlab_answer(call).status == 404
