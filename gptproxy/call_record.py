"""
What is known of a call when it has ended: for the log, the metrics and the limits.

Pure: imports nothing of gptproxy and nothing of Twisted. Nothing in it is a credential, a prompt or a part of an
answer.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

__all__ = ["CallObserver", "CallRecord"]


@define(eq=False)
class CallRecord:
    """
    One call; made once for each, so a plain class with slots. Names that are not known are ``-``.

    :param request_id: the call's id.
    :param caller: who called: a user's name or a token's id, never the token.
    :param method: HTTP method.
    :param route: OpenAI's path with its parameters named, for example ``/files/{file_id}``.
    :param model: the model's name as the caller gave it.
    :param upstream: who answered, or was asked last.
    :param attempts: calls made to upstreams.
    :param status: what the caller got; 499 where they left before the answer's end.
    :param sent: bytes of the answer's body.
    :param seconds: from the request's headers to the answer's end.
    :param first_byte_seconds: from the request's headers to the answer's; None where there was none.
    :param prompt_tokens: what the answer says the question cost; None where it says nothing.
    :param completion_tokens: what it says the answer cost; None likewise.
    :param topics: the topics whose documents were asked, by commas.
    :param passages: how many passages went into the call.
    :param error: the code of gptproxy's own refusal; ``-`` where the answer is an upstream's.
    :param ended: when it ended, in seconds since the epoch.
    """

    request_id: str
    caller: str
    method: str
    route: str
    model: str
    upstream: str
    attempts: int
    status: int
    sent: int
    seconds: float
    first_byte_seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    topics: str = "-"
    passages: int = 0
    error: str = "-"
    ended: float = 0.0


CallObserver = Callable[[CallRecord], None]
"""Is told of every call that has ended, on the reactor's thread; what it takes every call pays for."""
