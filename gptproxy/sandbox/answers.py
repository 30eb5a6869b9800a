"""What the sandbox says: a sentence on the question, and on the documents put before it.

A person who tries the product must see that retrieval works, so the answer names the passages
that the operator's messages quote and gives the first sentence of the one nearest the question.

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from attrs import frozen

from gptproxy.sandbox.embeddings import embed
from gptproxy.sandbox.messages import JsonObject

__all__ = ["Passage", "answer_text", "last_user_text", "passages", "text_of"]

_SUMMARY = 160  # characters of the question that are repeated
_WORDS = 3  # that a document has at least
_SENTENCE = 300  # characters of a document that are quoted

#: How quoted data is fenced in practice: an element whose end repeats a token of its beginning, a
#: plain element, a pair of marker lines, a Markdown fence.
_FENCES = (
    re.compile(
        r"<(?P<tag>[\w-]+)(?P<info>[^>]*\bfence=\"(?P<token>[^\"]+)\"[^>]*)>"
        r"(?P<text>.*?)</(?P=tag) (?P=token)>",
        re.DOTALL,
    ),
    re.compile(
        r"<(?P<tag>[\w-]*(?:document|passage|excerpt|source|quote|context)[\w-]*)(?P<info>[^>]*)>"
        r"(?P<text>.*?)</(?P=tag)\b",
        re.DOTALL | re.IGNORECASE,
    ),
    re.compile(
        r"^[^\w\n]*BEGIN\b(?P<info>[^\n]*)\n(?P<text>.*?)^[^\w\n]*END\b",
        re.DOTALL | re.MULTILINE | re.IGNORECASE,
    ),
    re.compile(
        r"^(?P<tag>`{3,}|~{3,}|\"{3,})(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=tag)",
        re.DOTALL | re.MULTILINE,
    ),
)
_NAME = re.compile(
    r"\b(?:source|title|name|path|file|document)\s*[=:]\s*(?:\"([^\"]+)\"|'([^']+)'|([^\s>\"']+))",
    re.IGNORECASE,
)
_PATH = re.compile(r"[\w./#-]+\.(?:md|txt|rst|adoc)\b[\w#-]*", re.IGNORECASE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_SENTENCE_END = re.compile(r".+?[.!?](?=\s|$)", re.DOTALL)


@frozen
class Passage:
    """A quoted piece of documentation: what it is called, and its text."""

    name: str
    text: str


def text_of(content: object) -> str:
    """
    :param content: a message's ``content``: a string, a list of parts, or null.
    :return: its text; parts that are not text are left out.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "\n".join(text for text in texts if isinstance(text, str))


def last_user_text(messages: Sequence[JsonObject]) -> str:
    """
    :param messages: of a chat request.
    :return: the text of the last message of the user, empty where there is none.
    """
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message.get("content"))
    return ""


def _name_of(info: str, text: str, number: int) -> str:
    named = _NAME.search(info)
    if named is not None:
        return next(group for group in named.groups() if group)
    found = _PATH.search(info)
    if found is not None:
        return found.group()
    heading = _HEADING.search(text)
    return heading.group(1) if heading is not None else f"passage {number}"


def _fenced(text: str) -> Iterator[tuple[str, str]]:
    for fence in _FENCES:
        pairs = [(match["info"], match["text"].strip()) for match in fence.finditer(text)]
        # A sentence that explains the fences, "between <document> and </document>", quotes none.
        found = [pair for pair in pairs if len(pair[1].split()) >= _WORDS]
        if found:
            # The outermost kind of fence only: Markdown inside an element keeps its own fences.
            yield from found
            return


def passages(messages: Sequence[JsonObject]) -> tuple[Passage, ...]:
    """
    :param messages: of a chat request.
    :return: the documents quoted in system and developer messages. Where nothing is fenced,
        every such message after the first counts as one: the first holds the instructions.
    """
    instructions = [
        text_of(message.get("content"))
        for message in messages
        if message.get("role") in ("system", "developer")
    ]
    found = [pair for text in instructions for pair in _fenced(text)]
    found = found or [("", text) for text in instructions[1:]]
    return tuple(
        Passage(_name_of(info, text, number), text)
        for number, (info, text) in enumerate((pair for pair in found if pair[1].strip()), 1)
    )


def _first_sentence(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    prose = " ".join(line for line in lines if line and not line.startswith(("#", "```", "---")))
    end = _SENTENCE_END.match(prose)
    return (end.group() if end is not None else prose)[:_SENTENCE]


def _summary(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _SUMMARY else flat[: _SUMMARY - 1] + "…"


def answer_text(messages: Sequence[JsonObject], model: str) -> str:
    """
    :param messages: of a chat request.
    :param model: the model as the caller named it.
    :return: the answer; it depends on nothing but these two.
    """
    question = last_user_text(messages)
    result = messages[-1] if messages else {}
    said = f'This is the sandbox, standing in for {model}. You asked: "{_summary(question)}"'
    if result.get("role") == "tool":
        return f'{said} The tool answered: "{_summary(text_of(result.get("content")))}"'
    quoted = passages(messages)
    if not quoted:
        return said
    wanted = embed(question)
    best = max(quoted, key=lambda passage: float(wanted @ embed(passage.text)))
    names = ", ".join(dict.fromkeys(passage.name for passage in quoted))
    count = "1 passage" if len(quoted) == 1 else f"{len(quoted)} passages"
    return (
        f"{said} I was given {count} of documentation ({names}). "
        f'The nearest, {best.name}, begins: "{_first_sentence(best.text)}"'
    )
