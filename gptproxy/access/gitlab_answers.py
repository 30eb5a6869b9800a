"""
What GitLab's answers mean.

Pure: imports the HTTP room's values and the access room's. Only 200, 401, 403 and, where a resource may be missing, 400
and 404 in GitLab's own JSON say something; everything else means that GitLab cannot be asked now.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf

import orjson

from gptproxy.access.caller import Identity
from gptproxy.access.refusals import GitLabAway, forbidden, invalid_credential
from gptproxy.access.verdicts import Judgement, TokenFacts
from gptproxy.http import OwnAnswer

__all__ = [
    "NARROW",
    "account_refused",
    "content_of",
    "is_narrow",
    "json_rows",
    "read_facts",
    "read_job",
    "read_oauth_facts",
    "read_user",
    "refused",
    "whole_number",
]

# GitLab's own rule for them; they go into the log's lines.
_USERNAME = re.compile(r"[\w.-]{1,255}")
# A path with its namespace, between GitLab's address and "/-/jobs/".
_JOB_PATH = re.compile(r"((?:[\w.-]{1,255}/){1,21}[\w.-]{1,255})/-/jobs/[0-9]{1,19}")

NARROW = "Your GitLab token's scope is too narrow: create one with the scope read_user."

UNSAID_SECONDS = 5.0
"""For which a token is not asked about when GitLab says that there are too many calls, and not for how long."""


def content_of(answer: OwnAnswer, expected: frozenset[int]) -> dict[str, object]:
    """
    :param answer: what GitLab said.
    :param expected: statuses that mean something here, besides 200.
    :return: its JSON object.
    :raise GitLabAway: it means nothing: 429, 5xx, a redirection, a 200 that is no object, such as a login page, or an
        error that is not GitLab's JSON. (Its guard against attacks answers a bare 403, and that is about this
        gateway's address; what stands before GitLab has pages of its own.)
    """
    if answer.status == 200 or answer.status in expected:
        content = _json(answer.body)
        if isinstance(content, dict) and content:
            return content
    raise _no_verdict(answer)


def json_rows(answer: OwnAnswer) -> list[dict[str, object]]:
    """
    :param answer: a 200 with a list.
    :return: the objects in it.
    :raise GitLabAway: it is something else.
    """
    content = _json(answer.body) if answer.status == 200 else None
    if not isinstance(content, list):
        raise _no_verdict(answer)
    return [row for row in content if isinstance(row, dict)]


def _no_verdict(answer: OwnAnswer) -> GitLabAway:
    wait = answer.wait_seconds() if answer.status in (429, 503) else 0.0
    if answer.status == 429:
        # One that does not say for how long must not be asked again at each call of a known caller.
        wait = wait or UNSAID_SECONDS
    return GitLabAway(
        f"GitLab answered {answer.status} with something that is no verdict",
        down=answer.status >= 500,
        retry_after=wait,
    )


def _json(body: bytes) -> object:
    try:
        content: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return content


def is_narrow(status: int, content: Mapping[str, object]) -> bool:
    """:return: whether the token is good and its scope does not do."""
    return status == 403 and content.get("error") == "insufficient_scope"


def refused(status: int, content: Mapping[str, object]) -> Judgement:
    """
    :param status: 401 or 403.
    :param content: what GitLab said with it.
    :return: the refusal.
    """
    if status == 401:
        if content.get("error") == "invalid_token":
            return Judgement(
                invalid_credential("Your GitLab token is expired or revoked: create a new one.")
            )
        if content.get("error") == "dpop_error":
            return Judgement(
                invalid_credential(
                    "Your GitLab account demands a proof (DPoP) with its personal access tokens, which no OpenAI "
                    "client sends: use another kind of token."
                )
            )
        return Judgement(
            invalid_credential("Incorrect API key provided: it is not a valid GitLab token.")
        )
    if is_narrow(status, content):
        return Judgement(forbidden(NARROW))
    return Judgement(
        forbidden(
            "GitLab refuses your account (it may be blocked, deactivated, or have terms to accept): "
            "log in to GitLab, or ask its administrator."
        ),
        about_account=True,
    )


def account_refused(user_id: int) -> Judgement:
    """:return: the refusal of a user who is not active."""
    return Judgement(
        forbidden("Your GitLab account is not active: ask your GitLab administrator."),
        about_account=True,
        user_id=user_id,
    )


def whole_number(value: object) -> int | None:
    """:return: an id; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def read_user(content: Mapping[str, object]) -> tuple[Identity, bool, bool | None]:
    """
    :param content: of ``GET /user``, ``GET /users/:id``, or a job's user.
    :return: who it is; whether the account is active; whether it is a bot's, None where GitLab does not say.
    :raise GitLabAway: it is no user.
    """
    number, username = whole_number(content.get("id")), content.get("username")
    state, bot = content.get("state"), content.get("bot")
    if (
        number is None
        or not (isinstance(username, str) and _USERNAME.fullmatch(username))
        or not isinstance(state, str)
    ):
        raise GitLabAway("GitLab answered 200 with something that is not a user")
    return Identity(number, username), state == "active", bot if isinstance(bot, bool) else None


def read_facts(content: Mapping[str, object]) -> tuple[int, TokenFacts] | None:
    """
    :param content: of ``GET /personal_access_tokens/self``.
    :return: the user's number and what is known of the token; None where it is not active.
    :raise GitLabAway: it is no token.
    """
    number, scopes = whole_number(content.get("user_id")), content.get("scopes")
    ends = _end_of(content.get("expires_at"))
    if number is None or not isinstance(scopes, list) or ends is None:
        raise GitLabAway("GitLab answered 200 with something that is not a token")
    if content.get("active") is not True or content.get("revoked") is not False:
        return None
    return number, TokenFacts(frozenset(scope for scope in scopes if isinstance(scope, str)), ends)


def _end_of(date: object) -> float | None:
    """:return: when a token that expires on this date ends: it begins at 00:00 UTC. None: it is no date."""
    if date is None:
        return inf
    try:
        day = datetime.fromisoformat(date) if isinstance(date, str) else None
    except ValueError:
        return None
    return None if day is None else (day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp()


def read_oauth_facts(content: Mapping[str, object], now: float) -> TokenFacts:
    """
    :param content: of ``GET /oauth/token/info``.
    :param now: seconds since 1970.
    :return: what is known of the token.
    :raise GitLabAway: it is no token.
    """
    scopes, left = content.get("scope"), content.get("expires_in")
    if isinstance(scopes, str):
        scopes = scopes.split()
    if not isinstance(scopes, list) or not (left is None or isinstance(left, int)):
        raise GitLabAway("GitLab answered 200 with something that is not a token")
    ends = inf if left is None else now + left
    return TokenFacts(frozenset(scope for scope in scopes if isinstance(scope, str)), ends)


def read_job(content: Mapping[str, object], url: str) -> tuple[Identity, bool]:
    """
    :param content: of ``GET /job``.
    :param url: GitLab's base address, which the job's page begins with.
    :return: the job and its user; whether their account is active.
    :raise GitLabAway: it is no job.
    """
    user, pipeline, ref = content.get("user"), content.get("pipeline"), content.get("ref")
    project_id = whole_number(pipeline.get("project_id")) if isinstance(pipeline, dict) else None
    if not isinstance(user, dict) or project_id is None or not isinstance(ref, str):
        raise GitLabAway("GitLab answered 200 with something that is not a job")
    identity, active, _ = read_user(user)
    page = content.get("web_url")
    path = None
    if isinstance(page, str) and page.startswith(f"{url}/"):
        path = _JOB_PATH.fullmatch(page, len(url) + 1)
    job = Identity(
        identity.user_id,
        identity.username,
        project_id=project_id,
        project_path=path[1] if path else "",
        ref=ref,
        is_tag=content.get("tag") is True,
    )
    return job, active
