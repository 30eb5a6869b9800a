"""Items of responses, batches' files and tools' models: what a call may bring along that is not its caller's own."""

from __future__ import annotations

import orjson
from attrs import evolve
from twisted.internet.error import ConnectionLost

from gptproxy.access import Caller
from gptproxy.api import api_tree, batch_file
from gptproxy.api.heard import MOST_BYTES, HeardItems
from gptproxy.upstream import UpstreamAnswer
from tests.api.rig import (
    ALICE,
    SETTINGS,
    UPSTREAM,
    Listing,
    Sending,
    Upstream,
    Visitor,
    chat,
    error_of,
    held,
)
from tests.api.test_passed_call import BOB, FORM, JSON, SSE, ObjectsTestCase, form, made

ITEM = "msg_0123456789abcdef"
SEALED = {"type": "reasoning", "id": "rs_0123456789abcdef", "encrypted_content": "x", "summary": []}
LIMITED = Caller("gitlab", "bob", models=("gpt-4*",))


def added(identity: object, **more: object) -> bytes:
    event = {"type": "response.output_item.added", "item": {"id": identity, **more}}
    return b"event: response.output_item.added\ndata: " + orjson.dumps(event) + b"\n\n"


def response(*items: object, **more: object) -> bytes:
    return orjson.dumps({"model": "gpt-4", "input": list(items), **more})


class ItemTests(ObjectsTestCase):
    def ask(self, method: str, target: str, body: bytes | None = None, *fields: str):
        self.visitor.ask(method, target, body, *fields)
        self.clock.turn(100)
        return self.visitor.answer()

    def refused(self, target: str, body: bytes) -> None:
        answer = self.ask("POST", target, body)
        self.assertEqual((answer.status, error_of(answer)["code"]), (404, None), body[:200])
        self.assertEqual(self.sending.calls, [])

    def test_a_reference_need_not_say_that_it_is_one(self) -> None:
        """An item of nothing but an id is one, in small and in large bodies, wherever items go."""
        self.own(ITEM, owner=BOB, kind="item")
        text = {"role": "user", "content": "x" * 300_000}
        for item in (
            {"id": ITEM},
            {"id": ITEM, "type": None},
            {"id": "msg_of_nobody", "type": None},
            {"type": "item_reference", "id": ITEM},
            {"id": ITEM, "pad": "x" * 300_000},
        ):
            for target, body in (
                ("/responses", response(item)),
                ("/responses", response(text, item)),
                ("/responses/compact", response(item)),
                ("/responses/input_tokens", response(text, item, "a string")),
                ("/conversations", orjson.dumps({"items": [item]})),
            ):
                with self.subTest(target=target, item=str(item)[:60]):
                    self.refused(target, body)

    def test_an_item_written_out_must_not_be_anothers(self) -> None:
        """The upstream looks it up by its id; what nobody has is the caller's own word."""
        self.own(ITEM, owner=BOB, kind="item")
        for pad in ("", "x" * 300_000):
            self.refused("/responses", response({"type": "reasoning", "id": ITEM, "summary": pad}))
            self.refused("/responses", response({"role": "assistant", "id": ITEM, "content": pad}))
        self.own("msg_1", owner=BOB, kind="item")
        for item in ({"role": "user", "id": "msg_1"}, {"role": "user", "id": "msg_" + "n" * 40}):
            self.sending.answer = made(b'{"id":"resp_1"}').answer
            self.assertEqual(self.ask("POST", "/responses", response(item)).status, 200)

    def test_what_cannot_be_told(self) -> None:
        large = b'{"id":"a","id":"b","x":"%b"}' % (b"x" * 300_000)
        for items in (b"%b" % large, b'{"x":1e999}', b"1," * 16_384 + b"1"):
            body = b'{"model":"gpt-4","input":[%b],"x":"%b"}' % (items, b"z" * 262_144)
            answer = self.ask("POST", "/responses", body)
            self.assertEqual(answer.status, 400, items[:50])
            self.assertEqual(error_of(answer)["code"], "invalid_reference")

    def test_encrypted_reasoning_goes_where_it_was_made(self) -> None:
        """Where that upstream has the model."""
        for pad in ("", "x" * 300_000):
            item = {**SEALED, "summary": pad}
            self.sending.calls.clear()
            self.own(SEALED["id"], kind="item", at="primary")
            self.sending.answer = made(b'{"id":"resp_1"}').answer
            self.ask("POST", "/responses", response(item))
            self.sending.answer = made(b'{"id":"resp_1"}').answer
            self.ask("POST", "/responses", response(item, model="other"))
            (first, second) = self.sending.calls
            self.assertEqual(first[0].affinity, "primary")
            self.assertEqual(second[0].affinity, None)

    def test_a_streams_items_become_the_callers(self) -> None:
        """As they pass; those that are whole already, too."""
        head = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'
        upstream = Upstream(SSE)
        upstream.say(head)
        self.sending.answer = upstream.answer
        self.visitor.ask("POST", "/v1/responses", response(stream=True))
        self.clock.turn(30)
        event = added(ITEM, container_id="cntr_1")
        upstream.say(event[:50], event[50:], added(7), b'data: "response.output_item.added\n\n')
        self.assertEqual(self.owner_of(ITEM), (ALICE.owner, "primary"))
        self.assertEqual(self.owner_of("cntr_1"), (ALICE.owner, "primary"))
        self.threads.busy = True
        upstream.say(added("msg_not_recorded"))
        self.threads.busy = False
        upstream.end()
        self.clock.turn(5)
        self.assertIn(event, self.visitor.answer().body)
        whole = made(head + added("msg_whole"), SSE)
        self.sending.answer = whole.answer
        self.assertEqual(self.ask("POST", "/responses", response(stream=True)).status, 200)
        self.assertEqual(self.owner_of("msg_whole"), (ALICE.owner, "primary"))

    def test_not_recorded_not_given(self) -> None:
        """The answer is dropped, and the client told not to have it made again."""
        upstream = Upstream(JSON)
        upstream.say(b'{"id":"vs_1",')
        self.sending.answer = upstream.answer
        self.visitor.ask("POST", "/v1/vector_stores", b"{}")
        self.threads.busy = True
        upstream.say(b'"x":"' + b"x" * 4_194_304)
        self.clock.turn(30)
        answer = self.visitor.answer()
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.headers[b"x-should-retry"], b"false")
        self.assertTrue(upstream.dropped)


class HeardTests(ObjectsTestCase):
    def test_in_any_pieces(self) -> None:
        """Long lines that tell nothing, or nothing that is JSON, are passed over."""
        text = (
            b"data: "
            + b"x" * (2 * MOST_BYTES)
            + b"\n\n"
            + added("msg_1")
            + added("msg_2")
            + b'data: ["response.output_item.added"]\r\rdata: {"item":1,"x":"response.output_item.added"}\n'
        )
        for size in (1_000, 7_919, len(text)):
            found: list[tuple[str, str]] = []
            items = HeardItems(found.extend)
            for start in range(0, len(text), size):
                items.receive(text[start : start + size])
            self.assertEqual(found, [("msg_1", "item"), ("msg_2", "item")])


class Queue(Sending):
    """Gives one answer after the other."""

    def __init__(self, *answers: UpstreamAnswer) -> None:
        super().__init__()
        self.answers = list(answers)

    async def send(self, *given, **named) -> UpstreamAnswer:
        self.answer = self.answers.pop(0)
        return await super().send(*given, **named)


class BatchTests(ObjectsTestCase):
    """A batch's lines are calls under the organisation's key: what they name must be the caller's own."""

    def setUp(self) -> None:
        self.queue = Queue()
        super().setUp()
        self.own("file-1", "resp_1", ITEM)
        self.own("resp_2", "msg_of_somebody_else", owner=BOB)
        self.own("resp_3", at="second")

    def sender(self) -> Sending:
        return self.queue

    def batch(self, content: bytes, *, turns: int = 30, **more: object):
        upstream = made(content, JSON)
        self.queue.answers[:] = [upstream.answer, made(b'{"id":"batch_1"}').answer]
        body = orjson.dumps({"input_file_id": "file-1", "endpoint": "/v1/responses", **more})
        self.visitor.ask("POST", "/v1/batches", body)
        self.clock.turn(turns)
        return self.visitor.answer()

    @staticmethod
    def line(**body: object) -> bytes:
        return orjson.dumps({"custom_id": "1", "url": "/v1/responses", "body": body}) + b"\n"

    def test_ones_own(self) -> None:
        line = self.line(
            previous_response_id="resp_1", input=[{"id": ITEM}, {"role": "user", "id": "m"}]
        )
        many = self.line(model="gpt-4", input="x" * 1000, file_id="file-1") * 200
        answer = self.batch(
            b"\n" + line + many + self.line(input="y" * 300_000) + line[:-1], turns=300
        )
        self.assertEqual(answer.status, 200, answer.body)
        content, batch = (call for call, *_ in self.queue.calls)
        self.assertEqual((content.method, content.route), (b"GET", "/files/file-1/content"))
        self.assertEqual((content.affinity, batch.affinity), ("primary", "primary"))
        self.assertEqual(batch.route, "/batches")

    def test_anothers(self) -> None:
        """In any line, in any spelling, an item or a made model too."""
        for bad in (
            self.line(previous_response_id="resp_2"),
            self.line(input=[{"id": "msg_of_somebody_else"}]),
            self.line(input=[{"id": "msg_of_somebody_else", "type": "reasoning", "summary": []}]),
            self.line(model="ft:gpt-4:org::x"),
            self.line(pad="x" * 300_000, input=[{"content": [{"file_id": "resp_2"}]}]),
            b'{"body":{"conver\\u0073ation":"resp_2"}}',
        ):
            with self.subTest(bad[:100]):
                self.queue.calls.clear()
                self.assertEqual(self.batch(self.line(input="x") + bad).status, 404)
                self.assertEqual(len(self.queue.calls), 1)

    def test_many_are_looked_up_in_between(self) -> None:
        names = [f"resp_{number}" for number in range(10, 3000)]
        self.own(*names)
        lines = b"".join(self.line(previous_response_id=name) for name in names)
        self.assertEqual(self.batch(lines, turns=100).status, 200)
        self.assertEqual(
            self.batch(lines + self.line(conversation="resp_2"), turns=100).status, 404
        )

    def test_kept_apart(self) -> None:
        answer = self.batch(self.line(previous_response_id="resp_3"))
        self.assertEqual(error_of(answer)["code"], "objects_apart")

    def test_a_line_that_cannot_be_read(self) -> None:
        for bad in (
            b"{",
            b"[]",
            b'{"body":{"model":"a","model":"b"}}',
            b'{}\r{"file_id":"resp_2"}',
        ):
            answer = self.batch(self.line(input="x") + bad)
            self.assertEqual(answer.status, 400)
            self.assertIn("Line 2 of the batch's input file", error_of(answer)["message"])

    def test_storage_of_ones_own_is_not_offered(self) -> None:
        answer = self.batch(b"", input_blob="https://x/y")
        self.assertEqual((answer.status, error_of(answer)["code"]), (403, "access_denied"))
        self.assertEqual(self.queue.calls, [])

    def test_an_unreadable_file(self) -> None:
        """The upstream's own error is the answer; a file that breaks off, or does not come, makes no batch."""
        self.queue.answers[:] = [held(404, b'{"error":{}}')]
        self.assertEqual(self.ask("POST", "/batches", b'{"input_file_id":"file-1"}').status, 404)
        for end in (ConnectionLost(), None):
            upstream = Upstream(JSON)
            self.queue.answers[:] = [upstream.answer]
            self.visitor.ask("POST", "/v1/batches", b'{"input_file_id":"file-1"}')
            upstream.say(self.line(input="x"), b"{")
            self.clock.turn(5)
            if end is not None:
                upstream.end(end)
            else:
                self.clock.advance(SETTINGS.timeouts.stream_idle_seconds)
            self.clock.turn(5)
            answer = self.visitor.answer()
            self.assertEqual((answer.status, error_of(answer)["code"]), (502, "upstream_broke_off"))

    def test_a_file_without_end(self) -> None:
        self.patch(batch_file, "LINE_BYTES", 1000)
        self.assertEqual(error_of(self.batch(b" " * 1001))["code"], "invalid_file")
        self.patch(batch_file, "MOST_BYTES", 100)
        self.assertEqual(error_of(self.batch(b"\n" * 101))["code"], "invalid_file")

    def test_a_caller_who_leaves(self) -> None:
        upstream = Upstream(JSON)
        self.queue.answers[:] = [upstream.answer]
        self.visitor.ask("POST", "/v1/batches", b'{"input_file_id":"file-1"}')
        upstream.say(b"{")
        self.clock.turn(5)
        self.visitor.leave()
        self.assertTrue(upstream.dropped)


class LimitedTests(ObjectsTestCase):
    """Callers with a list of models."""

    def setUp(self) -> None:
        super().setUp()
        self.access.verdict = LIMITED

    def test_tools_with_models(self) -> None:
        for tool, status in (
            ({"type": "image_generation"}, 403),
            ({"type": "image_generation", "model": None}, 403),
            ({"type": "image_generation", "model": "gpt-image-1"}, 403),
            ({"type": "image_generation", "model": 1}, 403),
            ({"type": "image_generation", "model": "gpt-4-images"}, 200),
            ({"type": "function", "name": "image_generation", "model": "gpt-image-1"}, 200),
            ({"type": "function", "name": "x" * 262_144}, 400),
        ):
            self.sending.answer = made(b'{"id":"resp_1"}').answer
            answer = self.ask("POST", "/responses", response(tools=[tool]))
            self.assertEqual(answer.status, status, str(tool)[:99])
        for tools, status in (
            (b'[{"type":"image_generation","type":"x"}]', 403),
            (b'[{"type":"image_generation","model":"gpt-4","model":"o1"}]', 403),
            (b'{"type":"image_generation"}', 200),
            (b"[" * 200 + b"]" * 200, 200),
        ):
            self.sending.answer = made(b'{"id":"resp_1"}').answer
            body = b'{"model":"gpt-4","input":"","tools":%b}' % tools
            self.assertEqual(self.ask("POST", "/responses", body).status, status, tools)

    def test_a_model_by_default(self) -> None:
        for route in ("/moderations", "/responses/input_tokens"):
            answer = self.ask("POST", route, b'{"input":"x"}')
            self.assertEqual((answer.status, error_of(answer)["code"]), (403, "model_not_allowed"))
            self.assertEqual(self.ask("POST", route, b'{"input":"x","model":"gpt-4"}').status, 200)

    def test_an_unknown_model_is_not_replaced(self) -> None:
        """``unknown_model = "first"`` would give them whatever the first is."""
        settings = evolve(
            SETTINGS,
            unknown_model="first",
            upstreams=(evolve(UPSTREAM, deployments={"o1": "o1"}),),
        )
        self.visitor = Visitor(
            api_tree(
                self.clock, settings, self.access, self.sending, Listing(), objects=self.objects
            )
        )
        self.assertEqual(self.ask("POST", "/chat/completions", chat("gpt-4-x")).status, 404)
        self.access.verdict = ALICE
        self.assertEqual(self.ask("POST", "/chat/completions", chat("gpt-4-x")).status, 200)
        # What was found for her is not remembered for them.
        self.access.verdict = LIMITED
        self.assertEqual(self.ask("POST", "/chat/completions", chat("gpt-4-x")).status, 404)


class NameTests(ObjectsTestCase):
    def test_made_models_anywhere(self) -> None:
        """A grader's is named deep inside; what the configuration names is for all."""
        self.own("ft:hers", owner=BOB, kind="model")
        body = orjson.dumps({"testing_criteria": [{"model": "ft:hers"}]})
        self.assertEqual(self.ask("POST", "/evals", body).status, 404)
        self.assertEqual(self.ask("GET", "/files?model=ft:hers").status, 404)
        self.sending.answer = made(b'{"id":"eval_1"}').answer
        body = orjson.dumps({"a": [{"model": "o3"}, {"model": {"id": "x"}}, {"model": ["ft:x"]}]})
        self.assertEqual(self.ask("POST", "/evals", body).status, 200)

    def test_a_reference_that_has_a_files_name(self) -> None:
        """Some readers of forms do not look at it."""
        part = form(("model", "gpt-4"), ("file_id", "x")).replace(
            b'"file_id"', b'"file_id"; filename="x"'
        )
        answer = self.ask("POST", "/audio/transcriptions", part, FORM)
        self.assertEqual((answer.status, error_of(answer)["code"]), (400, "invalid_reference"))


class TwoPlacesTests(ObjectsTestCase):
    """A list of what two upstreams keep is one list, paged as one."""

    def setUp(self) -> None:
        self.queue = Queue()
        super().setUp()
        self.own("a1", "a2", at="primary")
        self.own("a3", "a4", at="second")

    def sender(self) -> Sending:
        return self.queue

    def pages(
        self, query: str, *pages: tuple[list[str], bool]
    ) -> tuple[list[str], bool, list[object]]:
        self.queue.calls.clear()
        self.queue.answers[:] = [
            made(orjson.dumps({"data": [{"id": each} for each in ids], "has_more": more})).answer
            for ids, more in pages
        ]
        content = orjson.loads(self.ask("GET", f"/files{query}").body)
        self.assertEqual(self.queue.answers, [])
        asked = [(call.affinity, call.query) for call, *_ in self.queue.calls]
        return [each["id"] for each in content["data"]], content["has_more"], asked

    def test_all(self) -> None:
        found, more, asked = self.pages(
            "", (["a1", "x"], True), (["a2"], False), (["a3", "a4"], False)
        )
        self.assertEqual((found, more), (["a1", "a2", "a3", "a4"], False))
        self.assertEqual(
            asked,
            [
                ("primary", b"limit=100"),
                ("primary", b"limit=100&after=x"),
                ("second", b"limit=100"),
            ],
        )

    def test_page_by_page(self) -> None:
        """A page may end where an upstream's list ends, or in the middle of the next."""
        pages = ((["a1", "a2"], False), (["a3", "a4"], False))
        self.assertEqual(self.pages("?limit=2", *pages)[:2], (["a1", "a2"], True))
        self.assertEqual(self.pages("?limit=3", *pages)[:2], (["a1", "a2", "a3"], True))
        pages = (([], False), (["a3", "a4"], False))
        found, more, asked = self.pages("?limit=2&after=a2", *pages)
        self.assertEqual((found, more), (["a3", "a4"], False))
        self.assertEqual(asked, [("primary", b"limit=100&after=a2"), ("second", b"limit=100")])
        self.assertEqual(self.pages("?after=a3", (["a4"], False))[:2], (["a4"], False))

    def test_one_that_fails(self) -> None:
        """Half a list would look like all of it."""
        self.queue.answers[:] = [
            made(b'{"data":[{"id":"a1"},{"id":"a2"}],"has_more":false}').answer,
            held(500, b'{"error":{}}'),
        ]
        self.assertEqual(self.ask("GET", "/files").status, 500)
