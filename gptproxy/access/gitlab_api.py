"""
Calls to GitLab's API: few at a time, short, with the token in a header.

May import the access, HTTP and config rooms and Twisted.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from gptproxy.access.gitlab_answers import content_of, json_rows
from gptproxy.access.refusals import GitLabAway
from gptproxy.config import Secret
from gptproxy.http import NoAnswer, OwnAnswer, OwnCalls

__all__ = ["ANSWER_LIMIT_BYTES", "PAGE_LIMIT_BYTES", "TOTAL_SECONDS", "GitLabAPI", "segment"]

ANSWER_LIMIT_BYTES = 65_536
"""Bound on what is read of an answer; a user's JSON is about 2 KiB."""

PAGE_LIMIT_BYTES = 1_048_576
"""The same of a page of a hundred groups or projects, of 1 to 4 KiB each."""

PER_PAGE = 100

TOTAL_SECONDS = 5.0
"""Bound on one call, attempts and waits included."""

_ERRORS = frozenset((401, 403))


class GitLabAPI:
    """
    :param url: GitLab's base address, without a trailing slash.
    :param calls: makes the calls; follows no redirection.
    """

    def __init__(self, url: str, calls: OwnCalls) -> None:
        self.url = url
        self._calls = calls

    async def get(
        self,
        path: str,
        token: Secret | None,
        *,
        job: bool = False,
        expected: frozenset[int] = frozenset(),
    ) -> tuple[int, dict[str, object]]:
        """
        :param path: below ``/api/v4``, or one that begins with ``/oauth``; nothing of a caller's that is not quoted.
        :param token: sent along, as a bearer, which serves personal, project, group and OAuth tokens alike.
        :param job: send it as ``JOB-TOKEN``.
        :param expected: statuses that mean something to who asks, besides 200, 401 and 403.
        :return: the status and the JSON object.
        :raise GitLabAway: there was no answer, or none that means something.
        """
        answer = await self._ask(path, token, job=job, limit_bytes=ANSWER_LIMIT_BYTES)
        return answer.status, content_of(answer, _ERRORS | expected)

    async def rows(self, path: str, token: Secret, page: int) -> list[dict[str, object]] | int:
        """
        :param path: of a list, with its query.
        :param token: sent along.
        :param page: from 1.
        :return: the objects on the page; the status where the token may not see them.
        :raise GitLabAway: there was no answer, or none that means something.
        """
        answer = await self._page(path, token, page)
        if answer.status in _ERRORS:
            content_of(answer, _ERRORS)
            return answer.status
        return json_rows(answer)

    async def page(
        self, path: str, token: Secret, page: int, expected: frozenset[int]
    ) -> tuple[int, dict[str, object]]:
        """
        :param path: of a paged answer that is one object, with its query.
        :param token: sent along.
        :param page: from 1.
        :param expected: statuses that mean something to who asks, besides 200.
        :return: the status and the JSON object.
        :raise GitLabAway: there was no answer, or none that means something.
        """
        answer = await self._page(path, token, page)
        return answer.status, content_of(answer, expected)

    async def body(self, path: str) -> bytes:
        """
        :param path: of a public page.
        :return: what it says.
        :raise GitLabAway: there was no answer, or its status is not 200.
        """
        answer = await self._ask(path, None, limit_bytes=ANSWER_LIMIT_BYTES)
        if answer.status != 200:
            raise GitLabAway(
                f"GitLab answered {answer.status} to a public page", down=answer.status >= 500
            )
        return answer.body

    async def _page(self, path: str, token: Secret, page: int) -> OwnAnswer:
        more = "&" if "?" in path else "?"
        return await self._ask(
            f"{path}{more}per_page={PER_PAGE}&page={page}", token, limit_bytes=PAGE_LIMIT_BYTES
        )

    async def _ask(
        self, path: str, token: Secret | None, *, job: bool = False, limit_bytes: int
    ) -> OwnAnswer:
        headers: Mapping[str, str] = {"accept": "application/json"}
        if token is not None:
            text = token.reveal()
            field = ("job-token", text) if job else ("authorization", f"Bearer {text}")
            headers = dict((field, *headers.items()))
        below = "" if path.startswith("/oauth/") else "/api/v4"
        try:
            return await self._calls.ask(
                "GET",
                f"{self.url}{below}{path}",
                headers,
                limit_bytes=limit_bytes,
                total_seconds=TOTAL_SECONDS,
            )
        except NoAnswer as no_answer:
            raise GitLabAway(f"GitLab did not answer: {no_answer.cause}", down=True) from no_answer


def segment(text: str) -> str:
    """:return: text as one segment of a path, slashes and all: ``a/b`` is ``a%2Fb``."""
    return quote(text, safe="")
