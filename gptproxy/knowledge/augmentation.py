"""
What is put into a chat about a topic, and where.

Pure: values in, values out; nothing of Twisted. First it is chosen what is said
(:func:`operator_texts`, the same for every API), then that is spliced into the body of a chat
completion (:func:`augment`), every other byte of which stays as it is. The messages go behind the
leading block of system and developer messages: before anything of the conversation, so never
between a tool call and its result, and stable text comes first, so that the upstream's prompt cache
keeps hitting.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import orjson
from attrs import frozen

from gptproxy.config.knowledge_settings import TopicSettings
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.quotation import NOTICE, quoted
from gptproxy.knowledge.tokens import token_bound
from gptproxy.wire import Edit, Span, element_spans, member_spans, splice

__all__ = [
    "Augmented",
    "ChatPlaces",
    "OperatorTexts",
    "augment",
    "is_operators",
    "operator_role",
    "operator_texts",
]

_OPERATOR_ROLES = ("system", "developer")

# From o1 on, `developer` replaces `system`; a fine-tuned model is called after its base.
_DEVELOPER_MODELS = re.compile(r"(?:ft:)?(?:o\d|gpt-5)")


@frozen
class OperatorTexts:
    """
    What is said in the operator's role.

    :param texts: one message each: prompt, preamble, then a passage each.
    :param used: the passages among them.
    :param omitted: ``"prompt"`` or ``"preamble"`` where it was left out because it exceeds the
        topic's ``max_tokens``.
    """

    texts: tuple[str, ...]
    used: tuple[Passage, ...]
    omitted: tuple[str, ...]


@frozen
class Augmented:
    """
    A chat with what our documents say.

    :param body: the bytes to send upstream.
    :param used: the passages in it.
    :param omitted: as in :class:`OperatorTexts`, for the log.
    """

    body: bytes
    used: tuple[Passage, ...]
    omitted: tuple[str, ...]


@frozen
class ChatPlaces:
    """
    Where a chat's messages stand in its body.

    :param array: the array.
    :param elements: the messages, as many as there are in the sequence that was read.
    """

    array: Span
    elements: Sequence[Span]


def augment(
    body: bytes,
    messages: object,
    topic: TopicSettings,
    passages: Sequence[Passage],
    model: str,
    places: ChatPlaces | None = None,
) -> Augmented:
    """
    Put a topic's prompt, preamble and passages into a chat completion.

    :param body: the request's body, which orjson has parsed.
    :param messages: its ``messages`` as parsed. Where it is no list the body stays as it is: the
        upstream tells its caller what is wrong with it.
    :param topic: what the chat is about.
    :param passages: what was found, in any order; the best scores go first.
    :param model: the model's OpenAI name, which decides the role where the chat has no message of
        the operator's.
    :param places: where ``messages`` stands, if that is known: of a large chat only the messages
        that lead, one behind them, and the last are given. Otherwise it is found here.
    :return: the new body and what is in it.
    :raise gptproxy.wire.NotAnObject: the body is no object.
    :raise gptproxy.wire.DuplicateMember: a name occurs twice at its top level.
    """
    chosen = operator_texts(topic, passages)
    if not isinstance(messages, list) or not chosen.texts:
        return Augmented(body, (), chosen.omitted)
    role = operator_role(messages, model)
    inserted = b",".join(orjson.dumps({"role": role, "content": text}) for text in chosen.texts)
    if places is None:
        array = member_spans(body)["messages"]
        places = ChatPlaces(array, element_spans(body, array))
    elements = places.elements
    leading = _leading(messages)
    if leading:
        place, inserted = elements[leading - 1].end, b"," + inserted
    elif elements:
        place, inserted = elements[0].start, inserted + b","
    else:
        place = places.array.start + 1
    return Augmented(splice(body, [Edit(place, place, inserted)]), chosen.used, chosen.omitted)


def operator_texts(topic: TopicSettings, passages: Sequence[Passage]) -> OperatorTexts:
    """
    Choose what is said in the operator's role, within the topic's ``max_tokens``.

    Prompt and preamble come first; then the passages by score while they fit. One that does not fit
    is left out and the next is tried.

    :param topic: the operator's texts and the bound.
    :param passages: what was found, in any order.
    :return: the texts, whose :func:`~gptproxy.knowledge.tokens.token_bound` together is at most the
        bound.
    """
    room = topic.max_tokens
    kept = {"prompt": topic.prompt, "preamble": topic.preamble}
    omitted = []
    for name, text in kept.items():
        need = token_bound(text)
        if need > room:
            omitted.append(name)
            kept[name] = ""
        else:
            room -= need
    prompt, preamble = kept.values()
    notice = f"\n\n{NOTICE}" if prompt else NOTICE
    room -= token_bound(notice)
    used: list[Passage] = []
    quotations: list[str] = []
    for passage in sorted(passages, key=lambda passage: (-passage.score, passage.passage_id)):
        if token_bound(passage.text) > room:
            continue  # without the work of quoting it
        quotation = quoted(passage)
        need = token_bound(quotation)
        if need <= room:
            room -= need
            used.append(passage)
            quotations.append(quotation)
    if used:
        prompt += notice
    return OperatorTexts(
        tuple(text for text in (prompt, preamble, *quotations) if text), tuple(used), tuple(omitted)
    )


def operator_role(messages: Sequence[object], model: str) -> str:
    """
    Choose the role that the upstream reads as the operator's.

    :param messages: the chat's messages, of any shape.
    :param model: the model's OpenAI name.
    :return: the role of the chat's first system or developer message; else what the model's
        generation calls it.
    """
    for message in messages:
        role = _operator_role_of(message)
        if role is not None:
            return role
    return "developer" if _DEVELOPER_MODELS.match(model) else "system"


def is_operators(message: object) -> bool:
    """
    :param message: one parsed message, of any shape.
    :return: whether it is a system or developer message.
    """
    return _operator_role_of(message) is not None


def _leading(messages: Sequence[object]) -> int:
    """:return: how many messages of the operator's role the chat begins with."""
    for count, message in enumerate(messages):
        if not is_operators(message):
            return count
    return len(messages)


def _operator_role_of(message: object) -> str | None:
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) and role in _OPERATOR_ROLES else None
