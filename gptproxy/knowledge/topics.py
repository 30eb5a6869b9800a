"""
Whether a chat is about one of the operator's topics, and what it asks.

Pure: imports the settings' types only, nothing of Twisted. The messages are the caller's: whatever
their shape, these functions give an answer and never raise. Only text is looked at, never images,
files or what ``data:`` URLs carry, which is megabytes long and has short words in it by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gptproxy.config.knowledge_settings import TopicSettings

__all__ = ["matching_topic", "question_of", "text_of"]

# What a data: URL (RFC 2397) carries. Its beginning is not looked for: a text of nothing but
# "data:" would make that slow, and what stands before the payload is short.
_CARRIES = ";base64,"
_PAYLOAD = re.compile(_CARRIES + r"[A-Za-z0-9+/=_-]++")


def matching_topic(topics: Iterable[TopicSettings], messages: object) -> TopicSettings | None:
    """
    Choose the topic of a chat.

    :param topics: in the order of the configuration.
    :param messages: the parsed ``messages`` of a chat completion, of any shape. Time is linear in
        the text of two of them (about 2 ms per MB of ASCII, 10 ms of other text), so huge messages
        are not to be given.
    :return: the first topic one of whose words occurs, in any case, in the text of the first or the
        last message.
    """
    texts = [text_of(message).casefold() for message in _first_and_last(messages)]
    for topic in topics:
        for word in topic.words:
            folded = word.casefold()
            if folded and any(folded in text for text in texts):
                return topic
    return None


def question_of(messages: object) -> str:
    """
    Tell what is asked.

    :param messages: the parsed ``messages`` of a chat completion, of any shape.
    :return: the text of the last message; empty where it has none.
    """
    if not isinstance(messages, list) or not messages:
        return ""
    return text_of(messages[-1])


def text_of(message: object) -> str:
    """
    Take the text out of a message.

    :param message: one parsed message, of any shape.
    :return: its content where that is a string, its ``text`` parts joined by newlines where it is a
        list, else nothing; without what ``data:`` URLs carry.
    """
    content = message.get("content") if isinstance(message, dict) else None
    text = content if isinstance(content, str) else "\n".join(_text_parts(content))
    return _PAYLOAD.sub(_CARRIES, text)


def _first_and_last(messages: object) -> list[object]:
    if not isinstance(messages, list) or not messages:
        return []
    return [messages[0]] if len(messages) == 1 else [messages[0], messages[-1]]


def _text_parts(content: object) -> Iterator[str]:
    if not isinstance(content, list):
        return
    for part in content:
        if isinstance(part, dict) and part.get("type") == "text":
            text = part.get("text")
            if isinstance(text, str):
                yield text
