"""
The list of sources behind an answer, where the operator wants one: a chunk of gptproxy's own, or some text more.

May import the upstream, HTTP, knowledge and wire rooms and Twisted. It is put around an answer only where a topic
cites; everything but what is added stays as it came, byte for byte. Where an answer is not what is expected (tools are
called, it is compressed, it is no chat completion, it is larger than can be held), nothing is added.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import orjson
from attrs import evolve
from twisted.web.iweb import UNKNOWN_LENGTH

from gptproxy.api.passing import BodyPassage, PassedResponse
from gptproxy.http import Response
from gptproxy.knowledge import Passage, clean_attribute
from gptproxy.upstream import UpstreamAnswer
from gptproxy.wire import Edit, NotAnObject, Span, element_spans, member_spans, splice

__all__ = ["CitedEvents", "CitedObject", "cited", "sources_text"]

MAX_HELD_BYTES: Final = 1_048_576
"""Of an event, or of an answer that is no stream: more than a model says; the rest passes unread."""

_BLOCK_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_FINISH: Final = b'"finish_reason"'
_FINISHED: Final = ("stop", "length")
_OF_A_CHUNK: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def sources_text(passages: Sequence[Passage]) -> str:
    """
    :param passages: in the order of their numbers.
    :return: what is put behind an answer.
    """
    lines = []
    for number, passage in enumerate(passages, 1):
        heading = clean_attribute(passage.heading)
        place = f": {heading}" if heading else ""
        lines.append(f"[{number}] {clean_attribute(passage.source)}{place}")
    return "\n\nSources:\n" + "\n".join(lines)


class CitedEvents:
    """
    A stream of chunks; each choice gets one more before its finish.

    :param text: what to add.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._held = b""
        self._searched = 0
        self._over = False
        self._done: set[object] = set()

    def receive(self, data: bytes) -> bytes:
        """
        :param data: the stream's next bytes.
        :return: the events that are complete; one that has begun is held back.
        """
        if self._over:
            return data
        self._held += data
        out: list[bytes] = []
        start = 0
        # An end may have begun in the bytes before.
        place = max(0, self._searched - 3)
        while (end := _BLOCK_END.search(self._held, place)) is not None:
            out.append(self._event(self._held[start : end.end()]))
            start = place = end.end()
        self._held = self._held[start:]
        self._searched = len(self._held)
        if len(self._held) > MAX_HELD_BYTES:
            self._over = True
            out.append(self.finish())
        return b"".join(out)

    def finish(self) -> bytes:
        """:return: what was held back."""
        held, self._held = self._held, b""
        return held

    def _event(self, block: bytes) -> bytes:
        if _FINISH not in block:
            return block
        lines = [line[5:] for line in block.splitlines() if line.startswith(b"data:")]
        try:
            chunk = orjson.loads(b"\n".join(lines))
        except orjson.JSONDecodeError:
            return block
        choices = chunk.get("choices") if isinstance(chunk, dict) else None
        added = b""
        changed = False
        for choice in choices if isinstance(choices, list) else ():
            index = choice.get("index") if isinstance(choice, dict) else None
            if index in self._done or not isinstance(index, int):
                continue
            if choice.get("finish_reason") not in _FINISHED:
                continue
            self._done.add(index)
            text = self._text
            delta = choice.get("delta")
            if isinstance(delta, dict) and isinstance(delta.get("content"), str):
                # Its last words come with the finish: they go before what is added.
                if delta["content"]:
                    changed = True
                text = delta.pop("content") + text
            added += self._chunk(chunk, index, text)
        return added + (b"data: " + orjson.dumps(chunk) + b"\n\n" if changed else block)

    def _chunk(self, like: dict[str, object], index: int, text: str) -> bytes:
        chunk: dict[str, object] = {name: like[name] for name in _OF_A_CHUNK if name in like}
        chunk["choices"] = [{"index": index, "delta": {"content": text}, "finish_reason": None}]
        if "usage" in like:
            chunk["usage"] = None
        return b"data: " + orjson.dumps(chunk) + b"\n\n"


class CitedObject:
    """
    A chat completion in one object; each choice's message gets the text at its end.

    :param text: what to add.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._held: list[bytes] = []
        self._size = 0

    def receive(self, data: bytes) -> bytes:
        """
        :param data: the body's next bytes.
        :return: nothing, until it is clear that it is too large.
        """
        self._size += len(data)
        self._held.append(data)
        if self._size <= MAX_HELD_BYTES:
            return b""
        whole, self._held = b"".join(self._held), []
        return whole

    def finish(self) -> bytes:
        """:return: the body, with the text in it where it belongs."""
        body, self._held = b"".join(self._held), []
        if self._size > MAX_HELD_BYTES:
            return body
        try:
            content = orjson.loads(body)
            edits = self._edits(body, content.get("choices"))
        except (orjson.JSONDecodeError, NotAnObject, AttributeError, KeyError):
            return body
        return splice(body, edits)

    def _edits(self, body: bytes, choices: object) -> list[Edit]:
        if not isinstance(choices, list):
            return []
        edits = []
        for choice, span in zip(
            choices, element_spans(body, member_spans(body)["choices"]), strict=True
        ):
            message = choice.get("message")
            if choice.get("finish_reason") not in _FINISHED or not isinstance(message, dict):
                continue
            said = message.get("content")
            if isinstance(said, str) and not message.get("tool_calls"):
                place = _inside(body, _inside(body, span, "message"), "content")
                edits.append(Edit(place.start, place.end, orjson.dumps(said + self._text)))
        return edits


def _inside(body: bytes, span: Span, name: str) -> Span:
    """:return: where a member of an object in the body stands."""
    start, end = member_spans(body[span.start : span.end])[name]
    return Span(span.start + start, span.start + end)


def cited(answer: UpstreamAnswer, passages: Sequence[Passage]) -> UpstreamAnswer:
    """
    Let an answer end with the list of what it rests on.

    :param answer: to a chat without tools and response format.
    :param passages: in the order of their numbers.
    :return: an answer that lists them; the same where nothing can be added.
    """
    response = answer.answer
    if not isinstance(response, Response) or response.code != 200:
        return answer
    fields = {name: value.lower() for name, value in answer.fields}
    if fields.get(b"content-encoding", b"identity") != b"identity":
        return answer
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip()
    text = sources_text(passages)
    citing: BodyPassage
    if kind == b"text/event-stream":
        citing = CitedEvents(text)
    elif kind == b"application/json":
        citing = CitedObject(text)
    else:
        return answer
    passed = tuple(field for field in answer.fields if field[0] != b"content-length")
    return evolve(answer, answer=PassedResponse(response, citing, UNKNOWN_LENGTH), fields=passed)
