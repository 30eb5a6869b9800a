"""Bodies read as far as the gateway must: a call, or a 400 that says where the fault is."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gptproxy.api import JSONCall, read_json_call
from gptproxy.wire import Refusal

MODEL = b'{"model":"gpt-4"'


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
        read_json_call(body)
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
        read_json_call(body)
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
    call = read_json_call(body)
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
        call = read_json_call(body)
    except Refusal as refusal:
        assert refusal.status == 400  # noqa: PT017 - either outcome is good, this one if it is a 400
    else:
        assert isinstance(call, JSONCall)
        assert orjson.loads(body[call.model_span.start : call.model_span.end]) == call.model
