"""Completions as bodies and as streams: shapes, usage, tools, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.sandbox.chunks import completion_chunks, framed
from gptproxy.sandbox.completions import Answer, chat_answer, completion_body, text_answer
from gptproxy.sandbox.messages import JsonObject, Refusal
from gptproxy.sandbox.models import MODELS
from gptproxy.sandbox.tools import sample

WEATHER: JsonObject = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer"},
            },
            "required": ["city", "unit"],
        },
    },
}
CLOCK: JsonObject = {"type": "function", "function": {"name": "get_time"}}


def _user(text: str = "hello there") -> list[JsonObject]:
    return [{"role": "user", "content": text}]


def _answer(model: str = "gpt-4", **request: Any) -> Answer:
    request.setdefault("messages", _user())
    return chat_answer(request, MODELS[model], ident="x1", created=7)


def _joined(chunks: list[JsonObject], index: int = 0) -> str:
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(c["delta"].get("content") or "" for c in choices if c["index"] == index)


def test_a_body_has_the_shape_of_the_reference() -> None:
    """id, object, created, model, choices and usage that adds up."""
    body = completion_body(_answer())
    assert (body["object"], body["id"], body["created"]) == ("chat.completion", "chatcmpl-x1", 7)
    assert body["model"] == "gpt-4-0613"
    message = body["choices"][0]["message"]
    assert message["role"] == "assistant"
    assert message["refusal"] is None
    assert "hello there" in message["content"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@given(st.text(max_size=60), st.integers(1, 3), st.none() | st.integers(1, 8), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_stream_says_what_the_body_says(
    text: str, count: int, limit: int | None, usage: bool
) -> None:
    """Deltas joined are the content, for every choice; usage and finish are the same."""
    request: JsonObject = {"messages": _user(text), "n": count, "max_tokens": limit, "stream": True}
    if usage:
        request["stream_options"] = {"include_usage": True}
    answer = chat_answer(request, MODELS["gpt-4"], ident="x", created=1)
    body, chunks = completion_body(answer), completion_chunks(answer)
    for choice in body["choices"]:
        assert _joined(chunks, choice["index"]) == choice["message"]["content"]
        assert choice["finish_reason"] == ("stop" if limit is None else "length")
    finishes = [c["finish_reason"] for chunk in chunks for c in chunk["choices"]]
    assert sum(finish is not None for finish in finishes) == count
    if usage:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"] == body["usage"]
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
    else:
        assert all("usage" not in chunk for chunk in chunks)


def test_events_are_framed_and_end_in_done() -> None:
    """Each event is one data line and a blank one; characters beyond ASCII are themselves."""
    events = framed(completion_chunks(_answer(messages=_user("grüße"), stream=True)))
    assert events[-1] == b"data: [DONE]\n\n"
    assert all(event.startswith(b"data: ") and event.endswith(b"\n\n") for event in events)
    assert any("grüße".encode() in event for event in events)


def test_deltas_are_padded_unless_declined() -> None:
    """``include_obfuscation`` is true where nothing is said."""
    assert "obfuscation" in completion_chunks(_answer(stream=True))[0]
    plain = _answer(stream=True, stream_options={"include_obfuscation": False})
    assert "obfuscation" not in completion_chunks(plain)[0]


def test_legacy_completions_have_text() -> None:
    """POST /completions has text in place of messages, in bodies and chunks."""
    for prompt in ("say it", ["say", "it"]):
        answer = text_answer({"prompt": prompt}, MODELS["gpt-3.5-turbo"], ident="y", created=1)
        body = completion_body(answer)
        assert body["object"] == "text_completion"
        assert "say it" in body["choices"][0]["text"]
        chunks = completion_chunks(evolve(answer, usage_wanted=True))
        text = "".join(c["text"] for chunk in chunks for c in chunk["choices"])
        assert text == body["choices"][0]["text"]
        assert "prompt_tokens_details" not in body["usage"]
    with pytest.raises(Refusal):
        text_answer({"prompt": [1, 2]}, MODELS["gpt-4"], ident="y", created=1)


@pytest.mark.parametrize(
    ("text", "choice", "name"),
    [
        ("please call the tool", "auto", "get_weather"),
        ("could you use a weather tool?", "auto", "get_weather"),
        ("what does get_time say", "auto", "get_time"),
        ("hello", "required", "get_weather"),
        ("hello", {"type": "function", "function": {"name": "get_time"}}, "get_time"),
    ],
)
def test_tools_are_called_when_asked_for(text: str, choice: object, name: str) -> None:
    """By the choice, by the words, or by the function's name; body and stream agree."""
    answer = _answer(messages=_user(text), tools=[WEATHER, CLOCK], tool_choice=choice, stream=True)
    said = completion_body(answer)["choices"][0]
    assert said["finish_reason"] == "tool_calls"
    assert said["message"]["content"] is None
    call = said["message"]["tool_calls"][0]
    assert call["function"]["name"] == name
    arguments = json.loads(call["function"]["arguments"])
    assert arguments == ({"city": text, "unit": "celsius"} if name == "get_weather" else {})
    deltas = [c["delta"] for chunk in completion_chunks(answer) for c in chunk["choices"]]
    parts = [part for delta in deltas for part in delta.get("tool_calls", ())]
    assert parts[0] == {"index": 0, **call, "function": {"name": name, "arguments": ""}}
    assert "".join(p["function"]["arguments"] for p in parts) == call["function"]["arguments"]


@pytest.mark.parametrize(
    ("request_body"),
    [
        {"messages": _user("call the tool"), "tools": [WEATHER], "tool_choice": "none"},
        {"messages": _user("hello"), "tools": [WEATHER]},
        {"messages": _user("call the tool"), "tools": [5, {"function": 5}]},
        {"messages": _user("call the tool"), "tools": 5},
    ],
)
def test_tools_are_not_called_otherwise(request_body: JsonObject) -> None:
    """Offered is not asked for."""
    assert _answer(**request_body).choices[0].tool is None


def test_the_turn_after_a_tool_call_answers() -> None:
    """Where the tool has answered, it is not called again."""
    calls = [{"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}]
    messages = [
        *_user("call the tool"),
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": "noon"},
    ]
    answer = _answer(messages=messages, tools=[CLOCK])
    assert "noon" in completion_body(answer)["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, "x"),
        ({"enum": ["b", "a"]}, "b"),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "number"}, 1.5),
        ({"type": "boolean"}, True),
        ({"type": "array"}, []),
        ({"type": "null"}, None),
        ({"type": "object"}, {}),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "x"}),
        ({"type": []}, "x"),
    ],
)
def test_samples_fit_their_schema(schema: object, value: object) -> None:
    """Arguments are of the type that the schema names."""
    assert sample(schema, "x") == value


def test_a_schema_without_end_is_cut() -> None:
    """Eight levels are enough for anyone."""
    schema: JsonObject = {"type": "object"}
    schema["properties"] = {"a": schema}
    assert json.dumps(sample(schema, "x")).count("a") == 8


def test_json_is_given_where_it_is_asked_for() -> None:
    """``response_format`` json_object makes the content an object."""
    answer = _answer(response_format={"type": "json_object"})
    content = completion_body(answer)["choices"][0]["message"]["content"]
    assert "hello there" in json.loads(content)["answer"]


CALLING = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]}


@pytest.mark.parametrize(
    ("request_body", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"]}]}, "messages[0].role"),
        ({"messages": ["hello"]}, "messages[0].role"),
        ({"messages": [*_user(), {"role": "tool", "tool_call_id": "c"}]}, "messages[1].role"),
        ({"messages": [*_user(), CALLING, *_user()]}, "messages"),
        ({"messages": [*_user(), CALLING]}, "messages"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": 5}, "stream_options"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"function": {"name": "other"}}}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {}}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"function": {"name": []}}}, "tool_choice"),
    ],
)
def test_bad_requests_are_refused(request_body: JsonObject, param: str) -> None:
    """A 400 that names the parameter."""
    with pytest.raises(Refusal) as caught:
        _answer(**request_body)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_reasoning_models_refuse_max_tokens() -> None:
    """They take ``max_completion_tokens``."""
    with pytest.raises(Refusal, match="max_completion_tokens"):
        _answer("o3-mini", max_tokens=5)
    assert len(_answer("o3-mini", max_completion_tokens=5).choices[0].pieces) == 5
