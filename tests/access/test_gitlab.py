"""What GitLab says of a token is a verdict, or it is none."""

from __future__ import annotations

import pytest

from gptproxy.access.gitlab_answers import content_of, read_job, read_user, refused
from gptproxy.access.refusals import GitLabAway
from gptproxy.http import OwnAnswer
from gptproxy.wire import Refusal

ALICE = b'{"id":7,"username":"alice.b-c_d","state":"active","email":"a@corp.com","bot":false}'
LOGIN_PAGE = b"<!DOCTYPE html><html><title>Sign in</title></html>"
JOB = b'{"ref":"main","pipeline":{"project_id":20},"user":%b,"web_url":"%b"}'
TOKEN = "glpat-secret"
ERRORS = frozenset((401, 403))

VERDICTS = [
    (401, b'{"message":"401 Unauthorized"}', 401, "invalid_api_key", "not a valid GitLab"),
    (
        401,
        (
            b'{"error":"invalid_token","error_description":"Token was revoked. You have to '
            b're-authorize from the user."}'
        ),
        401,
        "invalid_api_key",
        "expired or revoked",
    ),
    (
        401,
        (
            b'{"error":"invalid_token","error_description":"Token is expired. You can either do '
            b're-authorization or token refresh."}'
        ),
        401,
        "invalid_api_key",
        "expired or revoked",
    ),
    (
        401,
        (
            b'{"error":"invalid_token","error_description":"Token is an impersonation token but '
            b'impersonation was disabled."}'
        ),
        401,
        "invalid_api_key",
        "expired or revoked",
    ),
    (401, b'{"error":"dpop_error"}', 401, "invalid_api_key", "DPoP"),
    (
        401,
        b'{"error":"restricted_language_server_client_error"}',
        401,
        "invalid_api_key",
        "not a valid GitLab",
    ),
    (401, b'{"error":["x"]}', 401, "invalid_api_key", "not a valid GitLab"),
    (
        403,
        (
            b'{"error":"insufficient_scope","error_description":"The request requires higher '
            b'privileges than provided by the access token.","scope":"api read_user read_api"}'
        ),
        403,
        "access_denied",
        "read_user",
    ),
    *(
        (
            403,
            b'{"message":"403 Forbidden - %b"}' % text,
            403,
            "access_denied",
            "ask its administrator",
        )
        for text in (
            b"Your account has been blocked.",
            b"Your account has been deactivated by your administrator.",
            b"Your request to join is pending approval.",
            b"You must accept the Terms of Service.",
            b"Your e-mail is not confirmed.",
            b"Your password expired.",
            b"This action cannot be performed by internal users",
        )
    ),
]
NO_VERDICTS = [
    (200, b""),
    (200, LOGIN_PAGE),
    (200, b"[]"),
    (200, b"{}"),
    (200, b"null"),
    (200, b'{"id":7'),
    (200, b"\xff"),
    (200, b'{"message":"ok"}'),
    (200, b'{"id":7,"state":"active"}'),
    (200, b'{"id":7,"username":"","state":"active"}'),
    (200, b'{"id":7,"username":7,"state":"active"}'),
    (200, b'{"id":"7","username":"alice","state":"active"}'),
    (200, b'{"id":true,"username":"alice","state":"active"}'),
    (200, b'{"id":-7,"username":"alice","state":"active"}'),
    (200, b'{"username":"alice","state":"active"}'),
    (200, b'{"id":7,"username":"alice"}'),
    (200, b'{"id":7,"username":"alice","state":null}'),
    (200, b'{"id":7,"username":"al\\nice","state":"active"}'),
    (200, b'{"id":7,"username":"al ice","state":"active"}'),
    (200, b'{"id":7,"username":"' + b"a" * 256 + b'","state":"active"}'),
    (201, ALICE),
    (202, ALICE),
    (204, b""),
    (206, ALICE),
    (301, b""),
    (302, LOGIN_PAGE),
    (304, b""),
    (400, b'{"error":"bad"}'),
    (401, b""),
    (401, b"{}"),
    (401, LOGIN_PAGE),
    (403, b"Forbidden\n"),
    (403, LOGIN_PAGE),
    (404, b'{"message":"404 Not Found"}'),
    (407, b""),
    (429, b"Retry later\n"),
    (429, b'{"message":{"error":"This endpoint has been requested too many times."}}'),
    (500, b'{"message":"500 Internal Server Error"}'),
    (502, b"<html>502 Bad Gateway</html>"),
    (503, ALICE),
    (504, b""),
]


@pytest.mark.parametrize(("status", "body", "expected", "code", "says"), VERDICTS)
def test_refused(status: int, body: bytes, expected: int, code: str, says: str) -> None:
    """401 and 403 in GitLab's words are verdicts, with what to do about it; those of accounts are marked."""
    judgement = refused(status, content_of(OwnAnswer(status, body), ERRORS))
    verdict = judgement.verdict
    assert isinstance(verdict, Refusal)
    assert (verdict.status, verdict.code) == (expected, code)
    assert says in verdict.message
    assert (expected == 401) == ((b"www-authenticate", b"Bearer") in verdict.headers)
    assert judgement.about_account == (b"403 Forbidden" in body)


@pytest.mark.parametrize(("status", "body"), NO_VERDICTS)
def test_no_verdict(status: int, body: bytes) -> None:
    """Everything else says nothing about the token: 503, never 401, and come again."""
    with pytest.raises(GitLabAway) as away:
        read_user(content_of(OwnAnswer(status, body), ERRORS))
    assert (away.value.status, away.value.code) == (503, "gitlab_unavailable")
    assert (b"retry-after", b"5") in away.value.headers
    assert str(status) in away.value.cause
    assert away.value.down == (status >= 500)


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [(None, b"5"), ("0", b"5"), ("60", b"60"), ("9999999", b"300"), ("soon", b"5")],
)
def test_how_long_to_wait(retry_after: str | None, expected: bytes) -> None:
    """GitLab's Retry-After is handed on, between five seconds and five minutes."""
    with pytest.raises(GitLabAway) as away:
        content_of(OwnAnswer(429, b"Retry later\n", retry_after), ERRORS)
    assert away.value.headers == ((b"retry-after", expected),)
    assert away.value.again().headers == away.value.headers


@pytest.mark.parametrize(
    ("status", "retry_after", "expected"),
    [(429, None, 5.0), (429, "60", 60.0), (503, None, 0.0), (503, "7", 7.0), (500, "7", 0.0)],
)
def test_how_long_a_token_is_not_asked_about(
    status: int, retry_after: str | None, expected: float
) -> None:
    """As GitLab says; of too many calls without a word some seconds, or each call of a known caller would ask again."""
    with pytest.raises(GitLabAway) as away:
        content_of(OwnAnswer(status, b"Retry later\n", retry_after), ERRORS)
    assert away.value.retry_after == expected


@pytest.mark.parametrize("state", ["blocked", "deactivated", "banned", "ldap_blocked", "x"])
def test_not_active(state: str) -> None:
    """An account that is not active is told apart from one that is."""
    _, active, _ = read_user({"id": 7, "username": "alice", "state": state})
    assert not active


@pytest.mark.parametrize(
    ("page", "path"),
    [
        (b"https://git.corp.com/a/b/-/jobs/1", "a/b"),
        (b"https://git.corp.com/a/b/c/-/jobs/1", "a/b/c"),
        (b"https://git.corp.com.evil/a/b/-/jobs/1", ""),
        (b"https://git.corp.com/a/-/jobs/1", ""),
        (b"https://git.corp.com/a/b/-/jobs/1/x", ""),
        (b"https://git.corp.com/a/b/c", ""),
        (b"", ""),
    ],
)
def test_a_jobs_project(page: bytes, path: str) -> None:
    """Its path is read off the job's page, if that is this GitLab's."""
    job, active = read_job(
        content_of(OwnAnswer(200, JOB % (ALICE, page)), ERRORS), "https://git.corp.com"
    )
    assert active
    assert (job.user_id, job.project_id, job.project_path, job.ref) == (7, 20, path, "main")
    assert job.is_job


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":1}',
        b'{"ref":"main","pipeline":{"project_id":20},"user":{}}',
        b'{"ref":"main","pipeline":{"project_id":"20"},"user":%b}' % ALICE,
        b'{"ref":"main","pipeline":[],"user":%b}' % ALICE,
        b'{"ref":7,"pipeline":{"project_id":20},"user":%b}' % ALICE,
        b'{"ref":"main","pipeline":{"project_id":20},"user":7}',
        ALICE,
    ],
)
def test_no_job(body: bytes) -> None:
    """A 200 counts only with a job."""
    with pytest.raises(GitLabAway):
        read_job(content_of(OwnAnswer(200, body), ERRORS), "https://git.corp.com")
