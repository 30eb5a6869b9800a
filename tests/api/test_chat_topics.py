"""Chats about the organisation's topics."""

from __future__ import annotations

import inspect

import orjson
from twisted.internet.defer import Deferred, fail, succeed

from gptproxy.api import ModelCall
from gptproxy.api.chat_topics import ChatTopics
from gptproxy.config import TopicSettings
from gptproxy.knowledge import (
    Knowledge,
    KnowledgeError,
    OtherModel,
    Passage,
    TooBusy,
    UnknownCollection,
)
from gptproxy.upstream import NoEmbeddings
from tests.api.rig import CANARY, SETTINGS, Access, LoggedTestCase, Sending, Visitor, chat, error_of
from tests.api.turning import TurningClock

TOPIC = TopicSettings(words=("canary",), documents="birds", prompt="Be brief.")


class Finding:
    """In Knowledge's place."""

    def __init__(self, found: Deferred[tuple[Passage, ...]]) -> None:
        self._found = found
        self.asked: list[TopicSettings] = []

    def consult(self, topic: TopicSettings, messages: object) -> Deferred[tuple[Passage, ...]]:
        self.asked.append(topic)
        return self._found


def passage(number: int) -> Passage:
    """:return: a short one."""
    fields = {
        name: value
        for name, value in {
            "passage_id": number,
            "text": f"passage {number}",
            "score": 0.5,
            "path": "a.md",
            "title": "A",
            "heading": "H",
            "headings": ("H",),
        }.items()
        if name in inspect.signature(Passage).parameters
    }
    for name, parameter in inspect.signature(Passage).parameters.items():
        if name not in fields and parameter.default is parameter.empty:
            fields[name] = 0 if "int" in str(parameter.annotation) else "x"
    return Passage(**fields)


class ChatTopicsTests(LoggedTestCase):
    """As the chat's route uses it."""

    def chat(
        self,
        found: Deferred[tuple[Passage, ...]],
        topic: TopicSettings = TOPIC,
        body: bytes | None = None,
    ):
        self.sending, self.finding = Sending(), Finding(found)
        topics = ChatTopics((topic,), self.finding)
        self.clock = TurningClock()
        endpoint = ModelCall(
            "/chat/completions", self.clock, SETTINGS, Access(), self.sending, augmenter=topics
        )
        self.visitor = Visitor(endpoint)
        self.visitor.ask("POST", "/", body or chat(n=1))

    def sent(self):
        """:return: the call that went up; its span is the model's."""
        ((call, _, _, _),) = self.sending.calls
        self.assertEqual(call.body[call.model_span.start : call.model_span.end], b'"gpt-4"')
        return orjson.loads(call.body)

    def test_the_stand_in(self) -> None:
        """Is what it stands for."""
        self.assertEqual(inspect.signature(Finding.consult), inspect.signature(Knowledge.consult))

    def test_passages_are_put_in(self) -> None:
        """Before the caller's message, and the answer says how many."""
        self.chat(succeed((passage(1), passage(2))))
        content = self.sent()
        self.assertEqual(content["n"], 1)
        self.assertEqual([m["role"] for m in content["messages"]], ["system"] * 3 + ["user"])
        self.assertIn("passage 1", orjson.dumps(content).decode())
        got = self.visitor.answer()
        self.assertEqual(got.headers[b"x-gptproxy-passages"], b"2")

    def test_the_model_behind_the_messages(self) -> None:
        """Its place moves with what is put in before it."""
        self.chat(
            succeed((passage(1),)),
            body=b'{"messages":[{"role":"user","content":"canary"}], "model" : "gpt-4"}',
        )
        self.assertEqual(len(self.sent()["messages"]), 3)

    def large(self, messages: list[object]) -> list[object]:
        """:return: the messages that went up in a large chat with these, which are all among them."""
        body = b'{"messages":%b,"model":"gpt-4"}' % orjson.dumps(messages)
        self.chat(succeed((passage(1),)), body=body)
        while not self.sending.calls:
            self.clock.turn()
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
                while not self.sending.calls:
                    self.clock.turn()
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
            KnowledgeError("the file is damaged"),
            UnknownCollection("birds"),
            OtherModel("embedded with another model"),
            NoEmbeddings("upstream primary: status 429"),
            TooBusy("64 jobs"),
        ):
            with self.subTest(type(error).__name__):
                self.events.clear()
                self.chat(fail(error))
                self.assertEqual(
                    [m["content"] for m in self.sent()["messages"]], ["Be brief.", CANARY]
                )
                got = self.visitor.answer()
                self.assertEqual(
                    (got.status, got.headers[b"x-gptproxy-passages"]), (200, b"unavailable")
                )
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
