"""
Whether a conversation is about the operator's topics, and what it asks.

Pure: imports the settings' types only, nothing of Twisted. The messages are the caller's, of a chat
completion or of a response's input: whatever their shape, these functions give an answer and never
raise. Only text is looked at, never images, files or what ``data:`` URLs carry, which is megabytes
long and has short words in it by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from gptproxy.config.knowledge_settings import TopicSettings

__all__ = ["MatchedTopic", "is_users", "matching_topics", "question_of", "text_of"]

_TEXT_TYPES = ("text", "input_text", "output_text")

# What a data: URL (RFC 2397) carries. Its beginning is not looked for: a text of nothing but
# "data:" would make that slow, and what stands before the payload is short.
_CARRIES = ";base64,"
_PAYLOAD = re.compile(_CARRIES + r"[A-Za-z0-9+/=_-]++")


@frozen
class MatchedTopic:
    """
    A topic that a conversation may be about.

    :param topic: the operator's.
    :param chosen: by a word, the model or the header; else only because it always is, and then
        only if passages are near enough.
    """

    topic: TopicSettings
    chosen: bool


def matching_topics(
    topics: Iterable[TopicSettings],
    messages: object,
    model: str,
    named: frozenset[str] | None = None,
) -> tuple[MatchedTopic, ...]:
    """
    Choose the topics of a conversation.

    :param topics: in the order of the configuration.
    :param messages: the parsed ``messages``, of any shape. Time is linear in the text that is
        looked at (about 2 ms per MB of ASCII, 10 ms of other text), so huge messages are not to be
        given.
    :param model: the model that is asked.
    :param named: the topics that the caller names, which are all then; None: the caller names none.
    :return: the topics, in their order.
    """
    if named is not None:
        return tuple(MatchedTopic(topic, True) for topic in topics if topic.called in named)
    texts: dict[str, list[str]] = {}
    matched = []
    for topic in topics:
        if topic.words and topic.match not in texts:
            looked_at = _looked_at(messages, topic.match == "any")
            texts[topic.match] = [text_of(message).casefold() for message in looked_at]
        if model in topic.models or _has_word(topic.words, texts.get(topic.match, ())):
            matched.append(MatchedTopic(topic, True))
        elif topic.always:
            matched.append(MatchedTopic(topic, False))
    return tuple(matched)


def _has_word(words: Iterable[str], texts: Sequence[str]) -> bool:
    folded = [word.casefold() for word in words]
    return any(word and word in text for word in folded for text in texts)


def question_of(messages: object) -> str:
    """
    Tell what is asked.

    :param messages: the parsed ``messages``, of any shape.
    :return: the text of the user's last message that has text: a tool's result behind it is no
        question, and the same question stays the same while tools are called. Of a conversation
        without one, the text of the last message.
    """
    if not isinstance(messages, list) or not messages:
        return ""
    for message in reversed(messages):
        if is_users(message):
            text = text_of(message)
            if text.strip():
                return text
    return text_of(messages[-1])


def is_users(message: object) -> bool:
    """
    :param message: one parsed message, of any shape.
    :return: whether the user says it.
    """
    return isinstance(message, dict) and message.get("role") == "user"


def text_of(message: object) -> str:
    """
    Take the text out of a message.

    :param message: one parsed message, of any shape.
    :return: its content where that is a string, its text parts joined by newlines where it is a
        list, else nothing; without what ``data:`` URLs carry.
    """
    content = message.get("content") if isinstance(message, dict) else None
    text = content if isinstance(content, str) else "\n".join(_text_parts(content))
    return _PAYLOAD.sub(_CARRIES, text)


def _looked_at(messages: object, everywhere: bool) -> list[object]:
    """:return: the first and the last message, and the user's last where others' stand behind it."""
    if not isinstance(messages, list) or not messages:
        return []
    if everywhere:
        return messages
    places = {0, len(messages) - 1}
    backwards = range(len(messages) - 1, 0, -1)
    places.add(next((place for place in backwards if is_users(messages[place])), 0))
    return [messages[place] for place in sorted(places)]


def _text_parts(content: object) -> Iterator[str]:
    if not isinstance(content, list):
        return
    for part in content:
        if isinstance(part, dict) and part.get("type") in _TEXT_TYPES:
            text = part.get("text")
            if isinstance(text, str):
                yield text
