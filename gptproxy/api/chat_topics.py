"""
Calls about the organisation's own topics get its documents put in.

May import the access, knowledge, upstream and wire rooms, this room, and Twisted. It is imported only where topics are
configured, because the knowledge room brings numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

import orjson
from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from gptproxy.access import Caller
from gptproxy.api.citation import cited
from gptproxy.api.exchange import Exchange
from gptproxy.api.json_call import WHOLE_BYTES, JSONCall
from gptproxy.api.large_chat import read_large_chat
from gptproxy.api.topic_fields import named_topics, sources_value
from gptproxy.api.turns import Turns
from gptproxy.config import AllowSettings, CollectionSettings, TopicSettings
from gptproxy.knowledge import (
    Asking,
    ChatPlaces,
    Knowledge,
    KnowledgeError,
    MatchedTopic,
    OperatorTexts,
    Passage,
    SearchOverdue,
    Source,
    TooBusy,
    augment,
    augment_response,
    conversation_of,
    matching_topics,
    operator_texts,
    question_of,
)
from gptproxy.wire import Edit, Refusal, Span, splice

__all__ = ["ChatTopics", "Readers"]

_RESPONSES: Final = "/responses"

_NOT_CITED: Final = frozenset(("tools", "functions", "response_format", "audio"))
"""Who asks with one of these reads the answer by program: nothing is added to it."""

_OF_A_RESPONSE: Final = ("instructions", "prompt")


class Readers(Protocol):
    """Who may read what: the :class:`~gptproxy.access.Authenticator` as this module uses it."""

    async def may_read(self, caller: Caller, rules: Sequence[AllowSettings]) -> bool:
        """
        :param caller: who asks.
        :param rules: who may.
        :return: whether the caller is among them.
        """
        ...  # pragma: no cover - a protocol's method has no body to run


@frozen
class _Conversation:
    """What is read of a call, as a chat's messages; and as it is, for putting something in."""

    messages: list[object]
    content: Mapping[str, object]
    places: ChatPlaces | None


@frozen
class _Said:
    """What goes in, and which topics it is of."""

    topics: tuple[TopicSettings, ...]
    texts: OperatorTexts
    cited: bool


class ChatTopics:
    """
    :param topics: in order of preference.
    :param knowledge: finds passages.
    :param collections: who may read which; those that are not there are for everybody.
    :param readers: knows the callers.
    """

    _log = Logger()

    def __init__(
        self,
        topics: Sequence[TopicSettings],
        knowledge: Knowledge,
        collections: Iterable[CollectionSettings] = (),
        readers: Readers | None = None,
    ) -> None:
        self._topics = topics
        self._knowledge = knowledge
        self._collections = {collection.name: collection for collection in collections}
        self._readers = readers

    async def augmented(
        self, call: JSONCall, exchange: Exchange, turns: Turns, caller: Caller
    ) -> JSONCall:
        """
        :param call: a chat, or a response's call.
        :param exchange: learns what went in: the answer's header ``x-gptproxy-passages`` says how many passages, or
            ``unavailable`` or ``timeout`` where the documents could not be searched; ``x-gptproxy-sources`` says which.
        :param turns: in which a large call is looked through; messages that are large themselves are about no topic.
        :param caller: what they may not read does not exist.
        :return: the call with prompts, preambles and passages where it is about a topic; else as it came. When the
            documents cannot be searched, prompts and preambles go in alone.
        :raise Refusal: 404: the header names a topic that there is not.
        """
        named = named_topics(exchange.fields)
        conversation = await self._conversation(call, exchange.route == _RESPONSES, turns)
        if conversation is None:
            return call
        matched = [
            match
            for match in matching_topics(self._topics, conversation.messages, call.model, named)
            if await self._may_consult(caller, match.topic)
        ]
        if named is not None and len({match.topic.called for match in matched}) < len(named):
            raise Refusal(
                404,
                "There is no topic of that name: send one that there is in x-gptproxy-topic, or none.",
                code="topic_not_found",
            )
        if not matched:
            return call
        may_cite = exchange.route != _RESPONSES and _NOT_CITED.isdisjoint(call.spans)
        said = await self._said(matched, conversation, exchange, caller, may_cite)
        if not said.topics:
            return call
        return self._with(call, conversation, said, exchange)

    async def _conversation(
        self, call: JSONCall, is_response: bool, turns: Turns
    ) -> _Conversation | None:
        """:return: what is read of the call; None where it has no messages that can be read."""
        name = "input" if is_response else "messages"
        content: Mapping[str, object] = call.content
        places = None
        if not call.whole:
            large = await read_large_chat(call.body, call.spans.get(name), turns)
            if large is None:
                return None
            items, places = large
            content = {name: items}
            if is_response:
                content |= _small_members(call)
        if is_response:
            messages = conversation_of(content.get("instructions"), content.get(name))
            return _Conversation(messages, content, places) if messages else None
        chat = content.get(name)
        return _Conversation(chat, content, places) if isinstance(chat, list) else None

    async def _may_consult(self, caller: Caller, topic: TopicSettings) -> bool:
        collection = self._collections.get(topic.documents)
        return collection is None or await self._among(caller, collection.allow)

    async def _among(self, caller: Caller, rules: Sequence[AllowSettings]) -> bool:
        if not rules:
            return True
        return self._readers is not None and await self._readers.may_read(caller, rules)

    async def _said(
        self,
        matched: Sequence[MatchedTopic],
        conversation: _Conversation,
        exchange: Exchange,
        caller: Caller,
        may_cite: bool,
    ) -> _Said:
        """:return: what is said; of no topics where nothing is."""

        async def may_read(name: str, source: Source) -> bool:
            collection = self._collections.get(name)
            limited = source.members_only or (collection is not None and collection.members_only)
            if source.project is None or not limited:
                return True
            return await self._among(caller, [AllowSettings(project=source.project)])

        def chosen(passages: tuple[Passage, ...]) -> _Said:
            return _chosen(matched, passages, may_cite)

        consulting: Deferred[_Said] = self._knowledge.consult(
            _askings(matched), question_of(conversation.messages), may_read, chosen
        )
        try:
            said = await consulting
        except (KnowledgeError, TooBusy) as trouble:
            told = b"timeout" if isinstance(trouble, SearchOverdue) else b"unavailable"
            exchange.extra_fields.append((b"x-gptproxy-passages", told))
            exchange.topics = ",".join(match.topic.called for match in matched)
            self._log.error(
                "{request_id}: no documents for topic {topic}: {trouble}",
                request_id=exchange.request_id,
                topic=exchange.topics,
                trouble=str(trouble),
            )
            return chosen(())
        if said.topics:
            told = b"%d" % len(said.texts.used)
            exchange.extra_fields.append((b"x-gptproxy-passages", told))
            exchange.topics = ",".join(topic.called for topic in said.topics)
            exchange.passages = len(said.texts.used)
        return said

    def _with(
        self, call: JSONCall, conversation: _Conversation, said: _Said, exchange: Exchange
    ) -> JSONCall:
        texts = said.texts
        for topic, name in texts.omitted:
            self._log.warn(
                "topic {topic}: its {name} alone exceeds max_tokens and is left out",
                topic=topic,
                name=name,
            )
        if texts.used:
            exchange.extra_fields.append((b"x-gptproxy-sources", sources_value(texts.used)))
        if exchange.route == _RESPONSES:
            edit = augment_response(
                call.body, conversation.content, call.spans, texts, conversation.places
            )
        else:
            edit = augment(call.body, conversation.messages, texts, call.model, conversation.places)
        moved = _moved(call, edit)
        if said.cited and texts.used:
            return evolve(moved, answered=lambda answer: cited(answer, texts.used))
        return moved


def _small_members(call: JSONCall) -> dict[str, object]:
    """:return: what else decides where something is put into a large response's call."""
    found: dict[str, object] = {}
    for name in _OF_A_RESPONSE:
        span = call.spans.get(name)
        if span is not None:
            start, end = span
            try:
                found[name] = (
                    orjson.loads(call.body[start:end]) if end - start <= WHOLE_BYTES else ...
                )
            except orjson.JSONDecodeError:
                found[name] = ...  # a number beyond a float's range: the upstream says so
    return found


def _askings(matched: Iterable[MatchedTopic]) -> list[Asking]:
    """:return: each collection once, for the topic that asks least of its passages."""
    least: dict[str, float] = {}
    for match in matched:
        topic = match.topic
        least[topic.documents] = min(topic.min_score, least.get(topic.documents, 1.0))
    return [Asking(name, min_score) for name, min_score in least.items()]


def _chosen(matched: Iterable[MatchedTopic], passages: Sequence[Passage], may_cite: bool) -> _Said:
    """:return: what the topics say, those that always are only if there is something to say."""
    topics: list[TopicSettings] = []
    kept: dict[int, Passage] = {}
    for match in matched:
        topic = match.topic
        own = [
            passage
            for passage in passages
            if passage.collection == topic.documents
            and (not topic.min_score or (passage.similarity or 0.0) >= topic.min_score)
        ]
        if match.chosen or own:
            topics.append(topic)
            kept |= {passage.passage_id: passage for passage in own}
    if not topics:
        return _Said((), OperatorTexts((), (), ()), False)
    cite = may_cite and any(topic.cite for topic in topics)
    return _Said(tuple(topics), operator_texts(topics, [*kept.values()], cite=cite), cite)


def _moved(call: JSONCall, edit: Edit | None) -> JSONCall:
    """
    :param call: as it came.
    :param edit: what is put into it.
    :return: the call with it; what stands behind has moved.
    """
    if edit is None:
        return call
    body = splice(call.body, [edit])
    added = len(body) - len(call.body)

    def moved(span: Span) -> Span:
        start, end = span
        return Span(
            start + added if start >= edit.end else start, end + added if end >= edit.end else end
        )

    return evolve(
        call,
        body=body,
        model_span=moved(call.model_span),
        messages_span=None if call.messages_span is None else moved(call.messages_span),
        spans={name: moved(span) for name, span in call.spans.items()},
    )
