"""A response's call gets its texts into the instructions, or in front of its items."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gptproxy.knowledge.augmentation import OperatorTexts
from gptproxy.knowledge.response_call import augment_response, conversation_of
from gptproxy.wire import member_spans, splice

_SAID = OperatorTexts(("prompt", "passage"), (), ())
_TEXT = "prompt\n\npassage"
_ITEM = {"role": "developer", "content": [{"type": "input_text", "text": _TEXT}]}
_USER = {"role": "user", "content": "q"}
_PROMPT = {"id": "pmpt_1"}


def _put(content: dict[str, Any], said: OperatorTexts = _SAID) -> Any:
    body = orjson.dumps(content)
    edit = augment_response(body, content, member_spans(body), said)
    return content if edit is None else orjson.loads(splice(body, [edit]))


@pytest.mark.parametrize(
    ("content", "changed"),
    [
        ({"input": "q"}, {"instructions": _TEXT}),
        ({"input": "q", "instructions": None}, {"instructions": _TEXT}),
        ({"input": "q", "instructions": ""}, {"instructions": _TEXT}),
        ({"input": [_USER], "instructions": "Be."}, {"instructions": f"Be.\n\n{_TEXT}"}),
        ({"input": "q", "prompt": _PROMPT}, {"input": [_ITEM, _USER]}),
        ({"input": [_USER], "prompt": _PROMPT}, {"input": [_ITEM, _USER]}),
        (
            {"input": [{"role": "system", "content": "s"}, _USER], "prompt": _PROMPT},
            {"input": [{"role": "system", "content": "s"}, _ITEM, _USER]},
        ),
        ({"input": "q", "prompt": _PROMPT, "instructions": "B"}, {"instructions": f"B\n\n{_TEXT}"}),
        ({"input": 7, "prompt": _PROMPT}, {}),
        ({"input": "q", "instructions": ["x"]}, {}),
    ],
)
def test_the_place(content: dict[str, Any], changed: dict[str, Any]) -> None:
    """Behind the caller's instructions; a stored prompt's are not replaced."""
    content = {"model": "gpt-5", **content, "store": False}
    assert _put(content) == {**content, **changed}


def test_nothing_to_say() -> None:
    """The very bytes go up."""
    assert augment_response(b"{}", {}, {}, OperatorTexts((), (), ())) is None


def test_as_a_chat() -> None:
    """Instructions are what the operator of a chat says first."""
    developer = {"role": "developer", "content": "Be."}
    assert conversation_of("Be.", "q") == [developer, _USER]
    assert conversation_of(None, [_USER, 7]) == [_USER, 7]
    assert conversation_of(7, None) == []
