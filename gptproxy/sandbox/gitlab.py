"""The stand-in for a GitLab: who holds a token, and the errors of its API.

Bodies: GitLab's ``lib/api/api_guard.rb`` and its REST API pages "Users", "Personal access
tokens", "Jobs", "Groups", "Members" and "Version". Its people are in `gitlab_people`, its signed
tokens in `gitlab_keys`.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gptproxy.sandbox.gitlab_keys import id_token, key_set
from gptproxy.sandbox.gitlab_people import (
    GROUPS,
    JOBS,
    PROJECTS,
    TOKENS,
    USERS,
    Job,
    Person,
    Place,
    Token,
    level_in,
)
from gptproxy.sandbox.messages import Call, Headers, JsonObject, Reply, identifier, write_json

__all__ = ["TOKENS", "gitlab_answer", "gitlab_headers", "gitlab_json"]

_FOR_USERS = frozenset({"api", "read_api", "read_user"})
_FOR_API = frozenset({"api", "read_api"})

_REVOKED: JsonObject = {
    "error": "invalid_token",
    "error_description": "Token was revoked. You have to re-authorize from the user.",
}
_EXPIRED: JsonObject = {
    "error": "invalid_token",
    "error_description": "Token is expired. You can either do re-authorization or token refresh.",
}
_NOT_PERSONAL: JsonObject = {
    "error": "invalid_request",
    "error_description": "requires token type to be a personal access token",
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


def _base(call: Call) -> str:
    """:return: the address it was called by, which is the issuer of its tokens too."""
    return f"http://{call.header('host') or 'gitlab.sandbox'}"


def _narrow(call: Call, scopes: str) -> Reply:
    body: JsonObject = {
        "error": "insufficient_scope",
        "error_description": "The request requires higher privileges than provided by the access "
        "token.",
        "scope": scopes,
    }
    return gitlab_json(call, body, 403)


def _missing(call: Call, what: str = "") -> Reply:
    body = {"message": f"404 {what} Not Found"} if what else {"error": "404 Not Found"}
    return gitlab_json(call, body, 404)


def _public(call: Call, person: Person) -> JsonObject:
    return {
        "id": person.user_id,
        "username": person.username,
        "public_email": None,
        "name": person.name,
        "state": person.state,
        "locked": False,
        "avatar_url": None,
        "web_url": f"{_base(call)}/{person.username}",
        "created_at": "2024-01-02T03:04:05.678Z",
        "bio": "",
        "location": None,
        "bot": person.bot,
    }


def _user(call: Call, person: Person) -> JsonObject:
    address = f"{person.username}@gitlab.sandbox"
    return {
        **_public(call, person),
        "last_sign_in_at": "2025-01-02T03:04:05.678Z",
        "confirmed_at": "2024-01-02T03:04:05.678Z",
        "last_activity_on": "2025-01-02",
        "email": address,
        "color_scheme_id": 1,
        "projects_limit": 100000,
        "current_sign_in_at": "2025-01-02T03:04:05.678Z",
        "identities": [],
        "can_create_group": True,
        "can_create_project": True,
        "two_factor_enabled": False,
        "external": False,
        "private_profile": False,
        "commit_email": address,
    }


def _self(token: Token, now: float) -> JsonObject:
    # Tokens end on a date, at 00:00 UTC; this one always has a season to live.
    day = datetime.fromtimestamp(now, UTC).date() + timedelta(days=90)
    return {
        "id": 100 + token.user_id,
        "name": f"{USERS[token.user_id].username}'s token",
        "revoked": False,
        "created_at": "2025-01-02T03:04:05.678Z",
        "description": None,
        "scopes": list(token.scopes),
        "user_id": token.user_id,
        "last_used_at": "2025-01-02T03:04:05.678Z",
        "active": True,
        "expires_at": day.isoformat(),
    }


def _place(call: Call, place: Place, level: int, *, group: bool, brief: bool) -> JsonObject:
    name = place.path.rpartition("/")[2]
    shown: JsonObject = {
        "id": place.place_id,
        "name": name,
        "web_url": f"{_base(call)}/{'groups/' if group else ''}{place.path}",
        "visibility": "private",
    }
    if not group:
        shown |= {"path": name, "path_with_namespace": place.path}
    elif not brief:
        shown |= {"path": name, "full_path": place.path, "parent_id": None}
    if brief:
        levels = {"project_access_level": level, "group_access_level": None}
        shown["access_levels"] = level if group else levels
    return shown


def _places(call: Call, user_id: int, *, group: bool, brief: bool = False) -> list[JsonObject]:
    """:return: the page that was asked for of what the user belongs to."""
    least = int(call.query.get("min_access_level", ("10",))[0])
    page = int(call.query.get("page", ("1",))[0])
    size = min(int(call.query.get("per_page", ("20",))[0]), 100)
    found = [
        _place(call, place, level_in(place, user_id), group=group, brief=brief)
        for place in (GROUPS if group else PROJECTS)
        if level_in(place, user_id) >= least
    ]
    return found[(page - 1) * size : page * size]


def _members(call: Call, parts: tuple[str, ...]) -> Reply:
    """``/groups/:id/members/all/:user_id``, and the same of projects."""
    place = _find(parts[0] == "groups", parts[1])
    person = USERS.get(int(parts[4])) if parts[4].isdigit() else None
    level = level_in(place, person.user_id) if place is not None and person is not None else 0
    if not level or person is None:
        return _missing(call)
    body = {**_public(call, person), "access_level": level, "membership_state": "active"}
    return gitlab_json(call, {**body, "expires_at": None})


def _find(group: bool, name: str) -> Place | None:
    places = GROUPS if group else PROJECTS
    return next((each for each in places if name.lower() in (str(each.place_id), each.path)), None)


def _with_token(call: Call, token: Token, parts: tuple[str, ...]) -> Reply:
    person = USERS[token.user_id]
    may_read = not _FOR_API.isdisjoint(token.scopes)
    if parts == ("personal_access_tokens", "self"):
        if token.oauth:
            return gitlab_json(call, _NOT_PERSONAL, 400)
        return gitlab_json(call, _self(token, call.now))
    if parts == ("personal_access_tokens", "self", "associations"):
        if token.oauth:
            return gitlab_json(call, _NOT_PERSONAL, 400)
        groups = _places(call, token.user_id, group=True, brief=True)
        projects = _places(call, token.user_id, group=False, brief=True)
        return gitlab_json(call, {"groups": groups, "projects": projects})
    if parts in (("user",), ("version",)):
        if _FOR_USERS.isdisjoint(token.scopes):
            return _narrow(call, "api read_user read_api")
        if parts == ("version",):
            return gitlab_json(call, {"version": "18.4.1-ee", "revision": "5a5a5a5a5a5"})
        return gitlab_json(call, _user(call, person))
    if parts[:1] == ("users",) and len(parts) == 2:
        found = USERS.get(int(parts[1])) if parts[1].isdigit() else None
        return _missing(call, "User") if found is None else gitlab_json(call, _public(call, found))
    if parts[:1] in (("groups",), ("projects",)):
        return _narrow(call, "api read_api") if not may_read else _listed(call, token, parts)
    return _missing(call)


def _listed(call: Call, token: Token, parts: tuple[str, ...]) -> Reply:
    group = parts[0] == "groups"
    if len(parts) == 1:
        return gitlab_json(call, _places(call, token.user_id, group=group))
    place = _find(group, parts[1])
    if len(parts) == 5 and parts[2:4] == ("members", "all"):
        return _members(call, parts)
    if place is None:
        return _missing(call, "Group" if group else "Project")
    if len(parts) == 2:
        level = level_in(place, token.user_id)
        return gitlab_json(call, _place(call, place, level, group=group, brief=False))
    if len(parts) == 5 and parts[2] == "repository" and parts[4] in ("main", "topic"):
        return gitlab_json(call, {"name": parts[4], "protected": parts[4] == "main"})
    return _missing(call)


def _job(call: Call, job: Job) -> Reply:
    place = next(each for each in PROJECTS if each.place_id == job.project_id)
    return gitlab_json(
        call,
        {
            "id": job.job_id,
            "status": "running",
            "stage": "test",
            "name": "review",
            "ref": job.ref,
            "tag": False,
            "user": _public(call, USERS[job.user_id]),
            "pipeline": {"id": 7, "project_id": place.place_id, "ref": job.ref},
            "web_url": f"{_base(call)}/{place.path}/-/jobs/{job.job_id}",
            "project": {"ci_job_token_scope_enabled": False},
        },
    )


def _oauth_info(call: Call) -> Reply:
    token = TOKENS.get(call.bearer() or "")
    if token is None or not token.oauth:
        return gitlab_json(call, {"error": "invalid_request"}, 401)
    body = {"resource_owner_id": token.user_id, "scope": list(token.scopes), "expires_in": 7000}
    return gitlab_json(call, {**body, "application": {"uid": "sandbox"}, "created_at": 1})


def _signed(call: Call, job: Job) -> Reply:
    """A runner's part: an id_token for a job, ``/-/sandbox/id_token?job=...&aud=...``."""
    place = next(each for each in PROJECTS if each.place_id == job.project_id)
    return gitlab_json(call, {"id_token": id_token(call, _base(call), job, place)})


def gitlab_answer(call: Call) -> Reply:
    """
    :param call: what was asked; the token comes in ``PRIVATE-TOKEN``, ``JOB-TOKEN`` or as a bearer.
    :return: what GitLab would answer.
    """
    parts = call.segments
    if parts == ("oauth", "discovery", "keys"):
        return gitlab_json(call, key_set())
    if parts == ("oauth", "token", "info"):
        return _oauth_info(call)
    if parts == ("-", "sandbox", "id_token"):
        job = JOBS.get(call.query.get("job", ("glcbt-sandbox-alice",))[0])
        return _missing(call) if job is None else _signed(call, job)
    if parts[:1] != ("api",):
        headers = (
            *gitlab_headers(call, "text/html; charset=utf-8"),
            ("Location", "/users/sign_in"),
        )
        return Reply(302, headers, b"<html><body>You are being redirected.</body></html>")
    secret = call.header("private-token") or call.header("job-token") or call.bearer() or ""
    token, job = TOKENS.get(secret), JOBS.get(secret)
    known = job or token
    if known is None or (token is not None and call.header("job-token") is not None):
        return gitlab_json(call, {"message": "401 Unauthorized"}, 401)
    if token is not None and token.state in ("revoked", "expired"):
        return gitlab_json(call, _REVOKED if token.state == "revoked" else _EXPIRED, 401)
    if USERS[known.user_id].state == "blocked":
        return gitlab_json(call, {"message": "403 Forbidden - Your account has been blocked."}, 403)
    if parts[:2] != ("api", "v4") or call.method not in ("GET", "HEAD"):
        return _missing(call)
    if job is not None:
        return (
            _job(call, job)
            if parts[2:] == ("job",)
            else gitlab_json(call, {"message": "401 Unauthorized"}, 401)
        )
    if token is None or parts[2:] == ("job",):
        return _missing(call)
    return _with_token(call, token, parts[2:])
