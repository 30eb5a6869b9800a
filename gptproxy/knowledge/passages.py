"""
What a passage is, and how a text is cut into them.

Pure: imports nothing of gptproxy and nothing of Twisted. Markdown is read as CommonMark's block
structure as far as cutting needs it: ATX and setext headings
(https://spec.commonmark.org/0.31.2/#atx-headings), fenced code, paragraphs, front matter. Any other
text is paragraphs. A passage begins at a heading or paragraph where it can; only what is too long
by itself is cut inside, at the end of a line, a sentence, a word, or at last between two
characters. Nothing but blank lines is lost, and the same text always gives the same passages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from attrs import field, frozen

__all__ = ["CUT_VERSION", "Excerpt", "Passage", "cut"]

CUT_VERSION = 1
"""Raised with every change of the rules below, so that unchanged documents are cut again."""

# Sizes in bytes; 3.5 of them are a token (see tokens.py): 200, 300 and 500 tokens. The last is a
# hard limit.
_LEAST_BYTES = 700
_TARGET_BYTES = 1050
_MOST_BYTES = 1750
# What is longer is cut, so that a heading of ordinary length always stays with what follows it.
_PIECE_BYTES = 1500
_TITLE_CHARACTERS = 120
_FRONT_MATTER_LINES = 200

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}+(?=[^`]*+$)|~{3,}+)")
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
    :param score: its likeness to the question, higher is nearer.
    """

    passage_id: int
    source: str
    heading: str
    text: str
    score: float


@frozen
class _Block:
    """A heading, paragraph or code block, and the titles it stands under, its own included."""

    text: str
    titles: tuple[str, ...] = ()
    is_heading: bool = False


@frozen
class _Outline:
    """The headings that the current line stands under: (level, title), levels rising."""

    _open: list[tuple[int, str]] = field(factory=list)

    def enter(self, level: int, title: str) -> None:
        while self._open and self._open[-1][0] >= level:
            self._open.pop()
        self._open.append((level, " ".join(title.split())[:_TITLE_CHARACTERS]))

    def titles(self) -> tuple[str, ...]:
        return tuple(title for _, title in self._open if title)


def cut(text: str, *, markdown: bool) -> tuple[Excerpt, ...]:
    """
    Cut a document into passages of about 200 to 500 tokens.

    :param text: the whole document.
    :param markdown: whether it is Markdown; else it is plain text.
    :return: its passages, in order.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    blocks = _markdown_blocks(lines) if markdown else _plain_blocks(lines)
    return tuple(_packed(blocks))


def _plain_blocks(lines: Iterable[str]) -> Iterator[_Block]:
    gathered: list[str] = []
    for line in (*lines, ""):
        if line.strip():
            gathered.append(line)
        elif gathered:
            yield _Block("\n".join(gathered))
            gathered = []


def _markdown_blocks(lines: Sequence[str]) -> Iterator[_Block]:
    outline = _Outline()
    front = _front_matter_lines(lines)
    if front:
        yield _Block("\n".join(lines[:front]))
    gathered: list[str] = []
    fence = ""  # the marks that opened the code block we are in

    def block() -> Iterator[_Block]:
        if gathered:
            yield _Block("\n".join(gathered), outline.titles())
            gathered.clear()

    for line in lines[front:]:
        if fence:
            gathered.append(line)
            if _closes(line, fence):
                fence = ""
                yield from block()
        elif opening := _FENCE.match(line):
            yield from block()
            fence = opening[1]
            gathered.append(line)
        elif heading := _ATX.fullmatch(line):
            yield from block()
            outline.enter(len(heading[1]), _without_closing_marks(heading[2] or ""))
            yield _Block(line, outline.titles(), is_heading=True)
        elif not line.strip():
            yield from block()
        elif len(gathered) == 1 and (underline := _SETEXT.fullmatch(line)):
            outline.enter(1 if underline[1][0] == "=" else 2, gathered[0])
            yield _Block(f"{gathered.pop()}\n{line}", outline.titles(), is_heading=True)
        else:
            gathered.append(line)
    yield from block()


def _front_matter_lines(lines: Sequence[str]) -> int:
    """:return: how many lines the metadata between ``---`` at the very beginning has; 0 without."""
    if lines[0].rstrip() != "---":
        return 0
    for number, line in enumerate(lines[1:_FRONT_MATTER_LINES], start=2):
        if line.rstrip() in ("---", "..."):
            return number
    return 0


def _closes(line: str, fence: str) -> bool:
    """:return: whether the line ends the code block: the fence's mark, at least as often, alone."""
    marks = line.strip()
    return len(marks) >= len(fence) and not marks.strip(fence[0])


def _without_closing_marks(title: str) -> str:
    """:return: an ATX heading's title without the ``#`` marks that may close it."""
    bare = title.rstrip().rstrip("#")
    return bare if not bare or bare[-1] in " \t" else title


def _packed(blocks: Iterable[_Block]) -> Iterator[Excerpt]:
    """
    Join blocks to passages of the size we want.

    A small passage takes the next block in; one that has the least size ends at the next heading,
    or where the next block would carry it over the target. Headings alone never make a passage
    where something follows.
    """
    parts: list[str] = []
    size = 0
    titles: tuple[str, ...] = ()
    only_headings = True
    for block in blocks:
        for number, piece in enumerate(_pieces(block.text)):
            joint = "\n\n" if parts and number == 0 else ""
            after = size + len(joint) + len(piece.encode())
            large_enough = size >= _LEAST_BYTES and not only_headings
            if after > _MOST_BYTES or (
                large_enough and (block.is_heading or after > _TARGET_BYTES)
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
