"""What gptproxy itself says no with has OpenAI's form, whatever the words."""

from __future__ import annotations

import orjson
import pytest

from gptproxy.wire.refusal import Refusal, error_body


def test_the_form_has_all_four_members_always() -> None:
    assert orjson.loads(error_body("No.", error_type="server_error")) == {
        "error": {"message": "No.", "type": "server_error", "param": None, "code": None}
    }


def test_a_refusal_carries_what_the_answer_needs() -> None:
    refusal = Refusal(
        404,
        "No such model.",
        code="model_not_found",
        param="model",
        headers=((b"retry-after", b"1"),),
        cause="for the log",
    )
    assert (refusal.status, str(refusal), refusal.cause) == (404, "No such model.", "for the log")
    assert refusal.headers == ((b"retry-after", b"1"),)
    assert orjson.loads(refusal.body()) == {
        "error": {
            "message": "No such model.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
    }
    assert b"for the log" not in refusal.body()


@pytest.mark.parametrize("words", ["\ud800", 'a"b\\c\n\x00', "é😀"])
def test_any_words_can_be_said(words: str) -> None:
    """A caller's own words may come back in a message; lone surrogates are no UTF-8."""
    error = orjson.loads(error_body(words, error_type="t", code=words, param=words))["error"]
    expected = words.encode("utf-8", "replace").decode()
    assert (error["message"], error["code"], error["param"]) == (expected, expected, expected)


def test_a_refusal_that_is_kept_is_raised_again_without_its_past() -> None:
    first = Refusal(401, "No.", code="c", param="p", headers=((b"a", b"b"),), cause="d")
    second = first.again()
    assert second is not first
    assert vars(second) == vars(first)
