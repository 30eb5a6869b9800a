"""What a call cost is read from its answer's end."""

from __future__ import annotations

import orjson
import pytest

from gptproxy.upstream import Usage, usage_of

CHAT = {
    "prompt_tokens": 9,
    "completion_tokens": 3,
    "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2, "accepted_prediction_tokens": 0},
}
RESPONSE = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "total_tokens": 12,
}
QUOTED = 'he said "usage": {"prompt_tokens": 1, "completion_tokens": 1}'

ANSWERS = [
    ({"choices": [], "usage": CHAT, "system_fingerprint": "x"}, Usage(9, 3)),
    ({"usage": CHAT, "choices": [{"message": {"content": QUOTED}}]}, Usage(9, 3)),
    ({"data": ["x" * 100_000], "usage": {"prompt_tokens": 8, "total_tokens": 8}}, Usage(8, 0)),
    ({"output": [], "usage": RESPONSE, "metadata": {"usage": "none"}}, Usage(7, 5)),
    ({"choices": [{"message": {"content": QUOTED}}]}, None),
    ({"usage": None}, None),
    ({"usage": {"seconds": 3}}, None),
    ({"usage": {"prompt_tokens": "many"}}, None),
    ({"usage": CHAT, "data": "x" * 70_000}, None),
    ({}, None),
]


@pytest.mark.parametrize(("answer", "usage"), ANSWERS)
@pytest.mark.parametrize("indented", [False, True])
def test_a_whole_answer(answer: dict[str, object], usage: Usage | None, indented: bool) -> None:
    body = orjson.dumps(answer, option=orjson.OPT_INDENT_2 if indented else 0)
    assert usage_of(body) == usage


def test_a_stream() -> None:
    """All its chunks have a usage, but one has a number in it; it is not always the last."""
    told = b'data: {"choices":[],"usage":%b}\n\n' % orjson.dumps(CHAT)
    null = b'data: {"choices":[{}],"usage":null}\n\n'
    assert usage_of(bytearray(null + told + null + b"data: [DONE]\n\n")) == Usage(9, 3)
    assert usage_of(null + b"data: [DONE]\n\n") is None
    assert usage_of(told.replace(b":9", b":1") + told) == Usage(9, 3)


def test_an_end_that_begins_within_the_usage() -> None:
    assert usage_of(b'"completion_tokens":3,"total_tokens":12}}') is None


def test_a_number_too_long_to_be_one_is_none() -> None:
    assert usage_of(b'{"usage":{"prompt_tokens":%b}}' % (b"9" * 5000)) is None
