"""
What this room's refusals say: one sentence that tells a developer what to do, and a stranger nothing.

Pure: imports the wire room only.
"""

from __future__ import annotations

from math import ceil

from gptproxy.wire import Refusal

__all__ = ["GitLabAway", "forbidden", "invalid_credential", "model_not_allowed", "too_many_invalid"]

RETRY_AFTER_SECONDS = 5
"""What callers are told to wait while GitLab is away."""

LONGEST_RETRY_AFTER_SECONDS = 300.0
"""What GitLab may ask for at most; then it is asked again, whatever it said."""


class GitLabAway(Refusal):
    """
    GitLab gave no verdict; nothing is known about the token, so nobody is told that it is wrong.

    :param cause: for the operator's log.
    :param down: GitLab as a whole does not answer, as far as can be seen; False where it may be about this token only.
    :param retry_after: seconds for which GitLab asked not to be asked; 0 where it did not.
    """

    def __init__(self, cause: str, *, down: bool = False, retry_after: float = 0.0) -> None:
        self.down = down
        self.retry_after = min(retry_after, LONGEST_RETRY_AFTER_SECONDS)
        super().__init__(
            503,
            "Your token cannot be verified because GitLab does not answer now: try again in a few seconds.",
            error_type="server_error",
            code="gitlab_unavailable",
            headers=((b"retry-after", b"%d" % max(RETRY_AFTER_SECONDS, ceil(self.retry_after))),),
            cause=cause,
        )

    def again(self) -> GitLabAway:
        """:return: the same as a new exception, without the traceback this one has gathered."""
        return GitLabAway(self.cause, down=self.down, retry_after=self.retry_after)


def invalid_credential(message: str) -> Refusal:
    """
    :param message: what to do about it.
    :return: a 401 in OpenAI's form, which its clients raise as AuthenticationError.
    """
    return Refusal(
        401,
        message,
        code="invalid_api_key",
        headers=((b"www-authenticate", b"Bearer"),),
    )


def forbidden(message: str) -> Refusal:
    """
    :param message: what is missing: a scope, a membership, an account in order.
    :return: a 403: who is calling is known, and may not.
    """
    return Refusal(403, message, error_type="permission_error", code="access_denied")


def model_not_allowed(model: str) -> Refusal:
    """
    :param model: as the caller named it.
    :return: a 403 that does not tell whether there is such a model.
    """
    return Refusal(
        403,
        f"You may not use the model '{model[:256]}': GET /v1/models lists those you may use.",
        error_type="permission_error",
        code="model_not_allowed",
        param="model",
    )


def too_many_invalid(wait_seconds: float) -> Refusal:
    """
    :param wait_seconds: until another unknown token is looked at.
    :return: a 429 for an address that sent many invalid tokens.
    """
    return Refusal(
        429,
        "Too many invalid tokens came from your network address: wait, then use a valid one.",
        error_type="rate_limit_error",
        code="too_many_invalid_tokens",
        headers=((b"retry-after", b"%d" % max(1, ceil(wait_seconds))),),
    )
