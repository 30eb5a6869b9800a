"""
GitLab, asked who a token belongs to.

May import the access, HTTP, config and wire rooms and Twisted. What GitLab answers is judged by a pure function,
:func:`judge`; only 200, 401 and 403 in GitLab's own JSON are verdicts, everything else means that GitLab cannot be
asked now.
"""

from __future__ import annotations

import re

import orjson

from gptproxy.access.caller import Caller
from gptproxy.access.credential import invalid_credential
from gptproxy.access.verdicts import Verdict
from gptproxy.config import Secret
from gptproxy.http import NoAnswer, OwnAnswer, OwnCalls
from gptproxy.wire import Refusal

__all__ = ["GitLab", "GitLabAway", "judge"]

ANSWER_LIMIT_BYTES = 65_536
"""Bound on what is read of an answer; a user's JSON is about 2 KiB."""

TOTAL_SECONDS = 5.0
"""How long a caller waits for the verdict at most, retries included."""

RETRY_AFTER_SECONDS = 5
"""What callers are told to wait while GitLab is away."""


# GitLab's own rule for them; they go into the log's lines.
_USERNAME = re.compile(r"[\w.-]{1,255}")


class GitLabAway(Refusal):
    """
    GitLab gave no verdict; nothing is known about the token, so nobody is told that it is wrong.

    :param cause: for the operator's log.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(
            503,
            "Your token cannot be verified because GitLab does not answer now: try again in a few seconds.",
            error_type="server_error",
            code="gitlab_unavailable",
            headers=((b"retry-after", b"%d" % RETRY_AFTER_SECONDS),),
            cause=cause,
        )


class GitLab:
    """
    :param url: GitLab's base address, without a trailing slash.
    :param calls: makes the calls.
    """

    def __init__(self, url: str, calls: OwnCalls) -> None:
        self._user_url = f"{url}/api/v4/user"
        self._calls = calls

    async def verdict(self, token: Secret) -> Verdict:
        """
        Ask whose token it is (``GET /api/v4/user``, with the token itself).

        :param token: a personal, project, group or OAuth token: ``Authorization: Bearer`` takes them all.
        :return: the caller, or the refusal.
        :raise GitLabAway: no verdict could be had.
        """
        headers = {"authorization": f"Bearer {token.reveal()}", "accept": "application/json"}
        try:
            answer = await self._calls.ask(
                "GET",
                self._user_url,
                headers,
                limit_bytes=ANSWER_LIMIT_BYTES,
                total_seconds=TOTAL_SECONDS,
            )
        except NoAnswer as no_answer:
            raise GitLabAway(f"GitLab did not answer: {no_answer.cause}") from no_answer
        return judge(answer)


def judge(answer: OwnAnswer) -> Verdict:
    """
    Read GitLab's answer to ``GET /api/v4/user``.

    :param answer: what it said.
    :return: the caller, or the refusal.
    :raise GitLabAway: it is no verdict: 429, 5xx, a redirection, a 200 that is not a user, such as a login page, or a
        401 or 403 that is not GitLab's JSON. (Its guard against attacks answers a bare 403, and that is about this
        gateway's address; what stands before GitLab has pages of its own.)
    """
    content = _json_object(answer.body)
    if answer.status == 200:
        return _user(content)
    if not content:
        raise GitLabAway(f"GitLab answered {answer.status} without a JSON object")
    if answer.status == 401:
        if content.get("error") == "invalid_token":
            return invalid_credential("Your GitLab token is expired or revoked: create a new one.")
        return invalid_credential("Incorrect API key provided: it is not a valid GitLab token.")
    if answer.status == 403:
        if content.get("error") == "insufficient_scope":
            return _forbidden(
                "Your GitLab token's scope is too narrow: create one with the scope read_user."
            )
        return _forbidden(
            "GitLab refuses your account (it may be blocked or deactivated): ask your GitLab administrator."
        )
    raise GitLabAway(f"GitLab answered {answer.status}")


def _user(content: dict[str, object]) -> Verdict:
    number, username, state = content.get("id"), content.get("username"), content.get("state")
    if (
        not (isinstance(number, int) and not isinstance(number, bool))
        or not (isinstance(username, str) and _USERNAME.fullmatch(username))
        or not isinstance(state, str)
    ):
        raise GitLabAway("GitLab answered 200 with something that is not a user")
    if state != "active":
        return _forbidden("Your GitLab account is not active: ask your GitLab administrator.")
    return Caller("gitlab", username)


def _forbidden(message: str) -> Refusal:
    return Refusal(403, message, error_type="permission_error", code="access_denied")


def _json_object(body: bytes) -> dict[str, object]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}
