"""Messages are put into a chat at one place, and nothing else of it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config.knowledge_settings import TopicSettings
from gptproxy.knowledge.augmentation import augment, operator_role, operator_texts
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.quotation import CITE_NOTICE, NOTICE, quoted
from gptproxy.knowledge.tokens import token_bound
from gptproxy.wire import DuplicateMember, NotAnObject, element_spans, member_spans, splice

_cheap = settings(max_examples=100, deadline=None)
_TOPIC = TopicSettings(
    words=("fibjs",), documents="fibjs", prompt="You are an assistant.", preamble="Modules: io."
)


def _passage(number: int, text: str, score: float = 0.5) -> Passage:
    return Passage(number, f"docs/{number}.md", "Guide", text, score)


_ONE = _passage(1, "fibjs runs fibers")


def _augmented(
    messages: Sequence[object], topic: TopicSettings = _TOPIC, model: str = "gpt-4"
) -> Any:
    body = orjson.dumps({"model": model, "messages": messages})
    return orjson.loads(_put(body, messages, topic, [_ONE], model))["messages"]


def _put(
    body: bytes,
    messages: object,
    topic: TopicSettings,
    passages: Sequence[Passage],
    model: str = "gpt-4",
) -> bytes:
    edit = augment(body, messages, operator_texts([topic], passages), model)
    return body if edit is None else splice(body, [edit])


def _inserted(role: str) -> list[dict[str, str]]:
    texts = [f"{_TOPIC.prompt}\n\n{NOTICE}", _TOPIC.preamble, quoted(_ONE)]
    return [{"role": role, "content": text} for text in texts]


_SYSTEM = {"role": "system", "content": "s"}
_DEVELOPER = {"role": "developer", "content": "d"}
_USER = {"role": "user", "content": "u"}
_CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
_RESULT = {"role": "tool", "tool_call_id": "1", "content": "r"}


@pytest.mark.parametrize(
    ("messages", "place", "role"),
    [
        ([], 0, "system"),
        ([_USER], 0, "system"),
        ([_SYSTEM], 1, "system"),
        ([_SYSTEM, _DEVELOPER, _USER], 2, "system"),
        ([_DEVELOPER, _SYSTEM, _USER], 2, "developer"),
        ([_USER, _DEVELOPER, _USER], 0, "developer"),
        ([_CALL, _RESULT, _USER], 0, "system"),
        ([_SYSTEM, _CALL, _RESULT, _USER], 1, "system"),
        (["odd", None, {"role": 7}], 0, "system"),
    ],
)
def test_the_place_and_the_role(messages: list[object], place: int, role: str) -> None:
    """Right behind the leading system and developer messages, in the role of the first of them."""
    assert _augmented(messages) == messages[:place] + _inserted(role) + messages[place:]


@pytest.mark.parametrize(
    ("model", "role"),
    [
        ("gpt-4", "system"),
        ("gpt-4o", "system"),
        ("gpt-3.5-turbo", "system"),
        ("o1", "developer"),
        ("o3-mini", "developer"),
        ("o4-mini", "developer"),
        ("gpt-5", "developer"),
        ("gpt-5.1-mini", "developer"),
        ("ft:gpt-5-nano:corp::x", "developer"),
        ("ollama", "system"),
        ("", "system"),
    ],
)
def test_the_role_by_the_model(model: str, role: str) -> None:
    """From o1 on the operator is the developer; a message of the client's decides before that."""
    assert operator_role([_USER], model) == role
    assert operator_role([_USER, _SYSTEM], model) == "system"


_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
_message = st.sampled_from([_SYSTEM, _DEVELOPER, _USER, _CALL]) | _value
_space = st.text(st.sampled_from(" \t\r\n"), max_size=3)


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[bytes, list[Any]]:
    """Bodies with any members around the messages, any white space, and results after calls."""
    messages: list[Any] = []
    for message in draw(st.lists(_message, max_size=5)):
        messages += [message, _RESULT] if message is _CALL else [message]

    def spaced(text: bytes) -> bytes:
        return draw(_space).encode() + text + draw(_space).encode()

    array = (
        b"["
        + b",".join(spaced(orjson.dumps(one)) for one in messages)
        + draw(_space).encode()
        + b"]"
    )
    members = draw(
        st.dictionaries(st.text(max_size=6).filter("messages".__ne__), _value, max_size=4)
    )
    texts = [
        spaced(orjson.dumps(name)) + b":" + spaced(orjson.dumps(members[name])) for name in members
    ]
    texts.insert(draw(st.integers(0, len(texts))), b'"messages":' + spaced(array))
    return spaced(b"{" + b",".join(texts) + b"}"), messages


@_cheap
@given(_bodies(), st.lists(st.text(max_size=60), max_size=4), st.text(max_size=20))
def test_nothing_else_changes(
    drawn: tuple[bytes, list[Any]], texts: list[str], prompt: str
) -> None:
    """
    For any body: the result parses, one run of bytes was inserted, the client's messages are all
    there in order, and no tool result is parted from its call.
    """
    body, messages = drawn
    topic = TopicSettings(words=("x",), documents="x", prompt=prompt)
    passages = [_passage(number, text) for number, text in enumerate(texts)]
    augmented = _put(body, messages, topic, passages)
    parsed = orjson.loads(augmented)
    chosen = operator_texts([topic], passages)
    count = len(chosen.texts)
    # Without what was inserted every byte is as it was.
    array = member_spans(augmented)["messages"]
    spans = element_spans(augmented, array)
    place = next(
        n
        for n in range(len(messages) + 1)
        if messages[:n] + parsed["messages"][n : n + count] + messages[n:] == parsed["messages"]
    )
    assert [one["content"] for one in parsed["messages"][place : place + count]] == list(
        chosen.texts
    )
    if count:
        start, end = spans[place].start, spans[place + count - 1].end
        comma_before = augmented[:start].endswith(b",") and place > 0
        before = augmented[: start - comma_before]
        after = augmented[end:] if comma_before or not messages else augmented[end + 1 :]
        assert before + after == body
    else:
        assert augmented == body
    for one, other in zip(parsed["messages"], parsed["messages"][1:], strict=False):
        assert (one == _CALL) == (other == _RESULT)


@pytest.mark.parametrize("messages", [None, "x", {}, 7])
def test_messages_that_are_no_list_stay_as_they_are(messages: object) -> None:
    """The upstream tells its caller what is wrong."""
    body = orjson.dumps({"messages": messages})
    assert augment(body, messages, operator_texts([_TOPIC], [_ONE]), "gpt-4") is None


def test_a_topic_that_says_nothing_changes_nothing() -> None:
    """Without prompt, preamble and passages the very bytes go upstream."""
    chosen = operator_texts([TopicSettings(words=("x",), documents="x")], [])
    assert augment(b'{ "messages" : [ ] }', [], chosen, "gpt-4") is None


def test_a_body_that_reads_in_two_ways_is_refused() -> None:
    """An edit of one of two members of one name would be read by one parser only."""
    chosen = operator_texts([_TOPIC], [])
    with pytest.raises(DuplicateMember):
        augment(b'{"messages":[],"messages":[]}', [], chosen, "gpt-4")
    with pytest.raises(NotAnObject):
        augment(b"[]", [], chosen, "gpt-4")


def test_the_notice_stands_before_the_first_quotation_only() -> None:
    """Without a prompt it is a message of its own; without passages it is not said."""
    bare = TopicSettings(words=("x",), documents="x")
    assert operator_texts([bare], [_ONE]).texts == (NOTICE, quoted(_ONE))
    assert operator_texts([_TOPIC], []).texts == (_TOPIC.prompt, _TOPIC.preamble)


def test_passages_go_by_score_while_they_fit() -> None:
    """One that does not fit is left out and the next is tried."""
    large = _passage(1, "one two three " * 300, 0.9)
    tight = _passage(2, "four five six " * 120, 0.8)  # its text fits, with its fence it does not
    small = _passage(3, "z", 0.7)
    also = _passage(4, "z", 0.7)
    room = token_bound(NOTICE) + token_bound(tight.text) + 10
    topic = TopicSettings(words=("x",), documents="x", max_tokens=room)
    chosen = operator_texts([topic], [also, small, tight, large])
    assert chosen.used == (small, also)


@pytest.mark.parametrize(
    ("max_tokens", "texts", "omitted"),
    [
        (0, (), (("x", "prompt"), ("x", "preamble"))),
        (4, ("ab",), (("x", "prompt"),)),
        (16, ("a" * 20,), (("x", "preamble"),)),
    ],
)
def test_what_exceeds_the_bound_is_left_out_and_told(
    max_tokens: int, texts: tuple[str, ...], omitted: tuple[tuple[str, str], ...]
) -> None:
    """The operator's own texts are not cut in the middle; the log can say that one is missing."""
    preamble = "ab" if max_tokens == 4 else "bcd " * 20
    topic = TopicSettings(
        words=("x",), documents="x", prompt="a" * 20, preamble=preamble, max_tokens=max_tokens
    )
    chosen = operator_texts([topic], [_ONE])
    assert (chosen.texts, chosen.omitted) == (texts, omitted)


@_cheap
@given(
    st.text(max_size=60),
    st.text(max_size=60),
    st.lists(st.tuples(st.text(max_size=200), st.floats(0, 1)), max_size=6),
    st.integers(0, 500),
)
def test_all_together_keep_the_bound(
    prompt: str, preamble: str, found: list[tuple[str, float]], max_tokens: int
) -> None:
    """Prompt, preamble, notice and quotations never exceed max_tokens, and what is used is told."""
    topic = TopicSettings(
        words=("x",), documents="x", prompt=prompt, preamble=preamble, max_tokens=max_tokens
    )
    passages = [_passage(number, text, score) for number, (text, score) in enumerate(found)]
    chosen = operator_texts([topic], passages)
    assert sum(map(token_bound, chosen.texts)) <= max_tokens
    assert list(chosen.texts[len(chosen.texts) - len(chosen.used) :]) == list(
        map(quoted, chosen.used)
    )
    assert [one.score for one in chosen.used] == sorted(
        (one.score for one in chosen.used), reverse=True
    )


def test_topics_together() -> None:
    """Prompts, then preambles, in their order; one notice; the largest bound is the bound of all."""
    one = TopicSettings(documents="a", prompt="A.", preamble="a", max_tokens=5)
    two = TopicSettings(documents="b", prompt="B.", preamble="b", max_tokens=500)
    assert operator_texts([one, two], [_ONE]).texts == (
        f"A.\n\n{NOTICE}",
        "B.",
        "a",
        "b",
        quoted(_ONE),
    )


def test_numbers_to_refer_to() -> None:
    """They count what is used, in its order, and the notice says what they are for."""
    other = _passage(2, "fibjs has timers", 0.9)
    texts = operator_texts([_TOPIC], [_ONE, other], cite=True).texts
    assert texts[2:] == (quoted(other, 1), quoted(_ONE, 2))
    assert texts[0] == f"{_TOPIC.prompt}\n\n{NOTICE}{CITE_NOTICE}"
    assert texts[2].startswith('<document number="1" source="docs/2.md"')
