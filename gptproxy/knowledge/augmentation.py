"""
What is put into a chat about a topic, and where.

Pure: values in, values out; nothing of Twisted. First it is chosen what is said
(:func:`operator_texts`, the same for every API), then that is spliced into the body of a chat
completion (:func:`augment`) or of a response (``response_call``), every other byte of which stays
as it is. The messages go behind the
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
from gptproxy.knowledge.quotation import CITE_NOTICE, NOTICE, quoted
from gptproxy.knowledge.tokens import token_bound
from gptproxy.wire import Edit, Span, element_spans, member_spans

__all__ = [
    "ChatPlaces",
    "OperatorTexts",
    "augment",
    "insertion",
    "is_operators",
    "operator_role",
    "operator_texts",
]

_OPERATOR_ROLES = ("system", "developer")

# From o1 on, `developer` replaces `system`; a fine-tuned model is called after its base.
_DEVELOPER_MODELS = re.compile(r"(?:ft:)?(?:o\d|gpt-5)")


_MOST_CHARACTERS = 16
"""More than these no token has but one of spaces or of a ruler's dashes."""


@frozen
class OperatorTexts:
    """
    What is said in the operator's role.

    :param texts: one message each: prompts, preambles, then a passage each.
    :param used: the passages among them, in their order.
    :param omitted: the topic's name and ``"prompt"`` or ``"preamble"``, where that was left out
        because it exceeds ``max_tokens``.
    """

    texts: tuple[str, ...]
    used: tuple[Passage, ...]
    omitted: tuple[tuple[str, str], ...]


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
    chosen: OperatorTexts,
    model: str,
    places: ChatPlaces | None = None,
) -> Edit | None:
    """
    Put texts into a chat completion, in the operator's role.

    :param body: the request's body, which orjson has parsed.
    :param messages: its ``messages`` as parsed. Where it is no list the body stays as it is: the
        upstream tells its caller what is wrong with it.
    :param chosen: what is said.
    :param model: the model's OpenAI name, which decides the role where the chat has no message of
        the operator's.
    :param places: where ``messages`` stands, if that is known: of a large chat only the messages
        that lead, one behind them, and some of the last are given. Otherwise it is found here.
    :return: what is to be done to the body; None where nothing is.
    :raise gptproxy.wire.NotAnObject: the body is no object.
    :raise gptproxy.wire.DuplicateMember: a name occurs twice at its top level.
    """
    if not isinstance(messages, list) or not chosen.texts:
        return None
    role = operator_role(messages, model)
    inserted = b",".join(orjson.dumps({"role": role, "content": text}) for text in chosen.texts)
    if places is None:
        array = member_spans(body)["messages"]
        places = ChatPlaces(array, element_spans(body, array))
    return insertion(messages, places, inserted)


def insertion(messages: Sequence[object], places: ChatPlaces, inserted: bytes) -> Edit:
    """
    Place new elements behind the operator's that lead.

    :param messages: the array's elements as parsed, of any shape.
    :param places: where they stand.
    :param inserted: elements as JSON, with commas between them.
    :return: the edit.
    """
    elements = places.elements
    leading = _leading(messages)
    if leading:
        place, inserted = elements[leading - 1].end, b"," + inserted
    elif elements:
        place, inserted = elements[0].start, inserted + b","
    else:
        place = places.array.start + 1
    return Edit(place, place, inserted)


def operator_texts(
    topics: Sequence[TopicSettings], passages: Sequence[Passage], *, cite: bool = False
) -> OperatorTexts:
    """
    Choose what is said in the operator's role, within the largest ``max_tokens`` of the topics.

    Prompts and preambles come first, in the topics' order; then the passages by score while they
    fit. One that does not fit is left out and the next is tried. Some milliseconds, so for pool
    threads.

    :param topics: the operator's texts and the bound; at least one.
    :param passages: what was found, in any order.
    :param cite: the answer is to refer to them by numbers, which are their places among those that
        are used, counted from 1.
    :return: the texts, whose :func:`~gptproxy.knowledge.tokens.token_bound` together is at most the
        bound.
    """
    room = max(topic.max_tokens for topic in topics)
    omitted = []
    kept: dict[str, list[str]] = {"prompt": [], "preamble": []}
    for name, texts in kept.items():
        for topic in topics:
            text: str = getattr(topic, name)
            need = token_bound(text)
            if need > room:
                omitted.append((topic.called, name))
            elif text:
                room -= need
                texts.append(text)
    notice = NOTICE + CITE_NOTICE if cite else NOTICE
    if kept["prompt"]:
        notice = f"\n\n{notice}"
    room -= token_bound(notice)
    used: list[Passage] = []
    quotations: list[str] = []
    for passage in sorted(passages, key=lambda passage: (-passage.score, passage.passage_id)):
        if len(passage.text) > room * _MOST_CHARACTERS:
            continue  # without the work of quoting it
        quotation = quoted(passage, len(used) + 1 if cite else None)
        need = token_bound(quotation)
        if need <= room:
            room -= need
            used.append(passage)
            quotations.append(quotation)
    prompts = kept["prompt"]
    if used:
        prompts = [prompts[0] + notice, *prompts[1:]] if prompts else [notice]
    return OperatorTexts((*prompts, *kept["preamble"], *quotations), tuple(used), tuple(omitted))


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
