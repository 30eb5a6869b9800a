"""Bodies read as far as the gateway must: a call, or a 400 that says where the fault is."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from gptproxy.api import JSONCall, Turns
from gptproxy.api.json_call import SLICE_BYTES, WHOLE_BYTES, read_json_call
from gptproxy.wire import Refusal
from tests.api.turning import TurningClock

MODEL = b'{"model":"gpt-4"'
PADDING = b" " * (WHOLE_BYTES + 1)


def read(body: bytes) -> JSONCall:
    """:return: the call, read at once or in turns."""
    clock = TurningClock()
    results: list[object] = []
    Deferred.fromCoroutine(read_json_call(body, Turns(clock))).addBoth(results.append)
    turns = 0
    while not results:
        assert turns < len(body) / 64 + 9
        turns += 1
        clock.turn()
    assert (turns > 0) == (len(body) > WHOLE_BYTES)
    assert not clock.getDelayedCalls()
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", None, "empty"),
        (b" \n", "invalid_json", "line"),
        (b"{", "invalid_json", "line 1, column"),
        (b'{"model": "gpt-4",\n "messages": oops}', "invalid_json", "line 2, column 14"),
        (b"[" * 100_000, "invalid_json", "line 1"),
        (MODEL + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json", "line 1"),
        (MODEL + b',"x":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001, "invalid_json", "line 1"),
        (MODEL + b',"temperature":NaN}', "invalid_json", "column"),
        (MODEL + b',"temperature":-Infinity}', "invalid_json", "column"),
        (MODEL + b',"temperature":1e999}', "invalid_json", "column"),
        (MODEL + b',"seed":' + b"9" * 5_000 + b"}", "invalid_json", "column"),
        (MODEL + b',"x":"\\ud800"}', "invalid_json", "column"),
        (b'{"model":"\\udc00"}', "invalid_json", "column"),
        (MODEL + b',"x":"\xed\xa0\x80"}', "invalid_json", "JSON body"),
        (MODEL + b',"x":"\xff"}', "invalid_json", "JSON body"),
        (b"\xef\xbb\xbf" + MODEL + b"}", "invalid_json", "JSON body"),
        ('{"model":"gpt-4"}'.encode("utf-16"), "invalid_json", "JSON body"),
        (MODEL + b"} {}", "invalid_json", "column"),
        (MODEL + b",}", "invalid_json", "column"),
        (b"[]", "invalid_json", "not a JSON object"),
        (b'["model"]', "invalid_json", "not a JSON object"),
        (b'"model"', "invalid_json", "not a JSON object"),
        (b"null", "invalid_json", "not a JSON object"),
        (MODEL + b',"model":"gpt-5"}', "duplicate_member", "twice"),
        (MODEL + b',"\\u006dodel":"gpt-5"}', "duplicate_member", "twice"),
        (MODEL + b',"stream":true,"stream":false}', "duplicate_member", "twice"),
        (b"{}", "missing_required_parameter", "model"),
        (b'{"model":null}', "missing_required_parameter", "model"),
        (b'{"model":""}', "invalid_type", "model"),
        (b'{"model":4}', "invalid_type", "model"),
        (b'{"model":["gpt-4"]}', "invalid_type", "model"),
    ],
)
def test_what_is_refused(body: bytes, code: str | None, words: str) -> None:
    """400 with OpenAI's code for it, and the position where the JSON is broken."""
    with pytest.raises(Refusal) as caught:
        read(body)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert words in caught.value.message
    assert len(caught.value.message) < 200
    orjson.loads(caught.value.body())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "model"),
        (MODEL + b',"x":1,"x":2}', "x"),
        (b'{"%b":1,"%b":2}' % (b"y" * 99, b"y" * 99), "y" * 64),
    ],
)
def test_the_member_at_fault_is_named(body: bytes, param: str) -> None:
    """In ``param``, shortened where it is long."""
    with pytest.raises(Refusal) as caught:
        read(body)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "body",
    [
        MODEL + b"}",
        b' {\n"stream" : true , "model"\t:  "gpt-4" }\n',
        b'{"seed":' + b"9" * 300 + b',"model":"gpt-4"}',
        b'{"x":' + b"[" * 500 + b"]" * 500 + b',"model":"gpt-4"}',
        b'{"nested":{"model":"a","model":"b"},"\\u006dodel":"gpt-\\u0034"}',
    ],
)
def test_what_is_a_call(body: bytes) -> None:
    """The bytes stay as they came, and the span is the model's value."""
    call = read(body)
    assert (call.body, call.model) == (body, "gpt-4")
    assert orjson.loads(body[call.model_span.start : call.model_span.end]) == "gpt-4"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, max_examples=100)
@given(
    st.binary()
    | st.text(alphabet='{}[]",:model\\u 0').map(str.encode)
    | st.dictionaries(st.text() | st.just("model"), JSON).map(
        lambda content: json.dumps(content, ensure_ascii=False).encode()
    )
)
@example(b'{"model":"\\ud800\\udc00"}')
def test_any_bytes_are_a_call_or_a_400(body: bytes) -> None:
    """And never another exception."""
    try:
        call = read(body)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017 - either outcome is good, this one if it is a 400
    else:
        assert isinstance(call, JSONCall)
        assert orjson.loads(body[call.model_span.start : call.model_span.end]) == call.model


@settings(deadline=None, max_examples=50)
@given(
    st.text(alphabet='{}[]",:model\\u 0').map(str.encode)
    | st.dictionaries(st.text() | st.sampled_from(["model", "messages"]), JSON).map(
        lambda content: json.dumps(content, ensure_ascii=False).encode()
    )
)
def test_a_large_body_is_read_as_a_small_one(body: bytes) -> None:
    """Spaces around a text that make it large change neither the call nor the refusal's code."""
    told: list[object] = []
    for text in (body, body + PADDING):
        try:
            call = read(text)
        except Refusal as refusal:
            told.append((refusal.status, refusal.code, refusal.param))
        else:
            told.append((call.model, call.model_span, call.messages_span))
    if body:
        assert told[0] == told[1]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "invalid_json", "unexpected end of data at line 1"),
        (b"{", "invalid_json", "unexpected end of data at line 1"),
        (b'{"model": "gpt-4",\n "messages": oops}', "invalid_json", "line 2, column 14"),
        (b'{"model": "\xc3\xa9",\n "\xc3\xa9": oops}', "invalid_json", "line 2, column 7"),
        (MODEL + b',"x":' + b"[" * 100_000, "invalid_json", "depth limit exceeded at line 1"),
        (MODEL + b',"x":NaN}', "invalid_json", "line 1, column 22"),
        (MODEL + b',"x":"\\ud800"}', "invalid_json", "column"),
        (MODEL + b',"x":"\xff"}', "invalid_json", "not valid UTF-8 at line 1, column 23"),
        (MODEL + b"} {}", "invalid_json", "column 19"),
        (MODEL + b",}", "invalid_json", "trailing comma is not allowed at line 1, column 18"),
        (b"[]", "invalid_json", "not a JSON object"),
        (MODEL + b',"\\u006dodel":"gpt-5"}', "duplicate_member", "twice"),
        (b"{}", "missing_required_parameter", "model"),
        (b'{"model":null}', "missing_required_parameter", "model"),
        (b'{"model":4}', "invalid_type", "model"),
        (b'{"model":1e999}', "invalid_type", "model"),
        (b'{"model":"%b"}' % (b"m" * WHOLE_BYTES), "invalid_type", "model"),
    ],
)
def test_what_is_refused_of_a_large_body(body: bytes, code: str, words: str) -> None:
    """In the same words as of a small one, wherever a slice ends."""
    with pytest.raises(Refusal) as caught:
        read(body + PADDING)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert words in caught.value.message
    assert len(caught.value.message) < 200


def test_a_large_body_is_read_in_turns() -> None:
    """The reactor comes to the others between slices; only what decides is parsed."""
    clock = TurningClock()
    body = b'{"messages":["%b"],"stream":true,"model":"gpt-4","n":1}' % (b"x" * WHOLE_BYTES)
    results: list[JSONCall] = []
    Deferred.fromCoroutine(read_json_call(body, Turns(clock))).addCallback(results.append)
    turns = 0
    while not results:
        (due,) = clock.getDelayedCalls()
        assert due.getTime() == clock.seconds()
        clock.turn()
        turns += 1
    assert turns >= len(body) // SLICE_BYTES
    (call,) = results
    assert call.content == {"model": "gpt-4", "stream": True}
    assert not call.whole
    assert call.messages_span is not None
    assert body[slice(*call.messages_span)].startswith(b'["xxx')
