"""A chat is about a topic when its first or last message says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config.knowledge_settings import TopicSettings
from gptproxy.knowledge.topics import matching_topic, question_of, text_of

_FIBJS = TopicSettings(words=("fibjs", "Straße"), documents="fibjs")
_DEPLOY = TopicSettings(words=("", "deploy"), documents="operations")
_TOPICS = (_FIBJS, _DEPLOY)


def _user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("messages", "topic"),
    [
        ([_user("What is FibJS?")], _FIBJS),
        ([_user("STRASSE")], _FIBJS),
        ([_user("fibjs"), _user("b"), _user("c")], _FIBJS),
        ([_user("a"), _user("b"), _user("how to deploy")], _DEPLOY),
        ([_user("a"), _user("fibjs"), _user("c")], None),
        ([_user("deploy fibjs")], _FIBJS),
        ([_user("deploy"), _user("fibjs")], _FIBJS),
        ([_user([{"type": "text", "text": "a"}, {"type": "text", "text": "fibjs"}])], _FIBJS),
        ([_user([{"type": "image_url", "image_url": {"url": "fibjs"}, "text": "fibjs"}])], None),
        ([_user([{"type": "text", "text": 7}, "fibjs", None])], None),
        ([_user("see data:image/png;base64,AfibjsA== there")], None),
        ([_user("see DATA:;base64,Afibjs and fibjs")], _FIBJS),
        ([_user(None)], None),
        ([_user("nothing")], None),
        ([{"role": "fibjs"}], None),
        (["fibjs"], None),
        ([], None),
        ("fibjs", None),
        (None, None),
    ],
)
def test_the_first_topic_with_a_word_in_it(messages: object, topic: TopicSettings | None) -> None:
    """Any case, text parts only, first and last message only, topics in the operator's order."""
    assert matching_topic(_TOPICS, messages) is topic


@pytest.mark.parametrize(
    ("messages", "question"),
    [
        ([_user("a"), _user("b")], "b"),
        ([_user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])], "a\nb"),
        ([_user("x data:a/b;base64,AAAA== y")], "x data:a/b;base64, y"),
        ([_user("a"), {"role": "assistant", "content": None}], ""),
        ([7], ""),
        ([], ""),
        ({}, ""),
    ],
)
def test_the_question_is_the_text_of_the_last_message(messages: object, question: str) -> None:
    """What has no text asks nothing."""
    assert question_of(messages) == question


_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["content", "type", "text", "role", "x"]), inner, max_size=4
        )
        | st.fixed_dictionaries({"type": st.just("text"), "text": inner})
        | st.fixed_dictionaries({"content": inner})
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(_json)
def test_no_shape_of_messages_raises(messages: object) -> None:
    """The caller's messages are of any shape; the upstream tells what is wrong with them."""
    assert matching_topic(_TOPICS, messages) in (None, *_TOPICS)
    assert isinstance(question_of(messages), str)
    assert isinstance(text_of(messages), str)
