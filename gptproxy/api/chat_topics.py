"""
Chats about the organisation's own topics get its documents put in.

May import the knowledge, upstream and wire rooms, this room, and Twisted. It is imported only where topics are
configured, because the knowledge room brings numpy.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger

from gptproxy.api.exchange import Exchange
from gptproxy.api.json_call import JSONCall
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
from gptproxy.wire import member_spans

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

    async def augmented(self, call: JSONCall, exchange: Exchange) -> JSONCall:
        """
        :param call: a chat.
        :param exchange: learns how many passages went in; the answer's header ``x-gptproxy-passages`` says it.
        :return: the chat with prompt, preamble and passages where it is about a topic; else as it came. When the
            documents cannot be searched, prompt and preamble go in alone, and the header says ``unavailable``.
        """
        messages = call.content.get("messages")
        topic = matching_topic(self._topics, messages)
        if topic is None:
            return call
        passages = await self._passages(topic, messages, exchange)
        augmented = augment(call.body, messages, topic, passages or (), call.model)
        told = b"unavailable" if passages is None else b"%d" % len(augmented.used)
        exchange.extra_fields.append((b"x-gptproxy-passages", told))
        for name in augmented.omitted:
            self._log.warn(
                "topic {topic}: its {name} alone exceeds max_tokens and is left out",
                topic=topic.documents,
                name=name,
            )
        span = member_spans(augmented.body)["model"]
        return JSONCall(augmented.body, call.content, call.model, span)

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
