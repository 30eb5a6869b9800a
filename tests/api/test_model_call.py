"""Calls that name a model, and the list of models."""

from __future__ import annotations

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gptproxy.access import Caller
from gptproxy.api import Exchange, JSONCall, Models, Turns, UnknownRoute
from gptproxy.upstream import Model, UpstreamAnswer
from gptproxy.wire import Refusal, member_spans
from tests.api.rig import (
    ALICE,
    CANARY,
    OWN,
    SETTINGS,
    Access,
    Listing,
    LoggedTestCase,
    Sending,
    Upstream,
    Visitor,
    chat,
    error_of,
    model_call,
    small,
)
from tests.api.turning import TurningClock


class Augmenting:
    """Puts a member into every call."""

    def __init__(self, waiting: Deferred[None] | None = None) -> None:
        self.calls: list[JSONCall] = []
        self._waiting = waiting

    async def augmented(
        self, call: JSONCall, exchange: Exchange, turns: Turns, caller: Caller
    ) -> JSONCall:
        self.calls.append(call)
        if self._waiting is not None:
            await self._waiting
        body = b'{"more":1,' + call.body[1:]
        return JSONCall(body, call.content, call.model, member_spans(body)["model"])


class ModelCallTestCase(LoggedTestCase):
    """A chat's route."""

    route = "/chat/completions"

    def visitor(
        self,
        access: Access | None = None,
        sending: Sending | None = None,
        settings: object = SETTINGS,
        **options: object,
    ) -> Visitor:
        self.access, self.sending = access or Access(), sending or Sending()
        self.clock = TurningClock()
        endpoint = model_call(
            self.route, self.clock, settings, self.access, self.sending, **options
        )
        return Visitor(endpoint)

    def ask(self, visitor: Visitor, body: bytes | None, *fields: str):
        visitor.ask("POST", f"/?q={CANARY}", body, f"authorization: Bearer {CANARY}", *fields)
        return visitor


class ModelCallTests(ModelCallTestCase):
    """In order: caller, body, model, documents, upstream."""

    def test_a_call(self) -> None:
        """Goes up as it came, with what the sender must know."""
        body = chat(stream=True)
        got = self.ask(self.visitor(), body, "x-a: 1").answer()
        self.assertEqual((got.status, got.headers[b"x-gptproxy-attempts"]), (200, b"3"))
        ((call, targets, own_key, request_id),) = self.sending.calls
        self.assertEqual((call.body, call.model, call.repeatable), (body, "gpt-4", True))
        self.assertEqual(body[call.model_span.start : call.model_span.end], b'"gpt-4"')
        self.assertEqual(call.query, b"q=" + CANARY.encode())
        self.assertIn((b"x-a", b"1"), call.fields)
        self.assertEqual([target.model for target in targets], ["gpt-4-eu"])
        self.assertFalse(own_key)
        line = self.access_line()
        self.assertEqual(request_id, line["request_id"])
        self.assertEqual(
            (line["caller"], line["model"], line["method"]), ("alice", "gpt-4", "POST")
        )
        self.assertEqual(line["route"], "/chat/completions")

    def test_nobody_comes_in_unknown(self) -> None:
        """Before the body: it is neither waited for nor asked for, nor is its size told."""
        refusal = Refusal(401, "Who?", code="invalid_api_key")
        for fields in ((), ("expect: 100-continue",), ("content-encoding: gzip",)):
            with self.subTest(fields):
                visitor = self.visitor(Access(refusal), settings=small(3))
                head = "\r\n".join(
                    ["POST / HTTP/1.1", "host: h", "content-length: 4000", *fields, "", ""]
                )
                visitor.client.send(head.encode())
                visitor.method = b"POST"
                self.assertNotIn(b"100 Continue", visitor.sent)
                got = visitor.answer()
                self.assertEqual((got.status, error_of(got)["code"]), (401, "invalid_api_key"))
                self.assertEqual(self.sending.calls, [])

    def test_the_body_is_asked_for_once_the_caller_is_known(self) -> None:
        """100 Continue comes after the verdict, not before."""
        verdict: Deferred[Caller] = Deferred()
        visitor = self.visitor(Access(verdict))
        body = chat()
        visitor.client.send(
            b"POST / HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
            % len(body)
        )
        self.assertEqual(visitor.sent, b"")
        verdict.callback(ALICE)
        self.assertEqual(visitor.sent, b"HTTP/1.1 100 Continue\r\n\r\n")
        visitor.client.send(body)
        visitor.method = b"POST"
        self.assertEqual(visitor.answer().status, 200)

    def test_a_body_over_the_bound(self) -> None:
        """413: by its length before a byte of it, else as soon as it is over."""
        visitor = self.visitor(settings=small(10))
        visitor.client.send(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 11\r\n\r\n")
        visitor.method = b"POST"
        got = visitor.answer()
        self.assertEqual((got.status, error_of(got)["code"]), (413, "request_too_large"))
        visitor = self.visitor(settings=small(10))
        visitor.client.send(b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        visitor.client.send(b"b\r\n01234567890\r\n")
        visitor.method = b"POST"
        got = visitor.answer()
        self.assertEqual((got.status, error_of(got)["code"]), (413, "request_too_large"))
        self.assertEqual(self.sending.calls, [])

    def test_what_cannot_be_read(self) -> None:
        """Broken JSON, no body, a compressed one."""
        for body, fields, status in [
            (b"{", (), 400),
            (None, (), 400),
            (b"\x1f\x8b", ("content-encoding: gzip",), 415),
            (chat(), ("content-encoding: br",), 415),
        ]:
            with self.subTest(status):
                got = self.ask(self.visitor(), body, *fields).answer()
                self.assertEqual(got.status, status)
                error_of(got)
        self.assertEqual(self.access_lines()[0]["caller"], "alice")

    def test_a_model_that_no_upstream_has(self) -> None:
        """404, before documents or upstreams are asked; no name can forge the access line."""
        for model, told in [
            ("gpt-9", "gpt-9"),
            ("m" * 100, "m" * 64),
            ("a\nb", "?"),
            ("a status=200", "?"),
            ("a\u202eb", "?"),
        ]:
            with self.subTest(model):
                self.events.clear()
                augmenting = Augmenting()
                visitor = self.visitor(augmenter=augmenting)
                got = self.ask(visitor, chat(model)).answer()
                self.assertEqual((got.status, error_of(got)["code"]), (404, "model_not_found"))
                self.assertEqual((self.sending.calls, augmenting.calls), ([], []))
                self.assertEqual(self.access_line()["model"], told)

    def test_unknown_models_to_the_first(self) -> None:
        """Where the operator says so."""
        settings = evolve(SETTINGS, unknown_model="first")
        self.assertEqual(self.ask(self.visitor(settings=settings), chat("x")).answer().status, 200)
        ((_, targets, _, _),) = self.sending.calls
        self.assertEqual([target.model for target in targets], ["gpt-4-eu"])

    def test_documents_are_put_in(self) -> None:
        """The sender gets the call as it was augmented."""
        self.ask(self.visitor(augmenter=Augmenting()), chat()).answer()
        ((call, _, _, _),) = self.sending.calls
        self.assertTrue(call.body.startswith(b'{"more":1,'))
        self.assertEqual(call.body[call.model_span.start : call.model_span.end], b'"gpt-4"')

    def test_a_callers_own_key(self) -> None:
        """Goes to the caller's own resource only, and gets nothing of the organisation's documents."""
        augmenting = Augmenting()
        visitor = self.visitor(Access(OWN), augmenter=augmenting)
        self.assertEqual(self.ask(visitor, chat("own-model")).answer().status, 200)
        ((_, (target,), own_key, _),) = self.sending.calls
        self.assertEqual(target.upstream.url, "https://gpt9.openai.azure.com")
        self.assertEqual(target.model, "own-deployment")
        self.assertTrue(own_key)
        self.assertEqual(augmenting.calls, [])
        self.assertEqual(self.access_line()["caller"], "gpt9")
        got = self.ask(self.visitor(Access(OWN)), chat("gpt-4")).answer()
        self.assertEqual(got.status, 404)

    def test_no_upstream_answers(self) -> None:
        """The sender's refusal is the answer; the cause is in the log."""
        sending = Sending(Refusal(502, "No.", error_type="server_error", cause="refused"))
        got = self.ask(self.visitor(sending=sending), chat()).answer()
        self.assertEqual((got.status, error_of(got)["type"]), (502, "server_error"))
        self.assertEqual([e["cause"] for e in self.events if "cause" in e], ["refused"])

    def test_a_large_body(self) -> None:
        """Is passed through in turns, and goes up as it came."""
        body = chat(user="x" * 1_000_000)
        visitor = self.ask(self.visitor(), body)
        turns = 0
        while not self.sending.calls:
            self.clock.turn()
            turns += 1
        self.assertGreater(turns, 10)
        ((call, _, _, _),) = self.sending.calls
        self.assertEqual((call.body, call.model), (body, "gpt-4"))
        self.assertEqual(visitor.answer().status, 200)

    def test_a_large_body_that_is_broken(self) -> None:
        """Is a 400 with the place."""
        visitor = self.ask(self.visitor(), chat(user="x" * 1_000_000)[:-1])
        self.clock.turn(30)
        got = visitor.answer()
        self.assertEqual((got.status, error_of(got)["code"]), (400, "invalid_json"))


class LeavingTests(ModelCallTestCase):
    """A caller who leaves takes the call along, in every phase."""

    def test_while_the_token_is_verified(self) -> None:
        """GitLab's answer is not waited for."""
        self.check(self.visitor(Access(self.waiting())))

    def test_while_a_large_body_is_read(self) -> None:
        """It is read no further."""
        visitor = self.ask(self.visitor(), chat(user="x" * 1_000_000))
        self.clock.turn(3)
        visitor.leave()
        self.clock.turn(3)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.access_line()["status"], 499)
        self.assertEqual(self.failures(), [])

    def test_while_documents_are_found(self) -> None:
        """Nor is the search's."""
        self.check(self.visitor(augmenter=Augmenting(self.waiting())))

    def test_while_an_upstream_thinks(self) -> None:
        """Nor is an upstream's."""
        self.check(self.visitor(sending=Sending(self.waiting())))

    def test_while_the_answer_streams(self) -> None:
        """And a stream is dropped."""
        upstream = Upstream((b"content-type", b"text/event-stream"))
        visitor = self.ask(self.visitor(sending=Sending(upstream.answer)), chat())
        upstream.say(b"data: 1\n\n")
        visitor.leave()
        self.assertEqual(upstream.dropped, 1)
        self.assertEqual(self.access_line()["status"], 499)

    def test_after_the_answer(self) -> None:
        """Nothing is left to cancel."""
        visitor = self.ask(self.visitor(), chat())
        visitor.answer()
        visitor.leave()
        self.assertEqual(self.access_line()["status"], 200)

    def waiting(self) -> Deferred[UpstreamAnswer]:
        self.cancelled: list[object] = []
        return Deferred(self.cancelled.append)

    def check(self, visitor: Visitor) -> None:
        self.ask(visitor, chat())
        self.assertEqual(self.cancelled, [])
        visitor.leave()
        self.assertEqual(len(self.cancelled), 1)
        self.assertEqual(self.access_line()["status"], 499)
        self.assertEqual(self.failures(), [])


class ModelsTests(LoggedTestCase):
    """``GET /models``."""

    def ask(self, target: str, caller: Caller = ALICE, method: str = "GET"):
        models = Listing(
            Model("gpt-4", 1, "x"), Model("org/llama", 2, "y"), Model("ft:a:b", 3, "z")
        )
        root = UnknownRoute(Clock())
        root.isLeaf = False
        root.putChild(b"models", Models(Clock(), Access(caller), models))
        visitor = Visitor(root)
        visitor.ask(method, target)
        return visitor.answer()

    def test_the_list(self) -> None:
        """In OpenAI's form; HEAD gets its length."""
        got = self.ask("/models")
        content = orjson.loads(got.body)
        self.assertEqual(content["object"], "list")
        self.assertEqual(
            content["data"][0], {"id": "gpt-4", "object": "model", "created": 1, "owned_by": "x"}
        )
        head = self.ask("/models/", method="HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers[b"content-length"], b"%d" % len(got.body))

    def test_one(self) -> None:
        """Its name may have slashes and colons, encoded or not."""
        for target, name in [
            ("/models/gpt-4", "gpt-4"),
            ("/models/org/llama", "org/llama"),
            ("/models/org%2Fllama", "org/llama"),
            ("/models/org%2fllama/", "org/llama"),
            ("/models/ft%3Aa%3Ab", "ft:a:b"),
            ("/models/ft:a:b?x=1", "ft:a:b"),
        ]:
            with self.subTest(target):
                self.assertEqual(orjson.loads(self.ask(target).body)["id"], name)

    def test_none_of_that_name(self) -> None:
        """404 with the names there are."""
        for name in ("gpt-5", "org", "%C3%A9", "gpt-4/x"):
            with self.subTest(name):
                got = self.ask(f"/models/{name}")
                self.assertEqual((got.status, error_of(got)["code"]), (404, "model_not_found"))
                self.assertIn("org/llama", error_of(got)["message"])

    def test_a_callers_own(self) -> None:
        """Are those that the key names."""
        content = orjson.loads(self.ask("/models", OWN).body)
        self.assertEqual(
            [(m["id"], m["owned_by"]) for m in content["data"]], [("own-model", "gpt9")]
        )
        self.assertEqual(self.ask("/models/gpt-4", OWN).status, 404)

    def test_unknown_callers(self) -> None:
        """Learn nothing."""
        root = Models(Clock(), Access(Refusal(401, "Who?")), Listing(Model("gpt-4", 1, "x")))
        visitor = Visitor(root)
        visitor.ask("GET", "/")
        got = visitor.answer()
        self.assertEqual(got.status, 401)
        self.assertNotIn(b"gpt-4", got.body)
