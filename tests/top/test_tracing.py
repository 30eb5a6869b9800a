"""One span for each call, by a stand-in for OpenTelemetry's API; nothing where it is not installed."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from unittest import mock

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gptproxy import tracing
from gptproxy.api import Calls, Exchange
from gptproxy.call_record import CallRecord
from gptproxy.tracing import OpenTelemetry, installed_tracer
from gptproxy.upstream.fields import fields_up
from tests.api.rig import Answering, Visitor

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OWN = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
RECORD = CallRecord(
    "id-1", "alice", "POST", "/chat/completions", "gpt-4o", "one", 2, 200, 17, 1.2, 0.1, 3, 4
)


class Span:
    """A span as OpenTelemetry has it."""

    def __init__(self, name: str, **given: object) -> None:
        self.name, self.given = name, given
        self.attributes: dict[str, object] = dict(given["attributes"])  # type: ignore[call-overload]  # it is one
        self.status: object = None
        self.ended = 0

    def set_attribute(self, name: str, value: object) -> None:
        self.attributes[name] = value

    def set_status(self, status: object) -> None:
        self.status = status

    def end(self) -> None:
        self.ended += 1


class API:
    """opentelemetry.trace and opentelemetry.propagate in one."""

    SpanKind = SimpleNamespace(SERVER="server")
    StatusCode = SimpleNamespace(ERROR="error")

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def get_tracer(self, name: str) -> API:
        assert name == "gptproxy"
        return self

    def extract(self, carrier: dict[str, str]) -> dict[str, str]:
        return dict(carrier)

    def start_span(self, name: str, **given: object) -> Span:
        self.spans.append(Span(name, **given))
        return self.spans[-1]

    def set_span_in_context(self, span: Span, context: object) -> tuple[object, ...]:
        return span, context

    def inject(self, carrier: dict[str, str], context: object) -> None:
        assert context == (self.spans[-1], self.spans[-1].given["context"])
        carrier["traceparent"] = OWN


FIELDS = (
    (b"host", b"h"),
    (b"traceparent", PARENT.encode()),
    (b"tracestate", b"a=b"),
    (b"x-other", b"1"),
)


class SpanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.api = API()
        self.tracer = OpenTelemetry(self.api, self.api)

    def test_the_callers_context_is_the_parent(self) -> None:
        """And the span's own goes up in its place."""
        span = self.tracer.begin("POST", "/chat/completions", FIELDS)
        (made,) = self.api.spans
        self.assertEqual(made.name, "POST /chat/completions")
        self.assertEqual(made.given["context"], {"traceparent": PARENT, "tracestate": "a=b"})
        self.assertEqual(made.given["kind"], "server")
        self.assertEqual(
            span.fields,
            ((b"host", b"h"), (b"x-other", b"1"), (b"traceparent", OWN.encode())),
        )

    def test_what_is_known_at_the_end(self) -> None:
        """Nothing of it is a part of what was asked; what is not known is not there."""
        self.tracer.begin("POST", "/x", ()).end(RECORD)
        (made,) = self.api.spans
        self.assertEqual((made.ended, made.status), (1, None))
        self.assertEqual(made.attributes["gen_ai.usage.output_tokens"], 4)
        self.assertNotIn("error.type", made.attributes)
        failed = evolve(RECORD, status=502, error="upstream_unreachable", model="-")
        self.tracer.begin("POST", "/x", ()).end(failed)
        self.assertEqual(self.api.spans[1].status, "error")
        self.assertEqual(self.api.spans[1].attributes["error.type"], "upstream_unreachable")
        self.assertNotIn("gen_ai.request.model", self.api.spans[1].attributes)

    def test_a_call_from_its_headers_to_its_end(self) -> None:
        """Has one span, and its fields are what goes up."""
        seen: list[Exchange] = []

        async def act(exchange: Exchange) -> None:
            seen.append(exchange)
            exchange.answer_json({})

        records: list[CallRecord] = []
        endpoint = Answering(Clock(), act)
        endpoint.calls = Calls([records.append], self.tracer)
        visitor = Visitor(endpoint)
        visitor.client.send(
            b"GET / HTTP/1.1\r\nhost: h\r\ntraceparent: %b\r\n\r\n" % PARENT.encode()
        )
        self.assertEqual(visitor.answer().status, 200)
        (made,) = self.api.spans
        self.assertEqual(made.ended, 1)
        self.assertIn((b"traceparent", OWN.encode()), seen[0].fields)
        self.assertEqual((endpoint.calls.open, endpoint.calls.ended), (0, 1))
        self.assertEqual(len(records), 1)

    def test_where_it_goes(self) -> None:
        """To OpenAI and its like, not to Azure."""
        self.assertIn(FIELDS[1], fields_up(FIELDS, to_azure=False))
        self.assertIn(FIELDS[2], fields_up(FIELDS, to_azure=False))
        self.assertEqual(fields_up(FIELDS, to_azure=True), [(b"accept-encoding", b"identity")])


class InstalledTests(SynchronousTestCase):
    def test_without_opentelemetry(self) -> None:
        """Nobody makes spans."""
        with mock.patch.dict(sys.modules, {"opentelemetry": None, "opentelemetry.trace": None}):
            self.assertIsNone(installed_tracer())

    def test_with_it(self) -> None:
        """Its API is what is used."""
        api = API()
        modules = {"opentelemetry.trace": api, "opentelemetry.propagate": api}
        package = {"opentelemetry": ModuleType("opentelemetry")}
        with mock.patch.dict(sys.modules, {**package, **modules}):  # type: ignore[dict-item]  # they stand for modules
            self.assertIsInstance(installed_tracer(), tracing.OpenTelemetry)
