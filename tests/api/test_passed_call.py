"""Stored objects: whose they are, where they are, what is recorded of them."""

from __future__ import annotations

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred

from gptproxy.access import Caller
from gptproxy.api import api_tree
from gptproxy.config import UpstreamSettings
from gptproxy.upstream import Model
from tests.api.rig import (
    ALICE,
    OWN,
    SETTINGS,
    UPSTREAM,
    Access,
    AtOnce,
    Listing,
    LoggedTestCase,
    Sending,
    Upstream,
    Visitor,
    chat,
    error_of,
    objects,
)
from tests.api.turning import TurningClock

SECOND = UpstreamSettings(name="second", kind="openai", url="https://second/v1")
BOB = Caller("user_token", "bob")
JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream")
FORM = "content-type: multipart/form-data; boundary=b0"


def made(body: bytes, *fields: tuple[bytes, bytes], name: str = "primary") -> Upstream:
    """:return: an upstream whose answer is there."""
    upstream = Upstream(*(fields or (JSON,)), length=len(body))
    upstream.say(body)
    upstream.end()
    upstream.answer = evolve(upstream.answer, upstream=name)
    return upstream


def form(*fields: tuple[str, str]) -> bytes:
    parts = [
        f'--b0\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    return "".join([*parts, "--b0--\r\n"]).encode()


class ObjectsTestCase(LoggedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = TurningClock()
        self.threads = AtOnce()
        self.objects = objects(self.clock, self.threads)
        self.addCleanup(self.objects.ownership.stopService)
        self.access, self.sending = Access(), self.sender()
        settings = evolve(SETTINGS, upstreams=(UPSTREAM, SECOND))
        root = api_tree(
            self.clock,
            settings,
            self.access,
            self.sending,
            Listing(Model("gpt-4", 1, "x"), Model("ft:hers", 1, "x")),
            objects=self.objects,
        )
        self.visitor = Visitor(root)

    def sender(self) -> Sending:
        return Sending()

    def own(
        self, *ids: str, owner: Caller = ALICE, kind: str = "file", at: str = "primary"
    ) -> None:
        recording = self.objects.ownership.record(owner.owner, at, [(each, kind) for each in ids])
        self.successResultOf(Deferred.fromCoroutine(recording))

    def owner_of(self, name: str) -> tuple[str, str] | None:
        finding = Deferred.fromCoroutine(self.objects.ownership.find([name]))
        row = self.successResultOf(finding).get(name)
        return None if row is None else (row.owner, row.upstream)

    def ask(self, method: str, target: str, body: bytes | None = None, *fields: str):
        self.visitor.ask(method, target, body, *fields)
        self.clock.turn(30)
        return self.visitor.answer()


class PassedCallTests(ObjectsTestCase):
    def test_ones_own(self) -> None:
        """Goes to where it is kept, its id as the caller wrote it."""
        self.own("file-1", at="second")
        answer = self.ask("GET", "/v1/files/file%2D1/content?x=1")
        self.assertEqual(answer.status, 200)
        ((call, targets, _, _),) = self.sending.calls
        self.assertEqual((call.method, call.route), (b"GET", "/files/file%2D1/content"))
        self.assertEqual((call.affinity, call.body, call.model), ("second", None, None))
        self.assertEqual([target.upstream.name for target in targets], ["second"])

    def test_anothers_and_nobodys(self) -> None:
        """The same 404, in path, query and body, and nothing goes up."""
        self.own("file-1", owner=BOB)
        self.own("vs_1")
        for each in ("file-1", "file-9"):
            body = orjson.dumps({"file_id": each})
            for method, target, sent in [
                ("GET", f"/files/{each}", None),
                ("DELETE", f"/files/{each}", None),
                ("GET", f"/vector_stores/vs_1/files?file_id={each}", None),
                ("POST", "/vector_stores/vs_1/files", body),
                ("POST", "/embeddings", orjson.dumps({"model": "gpt-4", "file_id": each})),
                ("POST", "/responses", orjson.dumps({"model": "gpt-4", "x": [{"file_id": each}]})),
                ("POST", "/chat/completions", b" " * 262_144 + chat(x={"file_id": each})),
            ]:
                with self.subTest(each, method=method, target=target):
                    answer = self.ask(method, target, sent)
                    self.assertEqual(answer.status, 404)
                    self.assertEqual(error_of(answer)["message"], f"No such object: {each}")
        self.assertEqual(self.sending.calls, [])

    def test_kept_apart(self) -> None:
        self.own("file-1")
        self.own("file-2", at="second")
        body = orjson.dumps({"file_ids": ["file-1", "file-2"]})
        self.assertEqual(
            error_of(self.ask("POST", "/vector_stores", body))["code"], "objects_apart"
        )

    def test_recorded_before_it_is_told(self) -> None:
        """An answer that cannot be recorded is not given."""
        self.sending.answer = made(b'{"id":"vs_1"}', name="second").answer
        self.assertEqual(self.ask("POST", "/vector_stores", b"{}").status, 200)
        self.assertEqual(self.owner_of("vs_1"), (ALICE.owner, "second"))
        self.sending.answer = made(b'{"object":"x","id":"vs_2"}').answer
        self.threads.busy = True
        self.assertEqual(self.ask("POST", "/vector_stores", b"{}").status, 503)

    def test_deleted(self) -> None:
        """Forgotten when the upstream says so, or does not know it."""
        self.own("file-1", "file-2")
        self.sending.answer = made(b"{}").answer
        self.ask("DELETE", "/files/file-1")
        self.assertIsNone(self.owner_of("file-1"))
        self.sending.answer = evolve(self.sending.answer, answer=None)
        self.assertIsNotNone(self.owner_of("file-2"))

    def test_what_the_upstream_made_for_somebody(self) -> None:
        self.own("batch_1", kind="batch")
        body = b'{"id":"batch_1","output_file_id":"file-o","error_file_id":null}'
        self.sending.answer = made(body).answer
        self.assertEqual(self.ask("GET", "/batches/batch_1").body, body)
        self.assertEqual(self.owner_of("file-o"), (ALICE.owner, "primary"))

    def test_a_streamed_response(self) -> None:
        """Recorded at its first event, which comes before the rest."""
        upstream = Upstream(SSE)
        self.sending.answer = upstream.answer
        body = orjson.dumps({"model": "gpt-4", "input": "x", "stream": True})
        self.visitor.ask("POST", "/responses", body)
        event = (
            b'event: response.created\ndata: {"type":"response.created","response":{"id":"r1"}}\n\n'
        )
        upstream.say(event[:30])
        self.assertEqual(self.visitor.sent, b"")
        upstream.say(event[30:])
        self.assertIn(event, self.visitor.sent)
        self.assertEqual(self.owner_of("r1"), (ALICE.owner, "primary"))
        self.assertFalse(self.sending.calls[0][0].repeatable)
        upstream.end()

    def test_what_is_not_stored(self) -> None:
        for body in (
            {"model": "gpt-4", "store": False},
            {"model": "gpt-4", "input": "x", "store": False, "stream": True},
        ):
            self.sending.answer = made(b'{"id":"r2"}').answer
            self.ask("POST", "/responses", orjson.dumps(body))
            self.assertIsNone(self.owner_of("r2"))
        self.sending.answer = made(b'{"id":"c2"}').answer
        self.ask("POST", "/chat/completions", chat(store=True))
        self.assertEqual(self.owner_of("c2"), (ALICE.owner, "primary"))

    def test_models_that_cannot_be_seen(self) -> None:
        """Are not for those who may use some only; nor is one that is not theirs."""
        self.access.verdict = Caller("user_token", "carol", models=("gpt-3*",))
        for method, target, body in [
            ("POST", "/batches", b"{}"),
            ("POST", "/evals", b"{}"),
            ("POST", "/chat/completions", chat()),
            ("POST", "/audio/transcriptions", form(("model", "gpt-4"))),
        ]:
            fields = (FORM,) if "audio" in target else ()
            answer = self.ask(method, target, body, *fields)
            self.assertEqual((answer.status, error_of(answer)["code"]), (403, "model_not_allowed"))
        self.assertEqual(orjson.loads(self.ask("GET", "/models").body)["data"], [])
        self.assertEqual(self.sending.calls, [])

    def test_fine_tuned_models(self) -> None:
        """For who made them."""
        self.assertEqual(self.ask("POST", "/chat/completions", chat("ft:hers")).status, 404)
        self.own("ft:hers", kind="model", at="second")
        self.assertEqual(self.ask("POST", "/chat/completions", chat("ft:hers")).status, 200)
        self.assertEqual(self.ask("DELETE", "/models/ft:hers").status, 200)
        self.assertEqual(self.sending.calls[-1][0].route, "/models/ft:hers")
        self.assertEqual(self.ask("DELETE", "/models/gpt-4").status, 403)
        self.assertEqual(self.ask("DELETE", "/models/files/ft:hers").status, 404)

    def test_evaluations_of_everybodys_records(self) -> None:
        for body in (
            b'{"a":{"type":"stored_completions"}}',
            b'{"type":"stored\\u005fcompletions"}',
        ):
            self.assertEqual(self.ask("POST", "/evals", body).status, 403)
        self.assertEqual(self.ask("POST", "/evals", b'{"type":"custom"}').status, 200)

    def test_ones_own_key(self) -> None:
        """Nobody's objects are looked up: all are the caller's."""
        self.access.verdict = OWN
        self.threads.busy = True
        for target in ("/files/file-1", "/files"):
            self.assertEqual(self.ask("GET", target).status, 200)
        self.assertEqual(self.ask("POST", "/files", form(("a", "b")), FORM).status, 200)


class FormTests(ObjectsTestCase):
    def test_a_held_form(self) -> None:
        """The model's place is told, whatever stands around it."""
        body = form(("language", "en"), ("model", "gpt-4"), ("stream", "true"))
        self.assertEqual(self.ask("POST", "/audio/transcriptions", body, FORM).status, 200)
        ((call, targets, _, _),) = self.sending.calls
        self.assertEqual(call.body[call.model_span.start : call.model_span.end], b"gpt-4")
        self.assertTrue(call.model_in_form and call.stream and call.deployment)
        self.assertEqual([target.model for target in targets], ["gpt-4-eu", "gpt-4"])

    def test_the_paths_model(self) -> None:
        """Is put into the form, in the place of another."""
        for body in (form(("a", "b")), form(("model", "other"))):
            answer = self.ask("POST", "/openai/deployments/gpt-4/audio/translations", body, FORM)
            self.assertEqual(answer.status, 200)
            call = self.sending.calls[-1][0]
            self.assertEqual(call.body.count(b'name="model"'), 1)
            self.assertEqual(call.body[call.model_span.start : call.model_span.end], b"gpt-4")

    def test_the_paths_model_in_json(self) -> None:
        for body in (b'{"a":1}', b"{}", b'{"model":"x"}', b'{"model":"gpt-4"}'):
            self.ask("POST", "/openai/deployments/gpt-4/embeddings?api-version=1", body)
            call = self.sending.calls[-1][0]
            self.assertEqual(orjson.loads(call.body)["model"], "gpt-4")
            self.assertEqual(call.body[call.model_span.start : call.model_span.end], b'"gpt-4"')

    def test_forms_refused(self) -> None:
        for body, field, code in [
            (form(("a", "b")), FORM, "missing_required_parameter"),
            (form(("model", "a"), ("model", "b")), FORM, "duplicate_member"),
            (b"--b0", FORM, "invalid_form"),
            (b"x", "content-type: text/plain", "invalid_form"),
            (b"x", "content-type: multipart/form-data", "invalid_form"),
        ]:
            with self.subTest(code, body=body):
                answer = self.ask("POST", "/audio/transcriptions", body, field)
                self.assertEqual((answer.status, error_of(answer)["code"]), (400, code))

    def test_a_form_over_the_bound(self) -> None:
        self.visitor.client.send(
            b"POST /audio/transcriptions HTTP/1.1\r\nhost: h\r\ncontent-length: 27262977\r\n"
            + FORM.encode()
            + b"\r\n\r\n"
        )
        self.visitor.method = b"POST"
        self.assertEqual(self.visitor.answer().status, 413)


class ListTests(ObjectsTestCase):
    def page(self, *ids: str, more: bool = False) -> None:
        data = [{"id": each} for each in ids]
        body = {"object": "list", "data": data, "has_more": more, "first_id": "x", "last_id": "y"}
        self.sending.answer = made(orjson.dumps(body)).answer

    def test_filtered(self) -> None:
        self.own("a1", "a2")
        self.own("b1", owner=BOB)
        self.page("b1", "a1", "x1", "a2")
        content = orjson.loads(self.ask("GET", "/v1/files?purpose=batch").body)
        self.assertEqual([each["id"] for each in content["data"]], ["a1", "a2"])
        self.assertEqual(
            (content["first_id"], content["last_id"], content["has_more"]), ("a1", "a2", False)
        )
        self.assertEqual(self.sending.calls[0][0].query, b"purpose=batch&limit=100")

    def test_limited(self) -> None:
        self.own("a1", "a2", "a3")
        self.page("a1", "a2", "a3")
        content = orjson.loads(self.ask("GET", "/files?limit=2").body)
        self.assertEqual((len(content["data"]), content["has_more"]), (2, True))
        self.page("a3")
        content = orjson.loads(self.ask("GET", "/files?limit=2&after=a2").body)
        self.assertEqual((content["last_id"], content["has_more"]), ("a3", False))
        self.assertIn(b"after=a2", self.sending.calls[-1][0].query)

    def test_who_has_none_asks_nobody(self) -> None:
        content = orjson.loads(self.ask("GET", "/files").body)
        self.assertEqual(content["data"], [])
        self.assertEqual(self.sending.calls, [])

    def test_refused(self) -> None:
        self.own("a1")
        self.assertEqual(self.ask("GET", "/files?limit=x").status, 400)
        self.assertEqual(self.ask("GET", "/files?after=b1").status, 404)
        self.sending.answer = made(b"<html>").answer
        self.assertEqual(self.ask("GET", "/files").status, 502)

    def test_an_upstreams_error(self) -> None:
        self.own("a1")
        self.sending.answer = Sending().answer
        self.assertEqual(self.ask("GET", "/files").status, 200)
