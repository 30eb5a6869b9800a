"""A chat is about a topic when its first or last message says so."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.config.knowledge_settings import TopicSettings
from gptproxy.knowledge.topics import MatchedTopic, matching_topics, question_of, text_of

_FIBJS = TopicSettings(words=("fibjs", "Straße"), documents="fibjs")
_DEPLOY = TopicSettings(words=("", "deploy"), documents="operations")
_TOPICS = (_FIBJS, _DEPLOY)


def matching_topic(topics: tuple[TopicSettings, ...], messages: object) -> TopicSettings | None:
    """:return: the first of the topics that a chat's words choose."""
    found = matching_topics(topics, messages, "gpt-4")
    return found[0].topic if found else None


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
        ([_user("a"), {"role": "assistant", "content": None}], "a"),
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


def _chosen(topics: tuple[TopicSettings, ...], messages: object, **given: Any) -> list[str]:
    return [match.topic.called for match in matching_topics(topics, messages, "gpt-4o", **given)]


def test_several_topics_may_match() -> None:
    """In the order of the configuration."""
    assert _chosen(_TOPICS, [_user("deploy"), _user("fibjs")]) == ["fibjs", "operations"]


def test_any_message_may_decide() -> None:
    """Where the topic says so; a large chat's middle is not there to be looked at."""
    messages = [_user("a"), _user("fibjs"), _user("c")]
    assert _chosen((_FIBJS, evolve(_FIBJS, name="x", match="any")), messages) == ["x"]


def test_models_headers_and_always() -> None:
    """A model that is named, and `always`, need no words; names of the caller's are all then."""
    model = TopicSettings(documents="m", models=("gpt-4o",))
    always = TopicSettings(documents="a", always=True, min_score=0.5)
    named = TopicSettings(documents="n", name="by name", words=("other",))
    topics = (model, always, named)
    assert matching_topics(topics, [_user("x")], "gpt-4o") == (
        MatchedTopic(model, True),
        MatchedTopic(always, False),
    )
    assert matching_topics(topics, [_user("x")], "gpt-4") == (MatchedTopic(always, False),)
    assert _chosen(topics, [_user("x")], named=frozenset({"by name", "a"})) == ["a", "by name"]
    assert _chosen(topics, [_user("x")], named=frozenset()) == []


def test_tools_do_not_change_the_question() -> None:
    """While tools are called, what was asked is what the user said last, and decides as it did."""
    chat = [_user("hello"), _user("How to deploy?"), {"role": "assistant", "content": None}]
    chat += [{"role": "tool", "tool_call_id": "1", "content": "42 ibexes"}]
    assert question_of(chat) == "How to deploy?"
    assert _chosen(_TOPICS, chat) == ["operations"]
    assert question_of([{"role": "assistant", "content": "alone"}]) == "alone"
    assert question_of([_user("first"), _user([{"type": "image_url"}])]) == "first"


def test_items_of_a_response() -> None:
    """Their text parts have names of their own."""
    assert text_of(_user([{"type": "input_text", "text": "fibjs"}])) == "fibjs"
    assert text_of({"type": "function_call_output", "output": "fibjs"}) == ""
