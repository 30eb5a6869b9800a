"""Answers as the chunks of a stream.

Shapes: the API reference's "The chat completion chunk object"; with
``stream_options.include_usage`` every chunk has ``"usage": null`` and one more, with no choices,
carries the usage.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from gptproxy.sandbox.completions import PIECE, Answer, Choice, tool_object
from gptproxy.sandbox.messages import JsonObject, sse

__all__ = ["completion_chunks", "framed"]

_PADDING = "sandboxpadding"


def _deltas(answer: Answer, choice: Choice) -> Iterator[tuple[JsonObject, str | None]]:
    """The deltas of one choice, each with its finish_reason."""
    if choice.tool is None:
        yield {"role": "assistant", "content": "", "refusal": None}, None
        for piece in choice.pieces:
            yield {"content": piece}, None
    else:
        call = tool_object(answer, choice, choice.tool, "")
        yield {"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]}, None
        for piece in PIECE.findall(choice.tool.arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}, None
    yield {}, choice.finish


def _choices(answer: Answer, choice: Choice) -> Iterator[JsonObject]:
    if answer.chat:
        for delta, finish in _deltas(answer, choice):
            yield {
                "index": choice.index,
                "delta": delta,
                "logprobs": None,
                "finish_reason": finish,
            }
        return
    for piece in choice.pieces:
        yield {"text": piece, "index": choice.index, "logprobs": None, "finish_reason": None}
    yield {"text": "", "index": choice.index, "logprobs": None, "finish_reason": choice.finish}


def completion_chunks(answer: Answer) -> list[JsonObject]:
    """
    :param answer: what is to be said.
    :return: the chunks in order; those of several choices are mixed, as the services mix them.
    """
    frame: JsonObject = {
        "id": answer.ident,
        "object": "chat.completion.chunk" if answer.chat else "text_completion",
        "created": answer.created,
        "model": answer.model,
        "system_fingerprint": "fp_5a5a5a5a5a",
    }
    usage: JsonObject = {"usage": None} if answer.usage_wanted else {}
    chunks: list[JsonObject] = []
    for row in zip_longest(*(_choices(answer, choice) for choice in answer.choices)):
        for choice in row:
            if choice is None:
                continue
            chunk: JsonObject = {**frame, "choices": [choice], **usage}
            if answer.chat and answer.padded:
                chunk["obfuscation"] = _PADDING[: 4 + len(chunks) % 10]
            chunks.append(chunk)
    if answer.usage_wanted:
        chunks.append({**frame, "choices": [], "usage": answer.usage()})
    return chunks


def framed(chunks: list[JsonObject]) -> tuple[bytes, ...]:
    """
    :param chunks: of one stream.
    :return: its events, the closing ``[DONE]`` included.
    """
    return (*(sse(chunk) for chunk in chunks), sse("[DONE]"))
