"""
One span for each call, where OpenTelemetry is installed (the extra ``tracing``).

May import opentelemetry, where it is there, and the call's record. Without it, ``traceparent`` and ``tracestate`` of
the caller go up to the upstream as they came (https://www.w3.org/TR/trace-context/), but not to Azure, which does not
know them. With it, the caller's are the parent of the call's span, and the span's own go up in their place.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from gptproxy.call_record import CallRecord

__all__ = ["OpenTelemetry", "Span", "Tracer", "installed_tracer"]

Fields = tuple[tuple[bytes, bytes], ...]

_CARRIED = (b"traceparent", b"tracestate")


class Span(Protocol):
    """One call's."""

    fields: Fields
    """The request's field lines, with the span's own context in the place of the caller's."""

    def end(self, record: CallRecord) -> None:
        """:param record: what is known of the call now."""
        ...  # pragma: no cover - a protocol's method has no body to run


class Tracer(Protocol):
    """Makes spans."""

    def begin(self, method: str, route: str, fields: Iterable[tuple[bytes, bytes]]) -> Span:
        """
        :param method: HTTP method.
        :param route: OpenAI's path with its parameters named.
        :param fields: the request's field lines, names in lower case.
        :return: the call's span, which has begun.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


class _Span:
    """
    :param span: OpenTelemetry's.
    :param fields: the request's, with the span's context.
    :param failed: what OpenTelemetry calls the status of a call that failed.
    """

    __slots__ = ("_failed", "_span", "fields")

    def __init__(
        self, span: Any, fields: Fields, failed: object
    ) -> None:  # opentelemetry may not be there
        self._span = span
        self.fields = fields
        self._failed = failed

    def end(self, record: CallRecord) -> None:
        """
        :param record: what is known of the call now; none of it is a part of what was asked or answered.
        """
        # https://opentelemetry.io/docs/specs/semconv/http/http-spans/ and gen-ai's.
        said: dict[str, str | int | float | None] = {
            "http.response.status_code": record.status,
            "gen_ai.request.model": record.model if record.model != "-" else None,
            "gen_ai.usage.input_tokens": record.prompt_tokens,
            "gen_ai.usage.output_tokens": record.completion_tokens,
            "error.type": record.error if record.error != "-" else None,
            "gptproxy.request_id": record.request_id,
            "gptproxy.upstream": record.upstream,
            "gptproxy.attempts": record.attempts,
            "gptproxy.first_byte_seconds": record.first_byte_seconds,
            "gptproxy.passages": record.passages,
        }
        for name, value in said.items():
            if value is not None:
                self._span.set_attribute(name, value)
        if record.status >= 500:
            self._span.set_status(self._failed)
        self._span.end()


class OpenTelemetry:
    """
    :param trace: ``opentelemetry.trace``, or what stands for it.
    :param propagate: ``opentelemetry.propagate``.
    """

    def __init__(self, trace: Any, propagate: Any) -> None:  # modules that may not be there
        self._trace = trace
        self._propagate = propagate
        self._tracer = trace.get_tracer("gptproxy")

    def begin(self, method: str, route: str, fields: Iterable[tuple[bytes, bytes]]) -> Span:
        """
        :param method: HTTP method.
        :param route: OpenAI's path with its parameters named.
        :param fields: the request's field lines, names in lower case.
        :return: the call's span, which has begun; its parent is the caller's, if the fields name one.
        """
        fields = tuple(fields)
        context = self._propagate.extract(
            {name.decode(): value.decode("latin-1") for name, value in fields if name in _CARRIED}
        )
        span = self._tracer.start_span(
            f"{method} {route}",
            context=context,
            kind=self._trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route},
        )
        carrier: dict[str, str] = {}
        self._propagate.inject(carrier, context=self._trace.set_span_in_context(span, context))
        kept = tuple(field for field in fields if field[0] not in _CARRIED)
        own = tuple((name.lower().encode(), value.encode()) for name, value in carrier.items())
        return _Span(span, kept + own, self._trace.StatusCode.ERROR)


def installed_tracer() -> Tracer | None:
    """:return: what makes spans; None where OpenTelemetry is not installed."""
    try:
        trace: ModuleType = import_module("opentelemetry.trace")
        propagate: ModuleType = import_module("opentelemetry.propagate")
    except ImportError:
        return None
    return OpenTelemetry(trace, propagate)
