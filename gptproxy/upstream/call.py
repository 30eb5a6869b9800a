"""
What is asked of an upstream and what it answered: the values this room works with.

Pure but for the types of live bodies: imports the HTTP, config and wire rooms. What may hold a credential or a prompt
is in nobody's ``repr``.
"""

from __future__ import annotations

from attrs import field, frozen

from gptproxy.config import UpstreamSettings
from gptproxy.http import Fields, Response, StreamedUpload
from gptproxy.upstream.credential import account_fields, credential_field
from gptproxy.wire import Refusal, Span

__all__ = ["Call", "HeldAnswer", "NoUpstreamAnswer", "Target", "UpstreamAnswer"]


@frozen
class Call:
    """
    One call of a caller, as it came.

    :param route: OpenAI's path without base and version, for example ``/chat/completions``; as the caller wrote it,
        percent-encoding included.
    :param model: the model's name in OpenAI's terms; None where the call names none.
    :param body: the body, to be sent as it is but for the model's name; None where it is streamed or there is none.
    :param model_span: where the model's value stands in the body; None where it is not there.
    :param fields: the caller's field lines.
    :param query: the target's query as sent.
    :param repeatable: it may be sent again after an upstream may have worked on it. Making an image twice costs twice.
    :param method: HTTP method.
    :param upload: a body that is streamed; the call is sent again only where none of it was read.
    :param affinity: the upstream that has what the call names; the others do not know it.
    :param stream: the body asks for a stream of events.
    :param patience_seconds: how long the caller's client waits, as it says.
    :param model_in_form: the model's value stands in a multipart form: its name is spliced in as it is, not as JSON.
    :param deployment: Azure's classic path names the model's deployment: ``/deployments/{model}`` stands before the
        route.
    """

    route: str
    model: str | None
    body: bytes | None = field(repr=False)
    model_span: Span | None
    fields: Fields = field(repr=False)
    query: bytes = field(default=b"", repr=False)
    repeatable: bool = True
    method: bytes = b"POST"
    upload: StreamedUpload | None = field(default=None, repr=False)
    affinity: str | None = None
    stream: bool = False
    patience_seconds: float | None = None
    model_in_form: bool = False
    deployment: bool = True


@frozen
class Target:
    """
    One upstream that has the model.

    :param upstream: which.
    :param model: what it calls the model: its deployment's name at Azure. Empty where the call names none.
    """

    upstream: UpstreamSettings
    model: str
    own_fields: tuple[tuple[bytes, bytes], ...] = field(init=False, repr=False, eq=False)
    """The field lines that carry the upstream's key and account: made once, for targets are remembered."""

    @own_fields.default
    def _made_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        return (*credential_field(self.upstream), *account_fields(self.upstream))


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
    No upstream gave an answer that the caller may see. Who was asked is told all the same.

    :param refusal: what the caller is told instead.
    :param upstream: the name of the one that was asked last; ``-``: nobody was.
    :param attempts: calls made in all, to whichever upstream.
    """

    def __init__(self, refusal: Refusal, upstream: str, attempts: int) -> None:
        super().__init__(
            refusal.status,
            refusal.message,
            error_type=refusal.error_type,
            code=refusal.code,
            param=refusal.param,
            headers=(
                *refusal.headers,
                (b"x-gptproxy-upstream", upstream.encode()),
                (b"x-gptproxy-attempts", b"%d" % attempts),
            ),
            cause=refusal.cause,
        )
        self.upstream = upstream
        self.attempts = attempts
