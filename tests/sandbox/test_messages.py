"""Calls, JSON at the edges, server-sent events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.sandbox.messages import (
    Call,
    JsonObject,
    Refusal,
    identifier,
    read_json,
    sse,
    write_json,
)

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=4), st.booleans())
@settings(max_examples=50, deadline=None)
def test_json_comes_back(value: JsonObject, escaped: bool) -> None:
    """What is written can be read, escaped or not."""
    body = json.dumps(value).encode() if escaped else write_json(value)
    assert read_json(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b'{"a":' + b"[" * 200_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    """Never an exception of another kind, whatever the bytes."""
    with pytest.raises(Refusal) as caught:
        read_json(body)
    assert caught.value.status == 400
    assert set(caught.value.body()["error"]) == {"message", "type", "param", "code"}


def test_an_event_is_one_data_line() -> None:
    """JSON in one line, or the closing word."""
    assert sse({"a": "é\n"}) == 'data: {"a":"é\\n"}\n\n'.encode()
    assert sse("[DONE]") == b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("headers", "bearer"),
    [
        ([("authorization", "Bearer t")], "t"),
        ([("authorization", "bearer  t")], "t"),
        ([("authorization", "Basic t")], None),
        ([("authorization", "Bearer ")], None),
        ([("authorization", "Bearer t"), ("authorization", "Bearer t")], None),
        ([], None),
    ],
)
def test_exactly_one_bearer(headers: list[tuple[str, str]], bearer: str | None) -> None:
    """Two credentials are none."""
    call = Call("openai", "GET", "/", headers=tuple(headers))
    assert call.bearer() == bearer
    assert "Bearer t" not in repr(call)


def test_segments_are_decoded_after_they_are_split() -> None:
    """An encoded slash stays inside its segment."""
    call = Call("openai", "GET", "/v1/models/a%2Fb%3Ac?x=1/2")
    assert call.path == "/v1/models/a%2Fb%3Ac"
    assert call.segments == ("v1", "models", "a/b:c")


def test_identifiers_repeat_and_differ() -> None:
    """The same call has the same identifier, another purpose or number another one."""
    call = Call("openai", "GET", "/")
    assert identifier(call, "a") == identifier(call, "a")
    assert len({identifier(call, "a"), identifier(call, "b")}) == 2
    assert len(identifier(call, "a", 32)) == 32
