"""
What a passage is, and how the blocks of a document are joined to passages.

Pure: imports nothing of gptproxy and nothing of Twisted. The blocks come from the document's own
structure (see ``formats``): headings, paragraphs, code blocks, functions. A passage begins at one
where it can; only what is too long by itself is cut inside, at the end of a line, a sentence, a
word, or at last between two characters. Nothing but blank lines is lost, and the same blocks always
give the same passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from attrs import field, frozen

__all__ = ["CUT_VERSION", "Block", "Excerpt", "Outline", "Passage", "pack"]

CUT_VERSION = 2
"""Raised with every change of the rules, here and in ``formats``: unchanged documents are cut again."""

# Sizes in bytes; 3.5 of them are a token (see tokens.py): 200, 300 and 500 tokens. The last is a
# hard limit.
_LEAST_BYTES = 700
_TARGET_BYTES = 1050
_MOST_BYTES = 1750
# What is longer is cut, so that a heading of ordinary length always stays with what follows it.
_PIECE_BYTES = 1500
_TITLE_CHARACTERS = 120

_SENTENCE_END = re.compile(rb"[.!?][\"')\]]*+[ \t]|\xe3\x80\x82|\xef\xbc\x81|\xef\xbc\x9f")


@frozen
class Excerpt:
    """
    One passage of a document.

    :param heading: the titles it stands under, outermost first, joined by `` / ``; empty without
        any.
    :param text: its text, not blank, at most 1,750 bytes.
    """

    heading: str
    text: str


@frozen
class Passage:
    """
    A passage that was found for a question.

    :param passage_id: its id in the database.
    :param source: the name of the document it is from.
    :param heading: the titles it stands under, outermost first; may be empty.
    :param text: its text.
    :param score: how well it answers the question, higher is better: of the ranks that words and
        vectors gave it.
    :param similarity: of its vector and the question's, -1 to 1; None where there is none.
    :param collection: the name of the one it is in.
    """

    passage_id: int
    source: str
    heading: str
    text: str
    score: float
    similarity: float | None = None
    collection: str = ""


@frozen
class Block:
    """
    A part of a document that is not cut where it can be helped.

    :param text: as it stands in the document.
    :param titles: the titles that it stands under, outermost first, its own included.
    :param is_heading: it is a heading: it belongs to what follows.
    :param begins: a passage had better begin here: a heading, a function.
    :param joint: what parts it from the block before it.
    """

    text: str
    titles: tuple[str, ...] = ()
    is_heading: bool = False
    begins: bool = False
    joint: str = "\n\n"


@frozen
class Outline:
    """The headings that the current line stands under: (level, title), levels rising."""

    _open: list[tuple[int, str]] = field(factory=list)

    def enter(self, level: int, title: str) -> None:
        """
        Pass a heading.

        :param level: 1 is the outermost.
        :param title: its text; cut after 120 characters.
        """
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(title.split())[:_TITLE_CHARACTERS]))

    def titles(self) -> tuple[str, ...]:
        """:return: the titles that what follows stands under, outermost first."""
        return tuple(title for _, title in self._open if title)


def pack(blocks: Iterable[Block]) -> Iterator[Excerpt]:
    """
    Join blocks to passages of about 200 to 500 tokens.

    A small passage takes the next block in; one that has the least size ends at the next heading or
    function, or where the next block would carry it over the target. Headings alone never make a
    passage where something follows.

    :param blocks: of one document, in order.
    :return: its passages, in order.
    """
    parts: list[str] = []
    size = 0
    titles: tuple[str, ...] = ()
    only_headings = True
    for block in blocks:
        for number, piece in enumerate(_pieces(block.text)):
            joint = block.joint if parts and number == 0 else ""
            after = size + len(joint) + len(piece.encode())
            large_enough = size >= _LEAST_BYTES and not only_headings
            if after > _MOST_BYTES or (
                large_enough and ((block.begins and number == 0) or after > _TARGET_BYTES)
            ):
                yield from _excerpt(parts, titles)
                parts, size, only_headings, joint = [], 0, True, ""
            titles = block.titles if only_headings else _common(titles, block.titles)
            only_headings = only_headings and block.is_heading
            parts += (joint, piece)
            size += len(joint) + len(piece.encode())
    yield from _excerpt(parts, titles)


def _excerpt(parts: Iterable[str], titles: Iterable[str]) -> Iterator[Excerpt]:
    text = "".join(parts).strip("\n")
    if text.strip():
        yield Excerpt(" / ".join(titles), text)


def _common(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    """:return: the titles that both stand under."""
    shared = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        shared += 1
    return tuple(first[:shared])


def _pieces(text: str) -> Iterator[str]:
    """:return: pieces of at most ``_PIECE_BYTES`` that are the text when joined by nothing."""
    data = text.encode()
    start = 0
    while len(data) - start > _PIECE_BYTES:
        end = _best_end(data, start, start + _PIECE_BYTES)
        yield data[start:end].decode()
        start = end
    yield data[start:].decode()


def _best_end(data: bytes, start: int, limit: int) -> int:
    """:return: where to cut ``data[start:limit]``: behind a line, sentence, word or character."""
    line_end = data.rfind(b"\n", start, limit) + 1
    if line_end > start:
        return line_end
    sentence_end = max(
        (match.end() for match in _SENTENCE_END.finditer(data, start, limit)), default=start
    )
    if sentence_end > start:
        return sentence_end
    word_end = data.rfind(b" ", start, limit) + 1
    if word_end > start:
        return word_end
    while (
        data[limit] & 0xC0 == 0x80
    ):  # a continuation byte (RFC 3629 section 3): step back to its character's first
        limit -= 1
    return limit
