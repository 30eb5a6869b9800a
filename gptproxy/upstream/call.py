"""
What is asked of an upstream and what it answered: the values this room works with.

Pure but for the type of a live answer: imports the HTTP, config and wire rooms. What may hold a credential or a prompt
is in nobody's ``repr``.
"""

from __future__ import annotations

from attrs import field, frozen

from gptproxy.config import UpstreamSettings
from gptproxy.http import Fields, Response
from gptproxy.wire import Refusal, Span

__all__ = ["Call", "HeldAnswer", "NoUpstreamAnswer", "Target", "UpstreamAnswer"]


@frozen
class Call:
    """
    One call of a caller, as it came.

    :param route: OpenAI's path without base and version, for example ``/chat/completions``.
    :param model: the model's name in OpenAI's terms.
    :param body: the JSON body, to be sent as it is but for the model's name.
    :param model_span: where the model's value stands in the body.
    :param fields: the caller's field lines.
    :param query: the target's query as sent.
    :param repeatable: it may be sent again after an upstream may have worked on it. Making an image twice costs twice.
    """

    route: str
    model: str
    body: bytes = field(repr=False)
    model_span: Span
    fields: Fields = field(repr=False)
    query: bytes = field(default=b"", repr=False)
    repeatable: bool = True


@frozen
class Target:
    """
    One upstream that has the model.

    :param upstream: which.
    :param model: what it calls the model: its deployment's name at Azure.
    """

    upstream: UpstreamSettings
    model: str


@frozen
class HeldAnswer:
    """
    An answer that was read to its end before the caller sees any of it: an error.

    :param status: HTTP status code.
    :param fields: its field lines.
    :param body: all of its body.
    """

    status: int
    fields: Fields = field(repr=False)
    body: bytes = field(repr=False)


@frozen
class UpstreamAnswer:
    """
    What the caller gets.

    :param upstream: the name of the upstream that gave it.
    :param attempts: calls made in all, to whichever upstream.
    :param answer: a live answer whose body is to be relayed, or a held error.
    :param fields: the field lines that go down to the caller.
    """

    upstream: str
    attempts: int
    answer: Response | HeldAnswer
    fields: Fields = field(repr=False)


class NoUpstreamAnswer(Refusal):
    """
    No upstream gave an answer that the caller may see.

    :param refusal: what the caller is told instead.
    :param upstream: the name of the one that was asked last.
    :param attempts: calls made in all, to whichever upstream.
    """

    def __init__(self, refusal: Refusal, upstream: str, attempts: int) -> None:
        super().__init__(
            refusal.status,
            refusal.message,
            error_type=refusal.error_type,
            code=refusal.code,
            param=refusal.param,
            headers=refusal.headers,
            cause=refusal.cause,
        )
        self.upstream = upstream
        self.attempts = attempts
