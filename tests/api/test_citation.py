"""The list of sources comes behind an answer, and nothing else of it changes."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from gptproxy.api import citation
from gptproxy.api.citation import CitedEvents, CitedObject, cited, sources_text
from gptproxy.knowledge import Passage
from tests.api.rig import Upstream, held

TEXT = "\n\nSources:\n[1] a.md: Guide\n[2] b.md"
PASSAGES = [Passage(1, "a.md", "Guide", "x", 0.5), Passage(2, "<b.md>", "", "y", 0.4)]


def chunk(index: int, delta: object, finish: str | None = None, **more: object) -> bytes:
    """:return: an event."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + orjson.dumps(body | {"choices": [choice]} | more) + b"\n\n"


def added(index: int, text: str = TEXT, **more: object) -> bytes:
    """:return: the event of ours."""
    return chunk(index, {"content": text}, None, **more)


USAGE = b'data: {"choices":[],"usage":{"total_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
SAID = chunk(0, {"content": "hi [1]"})
ENDS = chunk(0, {}, "stop")


def test_the_text() -> None:
    """Numbered as the documents were; markup in a name is not markup."""
    assert sources_text(PASSAGES) == TEXT


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([SAID, ENDS, USAGE, DONE], [SAID, added(0), ENDS, USAGE, DONE]),
        ([SAID, chunk(0, {}, "length"), DONE], [SAID, added(0), chunk(0, {}, "length"), DONE]),
        (
            [chunk(0, {}, "stop", usage=None), DONE],
            [added(0, usage=None), chunk(0, {}, "stop", usage=None), DONE],
        ),
        (
            [chunk(1, {}, "stop"), ENDS, ENDS],
            [added(1), chunk(1, {}, "stop"), added(0), ENDS, ENDS],
        ),
        (
            [chunk(0, {"content": "last"}, "stop")],
            [added(0, "last" + TEXT), chunk(0, {}, "stop")],
        ),
        ([chunk(0, {}, "tool_calls"), DONE], [chunk(0, {}, "tool_calls"), DONE]),
        ([chunk(0, {}, "content_filter")], [chunk(0, {}, "content_filter")]),
        (
            [b": ping\n\n", b'data: {finish_reason"\n\n'],
            [b": ping\n\n", b'data: {finish_reason"\n\n'],
        ),
        ([b'data: {"finish_reason":1,"choices":[7]}\n\n'],) * 2,
        ([b'data: ["finish_reason"]\n\n'],) * 2,
        ([b'data: {"error":{"finish_reason"\n\n'],) * 2,
    ],
)
def test_events(events: list[bytes], expected: list[bytes]) -> None:
    """One more before each choice's finish; those of others pass as they are."""
    citing = CitedEvents(TEXT)
    assert citing.receive(b"".join(events)) + citing.finish() == b"".join(expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=30), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_however_the_bytes_come(sizes: list[int], line_end: bytes) -> None:
    """Events are cut anywhere, and their lines end in any of the ways there are."""
    body = b"".join([SAID, ENDS, USAGE, DONE]).replace(b"\n", line_end)
    expected = body.replace(ENDS.replace(b"\n", line_end), added(0) + ENDS.replace(b"\n", line_end))
    citing = CitedEvents(TEXT)
    out = b""
    place = 0
    for size in sizes:
        out += citing.receive(body[place : place + size])
        place += size
    assert out + citing.receive(body[place:]) + citing.finish() == expected


def test_an_event_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not held for ever: from then on everything passes."""
    monkeypatch.setattr(citation, "MAX_HELD_BYTES", 100)
    citing = CitedEvents(TEXT)
    assert citing.receive(b"x" * 60) == b""
    assert citing.receive(b"x" * 60) == b"x" * 120
    assert citing.receive(ENDS) == ENDS
    assert citing.finish() == b""


def whole(message: object, finish: str = "stop") -> bytes:
    """:return: a chat completion, with a number that a float would not keep."""
    return b'{"id":"c" , "n":12345678901234567890123, "choices" :[ %b ]}' % orjson.dumps(
        {"index": 0, "message": message, "finish_reason": finish}
    )


def test_an_object() -> None:
    """The one message gets the text at its end; every other byte stays."""
    body = whole({"role": "assistant", "content": "hi"})
    citing = CitedObject(TEXT)
    assert citing.receive(body[:20]) + citing.receive(body[20:]) == b""
    assert citing.finish() == body.replace(b'"hi"', orjson.dumps("hi" + TEXT))


@pytest.mark.parametrize(
    "body",
    [
        whole({"content": "hi", "tool_calls": [{"id": "1"}]}),
        whole({"content": None}),
        whole({"content": "hi"}, "content_filter"),
        whole("hi"),
        b'{"choices":[7]}',
        b'{"choices":{}}',
        b'{"error":{}}',
        b"[]",
        b"no JSON",
        b"",
    ],
)
def test_what_is_not_cited(body: bytes) -> None:
    """Passes byte for byte."""
    citing = CitedObject(TEXT)
    assert citing.receive(body) + citing.finish() == body


def test_a_large_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes as it comes."""
    monkeypatch.setattr(citation, "MAX_HELD_BYTES", 100)
    citing = CitedObject(TEXT)
    assert citing.receive(b"x" * 60) == b""
    assert citing.receive(b"x" * 60) == b"x" * 120
    assert citing.receive(b"x") == b"x"
    assert citing.finish() == b""


class Taking(Protocol):
    """Takes a body."""

    def __init__(self) -> None:
        self.data = b""
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # always given
        self.reason = reason


EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
JSON = (b"content-type", b"application/json")


def test_a_live_stream() -> None:
    """Goes through; its length is not known any more; pausing it pauses the upstream."""
    upstream = Upstream(EVENTS, (b"content-length", b"9"), (b"x-request-id", b"r"), length=9)
    answer = cited(upstream.answer, PASSAGES)
    assert answer.fields == (EVENTS, (b"x-request-id", b"r"))
    assert not isinstance(answer.answer.length, int)
    assert answer.answer.take_whole() is None
    taking = Taking()
    answer.answer.deliverBody(taking)
    upstream.response.body_piece(SAID)
    assert taking.data == SAID
    upstream.response.body_piece(ENDS[:9])
    assert taking.data == SAID
    upstream.response.body_piece(ENDS[9:])
    assert taking.data == SAID + added(0) + ENDS
    upstream.response.body_piece(b"data: broken")
    upstream.response.body_ended(Failure(ConnectionDone()))
    assert taking.data.endswith(ENDS + b"data: broken")
    assert taking.reason is not None
    assert taking.reason.check(ConnectionDone)
    taking.transport.stopProducing()


def test_an_object_that_has_come() -> None:
    """Is taken whole, as the upstream's would be."""
    upstream = Upstream(JSON)
    upstream.response.body_piece(whole({"content": "hi"}))
    upstream.response.body_ended(Failure(ResponseDone()))
    answer = cited(upstream.answer, PASSAGES)
    assert answer.answer.end is not None
    body = answer.answer.take_whole()
    assert orjson.loads(body or b"")["choices"][0]["message"]["content"] == "hi" + TEXT


def test_an_answer_that_nobody_wants() -> None:
    """Is given up as the upstream's."""
    upstream = Upstream(JSON)
    cited(upstream.answer, PASSAGES).answer.abandon()
    assert upstream.dropped == 1


def test_other_answers() -> None:
    """Errors, compressed ones and other kinds are not touched."""
    for answer in (
        held(200, b"{}"),
        Upstream(JSON, (b"content-encoding", b"gzip")).answer,
        Upstream((b"content-type", b"text/plain")).answer,
        Upstream().answer,
    ):
        assert cited(answer, PASSAGES) is answer
