"""Chats about the organisation's topics."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import orjson
from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed

from gptproxy.access import Caller
from gptproxy.api.chat_topics import ChatTopics
from gptproxy.api.topic_fields import MAX_SOURCES_BYTES
from gptproxy.config import AllowSettings, CollectionSettings, TopicSettings
from gptproxy.knowledge import (
    Asking,
    Knowledge,
    KnowledgeError,
    MayRead,
    OtherModel,
    Passage,
    SearchOverdue,
    Source,
    TooBusy,
    UnknownCollection,
)
from gptproxy.upstream import UpstreamAnswer
from tests.api.rig import (
    CANARY,
    SETTINGS,
    Access,
    LoggedTestCase,
    Sending,
    Visitor,
    chat,
    error_of,
    held,
    model_call,
)
from tests.api.turning import TurningClock

TOPIC = TopicSettings(words=("canary",), documents="birds", prompt="Be brief.")


class Finding:
    """In Knowledge's place."""

    def __init__(
        self, found: Deferred[tuple[Passage, ...]], sources: Sequence[Source] = ()
    ) -> None:
        self._found = found
        self._sources = sources
        self.asked: list[Asking] = []
        self.questions: list[str] = []
        self.readable: dict[int, bool] = {}

    def consult(
        self,
        askings: Sequence[Asking],
        question: str,
        may_read: MayRead | None,
        use: Callable[[tuple[Passage, ...]], object],
    ) -> Deferred[object]:
        self.asked += askings
        self.questions.append(question)
        return Deferred.fromCoroutine(self._consult(askings, may_read, use))

    async def _consult(self, askings: Sequence[Asking], may_read, use) -> object:
        for source in self._sources:
            self.readable[source.source_id] = await may_read(askings[0].collection, source)
        return use(await self._found)


class Readers:
    """In an Authenticator's place: lets in whom it is told, and remembers the rules."""

    def __init__(self, lets: bool) -> None:
        self._lets = lets
        self.rules: list[AllowSettings] = []

    async def may_read(self, caller: Caller, rules: Sequence[AllowSettings]) -> bool:
        self.rules += rules
        return self._lets


def passage(number: int, collection: str = "birds", similarity: float = 0.5) -> Passage:
    """:return: a short one."""
    text = f"passage {number}"
    return Passage(number, f"a {number}.md", "H", text, 0.5, similarity, collection)


class ChatTopicsTests(LoggedTestCase):
    """As the chat's route uses it."""

    def chat(
        self,
        found: Deferred[tuple[Passage, ...]],
        *topics: TopicSettings,
        body: bytes | None = None,
        path: str = "/chat/completions",
        header: str | None = None,
        lets: bool | None = None,
        collections: Sequence[CollectionSettings] = (),
        sources: Sequence[Source] = (),
        answer: UpstreamAnswer | None = None,
    ):
        self.sending, self.finding = Sending(answer), Finding(found, sources)
        self.readers = None if lets is None else Readers(lets)
        augmenter = ChatTopics(topics or (TOPIC,), self.finding, collections, self.readers)
        self.clock = TurningClock()
        endpoint = model_call(
            path, self.clock, SETTINGS, Access(), self.sending, augmenter=augmenter
        )
        self.visitor = Visitor(endpoint)
        fields = () if header is None else (f"X-Gptproxy-Topic: {header}",)
        self.visitor.ask("POST", "/", body or chat(n=1), *fields)

    def sent(self):
        """:return: the call that went up; its span is the model's."""
        ((call, _, _, _),) = self.sending.calls
        self.assertEqual(call.body[call.model_span.start : call.model_span.end], b'"gpt-4"')
        return orjson.loads(call.body)

    def test_the_stand_in(self) -> None:
        """Is what it stands for."""
        stand_in, real = (inspect.signature(one.consult) for one in (Finding, Knowledge))
        self.assertEqual(list(stand_in.parameters), list(real.parameters))

    def test_passages_are_put_in(self) -> None:
        """Before the caller's message, and the answer says how many."""
        self.chat(succeed((passage(1), passage(2))))
        content = self.sent()
        self.assertEqual(content["n"], 1)
        self.assertEqual([m["role"] for m in content["messages"]], ["system"] * 3 + ["user"])
        self.assertIn("passage 1", orjson.dumps(content).decode())
        got = self.visitor.answer()
        self.assertEqual(got.headers[b"x-gptproxy-passages"], b"2")
        self.assertEqual(got.headers[b"x-gptproxy-sources"], b"a%201.md, a%202.md")
        self.assertEqual(self.finding.asked, [Asking("birds")])
        self.assertEqual(self.finding.questions, [CANARY])

    def test_the_model_behind_the_messages(self) -> None:
        """Its place moves with what is put in before it."""
        self.chat(
            succeed((passage(1),)),
            body=b'{"messages":[{"role":"user","content":"canary"}], "model" : "gpt-4"}',
        )
        self.assertEqual(len(self.sent()["messages"]), 3)

    def turned(self) -> None:
        """Let the reactor turn until the call goes up; a refusal would never let it."""
        for _ in range(10_000):
            if self.sending.calls:
                return
            self.clock.turn()
        self.fail("the call did not go up")

    def large(self, messages: list[object]) -> list[object]:
        """:return: the messages that went up in a large chat with these, which are all among them."""
        body = b'{"messages":%b,"model":"gpt-4"}' % orjson.dumps(messages)
        self.chat(succeed((passage(1),)), body=body)
        self.turned()
        content = self.sent()
        rest = [m for m in content["messages"] if m in messages]
        self.assertEqual(rest, messages)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return content["messages"]

    def test_large_chats(self) -> None:
        """Get their documents behind the leading messages of the operator's."""
        system, developer = [{"role": r, "content": "s"} for r in ("system", "developer")]
        image = {"role": "user", "content": "x" * 300_000}
        small = {"role": "user", "content": "hello"}
        asks = {"role": "user", "content": CANARY}
        for messages, place, role in [
            ([image, asks], 0, "system"),
            ([asks, image], 0, "system"),
            ([system, image, small, asks], 1, "system"),
            ([developer, system, small, image, asks], 2, "developer"),
            ([system] * 300 + [image, asks], 256, "system"),
            ([{**system, "content": CANARY}] + [system] * 9_000, 256, "system"),
        ]:
            with self.subTest(place=place):
                got = self.large(messages)
                self.assertEqual(len(got), len(messages) + 2)
                self.assertEqual([m["role"] for m in got[place : place + 2]], [role] * 2)
                self.assertEqual(got[place]["content"][:9], "Be brief.")
                self.assertEqual(self.visitor.answer().headers[b"x-gptproxy-passages"], b"1")

    def test_large_chats_about_nothing(self) -> None:
        """Go up byte for byte: what is large itself is not looked at, nor what is no list of messages."""
        large = "canary" * 60_000
        for messages in (
            [{"role": "user", "content": large}],
            [{"role": "user", "content": "hello"}] * 10_000,
            [1e5, large, 2],
            [0] * 150_000,
            [],
            {"canary": large},
            large,
        ):
            body = orjson.dumps({"model": "gpt-4", "messages": messages, "user": "x" * 300_000})
            for text in (
                body,
                body.replace(b"100000.0", b"1e999"),
                b'{"model":"gpt-4"}' + b" " * 300_000,
            ):
                self.chat(succeed((passage(1),)), body=text)
                self.turned()
                self.assertEqual(self.sending.calls[0][0].body, text)
                self.assertEqual(self.finding.asked, [])

    def test_a_caller_who_leaves_a_large_chat(self) -> None:
        """Has it looked through no further."""
        self.chat(succeed(()), body=chat(user="x" * 100, more=[0] * 300_000))
        self.clock.turn(3)
        self.visitor.leave()
        self.clock.turn()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.access_line()["status"], 499)

    def test_nothing_found(self) -> None:
        """The operator's prompt goes in alone."""
        self.chat(succeed(()))
        self.assertEqual([m["content"] for m in self.sent()["messages"]], ["Be brief.", CANARY])
        self.assertEqual(self.visitor.answer().headers[b"x-gptproxy-passages"], b"0")

    def test_other_chats(self) -> None:
        """Go up byte for byte, and nothing is searched."""
        for body in (
            b'{"model":"gpt-4", "messages":[{"role":"user","content":"hello"}]}',
            b'{"model":"gpt-4", "messages":"canary"}',
            b'{"model":"gpt-4"}',
        ):
            with self.subTest(body):
                self.chat(succeed((passage(1),)), body=body)
                self.sent()
                self.assertEqual(self.sending.calls[0][0].body, body)
                self.assertEqual(self.finding.asked, [])
                self.assertNotIn(b"x-gptproxy-passages", self.visitor.answer().headers)

    def test_documents_that_cannot_be_searched(self) -> None:
        """Cost nobody the answer; header and log say so."""
        for error in (
            SearchOverdue("the search took longer than 2.0 s"),
            KnowledgeError("the file is damaged"),
            UnknownCollection("birds"),
            OtherModel("embedded with another model"),
            TooBusy("64 jobs"),
        ):
            with self.subTest(type(error).__name__):
                self.events.clear()
                self.chat(fail(error))
                self.assertEqual(
                    [m["content"] for m in self.sent()["messages"]], ["Be brief.", CANARY]
                )
                got = self.visitor.answer()
                told = b"timeout" if isinstance(error, SearchOverdue) else b"unavailable"
                self.assertEqual((got.status, got.headers[b"x-gptproxy-passages"]), (200, told))
                self.assertNotIn(b"x-gptproxy-sources", got.headers)
                (event,) = [event for event in self.events if "topic" in event]
                self.assertEqual((event["topic"], event["trouble"]), ("birds", str(error)))
                self.assertEqual(event["request_id"], self.access_line()["request_id"])

    def test_what_nobody_foresaw(self) -> None:
        """Is a fault of ours."""
        self.chat(fail(RuntimeError()))
        got = self.visitor.answer()
        self.assertEqual((got.status, error_of(got)["code"]), (500, "internal_error"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_prompt_over_the_bound(self) -> None:
        """Is left out, and the operator's log says which."""
        self.chat(
            succeed(()),
            TopicSettings(words=("canary",), documents="birds", prompt="p" * 99, max_tokens=9),
        )
        self.assertEqual(len(self.sent()["messages"]), 1)
        (event,) = [event for event in self.events if "topic" in event]
        self.assertEqual((event["topic"], event["name"]), ("birds", "prompt"))

    def test_a_caller_who_leaves(self) -> None:
        """Ends the search."""
        cancelled: list[object] = []
        self.chat(Deferred(cancelled.append))
        self.visitor.leave()
        self.assertEqual(len(cancelled), 1)
        self.assertEqual(self.access_line()["status"], 499)

    def test_several_topics(self) -> None:
        """Each collection is asked once; prompts and passages of both go in."""
        other = TopicSettings(
            words=("canary",), documents="fish", prompt="Be wet.", min_score=0.4, cite=True
        )
        self.chat(
            succeed((passage(1), passage(2, "fish"), passage(3, "fish", 0.3))),
            TOPIC,
            other,
            evolve(TOPIC, name="again", min_score=0.9),
        )
        self.assertEqual(self.finding.asked, [Asking("birds"), Asking("fish", 0.4)])
        texts = [message["content"] for message in self.sent()["messages"]]
        self.assertEqual([text[:8] for text in texts[:3]], ["Be brief", "Be wet.", "Be brief"])
        self.assertEqual(self.visitor.answer().headers[b"x-gptproxy-passages"], b"2")

    def test_always(self) -> None:
        """Only if something is near enough; else the very bytes go up, and nothing is told."""
        topic = TopicSettings(documents="birds", prompt="P", always=True, min_score=0.7)
        body = b'{"model":"gpt-4", "messages":[{"role":"user","content":"hello"}]}'
        self.chat(succeed((passage(1),)), topic, body=body)
        self.sent()
        self.assertEqual(self.sending.calls[0][0].body, body)
        self.assertNotIn(b"x-gptproxy-passages", self.visitor.answer().headers)
        self.chat(succeed((passage(1), passage(2, similarity=0.8))), topic, body=body)
        self.assertIn("passage 2", self.sent()["messages"][1]["content"])
        self.assertEqual(self.visitor.answer().headers[b"x-gptproxy-passages"], b"1")

    def test_a_model_that_always_consults(self) -> None:
        """Its name is enough, whatever is asked."""
        topic = TopicSettings(documents="birds", models=("gpt-4",))
        body = b'{"model":"gpt-4", "messages":[{"role":"user","content":"hello"}]}'
        self.chat(succeed((passage(1),)), topic, body=body)
        self.assertEqual(len(self.sent()["messages"]), 3)

    def test_the_header(self) -> None:
        """Names the topics, percent-encoded; empty, it means none."""
        topic = TopicSettings(documents="birds", name="Vögel, groß", words=("zzz",))
        self.chat(succeed((passage(1),)), topic, header="V%C3%B6gel%2C gro%C3%9F")
        self.assertEqual(len(self.sent()["messages"]), 3)
        self.chat(succeed((passage(1),)), header="")
        self.assertEqual(len(self.sent()["messages"]), 1)

    def test_a_topic_that_there_is_not(self) -> None:
        """Is refused; one that the caller may not read with the same words."""
        self.chat(succeed(()), header="none")
        unknown = self.visitor.answer()
        limited = CollectionSettings("birds", (AllowSettings(group="g"),))
        self.chat(succeed(()), header="birds", collections=[limited], lets=False)
        got = self.visitor.answer()
        self.assertEqual((got.status, error_of(got)["code"]), (404, "topic_not_found"))
        self.assertEqual(error_of(got), error_of(unknown))
        self.assertEqual((self.sending.calls, self.finding.asked), ([], []))

    def test_who_may_read(self) -> None:
        """To others the collection does not exist: no header, no byte of it."""
        rule = AllowSettings(group="g")
        limited = CollectionSettings("birds", (rule,))
        self.chat(succeed((passage(1),)), collections=[limited], lets=False)
        self.assertEqual(len(self.sent()["messages"]), 1)
        self.assertEqual(self.finding.asked, [])
        self.assertNotIn(b"x-gptproxy-passages", self.visitor.answer().headers)
        self.assertEqual(self.readers.rules, [rule])
        self.chat(succeed((passage(1),)), collections=[limited], lets=True)
        self.assertEqual(len(self.sent()["messages"]), 3)
        self.chat(succeed((passage(1),)), collections=[limited])
        self.assertEqual(len(self.sent()["messages"]), 1)

    def test_members_only(self) -> None:
        """What is from a project is for its members, where the source or the collection says so."""
        sources = [
            Source(1, None, False),
            Source(2, "a/b", False),
            Source(3, "c/d", True),
            Source(4, None, True),
        ]
        self.chat(succeed(()), sources=sources, lets=False)
        self.assertEqual(self.finding.readable, {1: True, 2: True, 3: False, 4: True})
        self.assertEqual(self.readers.rules, [AllowSettings(project="c/d")])
        every = CollectionSettings("birds", members_only=True)
        self.chat(succeed(()), sources=sources, lets=False, collections=[every])
        self.assertEqual(self.finding.readable, {1: True, 2: False, 3: False, 4: True})

    def test_sources_have_a_bound(self) -> None:
        """Whole names only, as many as there is room for; each once."""
        many = tuple(evolve(passage(n), source=f"{n % 90:04}" + "x" * 60) for n in range(100))
        self.chat(succeed(many), evolve(TOPIC, max_tokens=100_000))
        told = self.visitor.answer().headers[b"x-gptproxy-sources"]
        self.assertLessEqual(len(told), MAX_SOURCES_BYTES)
        names = told.split(b", ")
        self.assertEqual({len(name) for name in names}, {64})
        self.assertEqual(len(names), len(set(names)))

    def test_cited(self) -> None:
        """The model is asked for numbers, and the answer ends with the list."""
        whole = orjson.dumps(
            {"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}
        )
        cite = evolve(TOPIC, cite=True)
        self.chat(succeed((passage(1),)), cite, answer=held(200, whole))
        self.assertIn('number="1"', orjson.dumps(self.sent()).decode().replace("\\", ""))
        for more in ({"tools": []}, {"response_format": {"type": "text"}}):
            self.chat(succeed((passage(1),)), cite, body=chat(**more))
            self.assertNotIn("number=", orjson.dumps(self.sent()).decode())

    def test_responses(self) -> None:
        """Into the instructions, the model's place moving with it."""
        body = b'{"input":"canary?","model" : "gpt-4","instructions":"Be."}'
        self.chat(succeed((passage(1),)), body=body, path="/responses")
        content = self.sent()
        self.assertEqual(self.finding.questions, ["canary?"])
        self.assertEqual(content["input"], "canary?")
        self.assertEqual(content["instructions"][:16], "Be.\n\nBe brief.\n\n")
        self.assertIn("passage 1", content["instructions"])
        self.assertEqual(self.visitor.answer().headers[b"x-gptproxy-passages"], b"1")

    def test_other_responses(self) -> None:
        """Go up byte for byte."""
        for body in (
            b'{"model":"gpt-4","input":"hello"}',
            b'{"model":"gpt-4","input":7}',
            b'{"model":"gpt-4"}',
        ):
            self.chat(succeed((passage(1),)), body=body, path="/responses")
            self.sent()
            self.assertEqual(self.sending.calls[0][0].body, body)

    def test_large_responses(self) -> None:
        """Are looked through in turns; what was asked last is found behind tools' results."""
        items = [
            {"role": "user", "content": [{"type": "input_image", "image_url": "x" * 300_000}]},
            {"role": "user", "content": [{"type": "input_text", "text": CANARY}]},
            {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "1", "output": "o"},
        ]
        for more, place in (({"instructions": "Be."}, 0), ({"prompt": {"id": "p"}}, 1)):
            body = orjson.dumps({"model": "gpt-4", **more, "input": items})
            self.chat(succeed((passage(1),)), body=body, path="/responses")
            self.turned()
            content = self.sent()
            self.assertEqual(self.finding.questions, [CANARY])
            self.assertEqual(content["input"][place:], items)
            said = content["instructions"] if not place else str(content["input"][0])
            self.assertIn("passage 1", said)
        body = orjson.dumps({"model": "gpt-4", "input": items}).replace(b'"o"', b"1e999")
        body = body[:-1] + b',"instructions":1e999}'
        self.chat(succeed((passage(1),)), body=body, path="/responses")
        self.turned()
        self.assertEqual(self.sending.calls[0][0].body, body)
