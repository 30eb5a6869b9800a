"""What Azure adds: the shapes of its content filter."""

from __future__ import annotations

import pytest

from gptproxy.sandbox.azure import (
    asynchronous_chunks,
    azure_body,
    azure_chunks,
    filtered_body,
    filtered_chunks,
    image_blocked,
    prompt_blocked,
)
from gptproxy.sandbox.chunks import completion_chunks
from gptproxy.sandbox.completions import Answer, chat_answer, completion_body, text_answer
from gptproxy.sandbox.messages import JsonObject
from gptproxy.sandbox.models import DEPLOYMENTS

TOOL: JsonObject = {"type": "function", "function": {"name": "f"}}


def _answer(usage: bool = True, **more: object) -> Answer:
    request: JsonObject = {"messages": [{"role": "user", "content": "hi"}], "stream": True, **more}
    request["stream_options"] = {"include_usage": usage}
    return chat_answer(request, DEPLOYMENTS["gpt-4"], ident="x", created=1)


def _text(chunks: list[JsonObject]) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice.get("delta", {}).get("content") or "" for choice in choices)


@pytest.mark.parametrize(
    ("spelling", "outer", "inner"),
    [
        ("wire", "innererror", "content_filter_result"),
        ("spec", "inner_error", "content_filter_results"),
    ],
)
def test_a_blocked_prompt(spelling: str, outer: str, inner: str) -> None:
    """Both spellings of the inner error say what was found."""
    error = prompt_blocked(spelling)["error"]
    assert (error["code"], error["param"], error["type"]) == ("content_filter", "prompt", None)
    assert error["status"] == 400
    assert error[outer]["code"] == "ResponsibleAIPolicyViolation"
    assert error[outer][inner]["violence"] == {"filtered": True, "severity": "medium"}
    assert set(prompt_blocked("bare")["error"]) == set(error) - {outer}
    assert image_blocked(5)["error"]["code"] == "contentFilter"


def test_a_body_carries_the_results() -> None:
    """Prompt results at the top, results per choice, none for a tool call."""
    body = azure_body(completion_body(_answer()))
    assert body["prompt_filter_results"][0]["content_filter_results"]["jailbreak"]
    assert body["choices"][0]["content_filter_results"]["hate"]["filtered"] is False
    tool = _answer(tools=[TOOL], tool_choice="required")
    assert azure_body(completion_body(tool))["choices"][0]["content_filter_results"] == {}


def test_a_filter_that_did_not_run_says_so() -> None:
    """It is an error inside the results, which is no verdict."""
    found = azure_body(completion_body(_answer()), ran=False)
    results = found["choices"][0]["content_filter_results"]
    assert results["error"]["code"] == "content_filter_error"
    chunks = azure_chunks(completion_chunks(_answer()), ran=False)
    assert chunks[0]["prompt_filter_results"][0]["content_filter_results"] == results


def test_filtered_output_has_no_text() -> None:
    """Only the first of several choices is taken; legacy completions likewise."""
    body = filtered_body(completion_body(_answer(n=2)))
    assert [c["finish_reason"] for c in body["choices"]] == ["content_filter", "stop"]
    assert body["choices"][0]["message"]["content"] == ""
    assert body["choices"][0]["content_filter_results"]["violence"]["filtered"] is True
    legacy = text_answer({"prompt": "hi"}, DEPLOYMENTS["gpt-35-turbo"], ident="x", created=1)
    assert filtered_body(completion_body(legacy))["choices"][0]["text"] == ""


def test_a_stream_begins_with_the_prompt_results() -> None:
    """The first chunk has no choices, no id, no model; the text is what OpenAI would say."""
    chunks = completion_chunks(_answer())
    azure = azure_chunks(chunks)
    assert azure[0]["choices"] == []
    assert (azure[0]["id"], azure[0]["model"], azure[0]["created"]) == ("", "", 0)
    assert azure[0]["usage"] is None
    assert "usage" not in azure_chunks(completion_chunks(_answer(usage=False)))[0]
    assert "prompt_annotations" in azure_chunks(chunks, old=True)[0]
    assert _text(azure) == _text(chunks)
    assert azure[-1]["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("contents", [0, 2])
def test_a_filtered_stream_ends_in_content_filter(contents: int) -> None:
    """So much text as is wanted, then the verdict for every choice, then the usage."""
    stream = filtered_chunks(completion_chunks(_answer(n=2)), contents)
    choices = [choice for chunk in stream for choice in chunk["choices"]]
    texts = [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]
    assert len(texts) == contents
    ends = [choice for choice in choices if choice["finish_reason"]]
    assert {(end["index"], end["finish_reason"]) for end in ends} == {
        (0, "content_filter"),
        (1, "content_filter"),
    }
    assert stream[-1]["choices"] == []
    legacy = text_answer({"prompt": "hi"}, DEPLOYMENTS["gpt-35-turbo"], ident="x", created=1)
    assert filtered_chunks(completion_chunks(legacy))[-1]["choices"][0]["text"] == ""


def test_the_asynchronous_filter_reports_apart() -> None:
    """Results come in choices without a delta, with offsets, after the stop chunk too."""
    chunks = completion_chunks(_answer())
    stream = asynchronous_chunks(chunks, 4, blocked=False)
    apart = [c for chunk in stream for c in chunk["choices"] if "delta" not in c]
    assert len(apart) > 2
    assert apart[-1]["content_filter_offsets"]["end_offset"] == len(_text(chunks))
    assert stream[-2]["choices"][0] == apart[-1]
    assert stream[-3]["choices"][0]["finish_reason"] == "stop"
    assert _text(stream) == _text(chunks)


def test_a_late_violation_ends_the_stream() -> None:
    """The text before it has already been seen."""
    stream = asynchronous_chunks(completion_chunks(_answer()), 3, blocked=True)
    assert stream[-1]["choices"][0]["finish_reason"] == "content_filter"
    assert len(_text(stream).split()) == 3
    legacy = text_answer({"prompt": "hi"}, DEPLOYMENTS["gpt-35-turbo"], ident="x", created=1)
    late = asynchronous_chunks(completion_chunks(legacy), 0, blocked=True)
    assert late[-1]["choices"][0]["content_filter_offsets"]["end_offset"] == len("This")
