"""
Chats about the organisation's own topics get its documents put in.

May import the knowledge, upstream and wire rooms, this room, and Twisted. It is imported only where topics are
configured, because the knowledge room brings numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve
from twisted.logger import Logger

from gptproxy.api.exchange import Exchange
from gptproxy.api.json_call import JSONCall
from gptproxy.api.large_chat import read_large_chat
from gptproxy.api.turns import Turns
from gptproxy.config import TopicSettings
from gptproxy.knowledge import (
    Knowledge,
    KnowledgeError,
    Passage,
    TooBusy,
    augment,
    matching_topic,
)
from gptproxy.upstream import NoEmbeddings
from gptproxy.wire import Span

__all__ = ["ChatTopics"]


class ChatTopics:
    """
    :param topics: in order of preference.
    :param knowledge: finds passages.
    """

    _log = Logger()

    def __init__(self, topics: Sequence[TopicSettings], knowledge: Knowledge) -> None:
        self._topics = topics
        self._knowledge = knowledge

    async def augmented(self, call: JSONCall, exchange: Exchange, turns: Turns) -> JSONCall:
        """
        :param call: a chat.
        :param exchange: learns how many passages went in; the answer's header ``x-gptproxy-passages`` says it.
        :param turns: in which a large chat is looked through; messages that are large themselves are about no topic.
        :return: the chat with prompt, preamble and passages where it is about a topic; else as it came. When the
            documents cannot be searched, prompt and preamble go in alone, and the header says ``unavailable``.
        """
        messages = call.content.get("messages")
        places = None
        if not call.whole:
            large = await read_large_chat(call.body, call.messages_span, turns)
            if large is None:
                return call
            messages, places = large
        topic = matching_topic(self._topics, messages)
        if topic is None:
            return call
        passages = await self._passages(topic, messages, exchange)
        augmented = augment(call.body, messages, topic, passages or (), call.model, places)
        told = b"unavailable" if passages is None else b"%d" % len(augmented.used)
        exchange.extra_fields.append((b"x-gptproxy-passages", told))
        for name in augmented.omitted:
            self._log.warn(
                "topic {topic}: its {name} alone exceeds max_tokens and is left out",
                topic=topic.documents,
                name=name,
            )
        return _moved(call, augmented.body)

    async def _passages(
        self, topic: TopicSettings, messages: object, exchange: Exchange
    ) -> tuple[Passage, ...] | None:
        try:
            return await self._knowledge.consult(topic, messages)
        except (KnowledgeError, NoEmbeddings, TooBusy) as trouble:
            self._log.error(
                "{request_id}: no documents for topic {topic}: {trouble}",
                request_id=exchange.request_id,
                topic=topic.documents,
                trouble=str(trouble),
            )
            return None


def _moved(call: JSONCall, body: bytes) -> JSONCall:
    """
    :param call: as it came.
    :param body: its body with something put into ``messages``.
    :return: the call with that body; what stands behind ``messages`` has moved.
    """
    messages = call.messages_span
    if messages is None:  # pragma: no cover - a chat without messages is about no topic
        return call
    added = len(body) - len(call.body)
    start, end = call.model_span
    moved = Span(start + added, end + added) if start > messages.start else call.model_span
    return evolve(
        call,
        body=body,
        model_span=moved,
        messages_span=Span(messages.start, messages.end + added),
    )
