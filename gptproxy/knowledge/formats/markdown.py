"""
Markdown, cut where CommonMark sees blocks: headings, paragraphs, list items, code, tables.

Pure: imports markdown-it-py and the room's passages. Every block is a range of the document's own
lines, so what a block parser has no name for (link definitions, front matter) is kept as it stands.
https://spec.commonmark.org/0.31.2/, https://markdown-it-py.readthedocs.io/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen
from markdown_it import MarkdownIt

from gptproxy.knowledge.passages import Block, Outline

__all__ = ["markdown_blocks"]

_FRONT_MATTER_LINES = 200


def _block_parser() -> MarkdownIt:
    """:return: a parser of blocks only: what stands inside a line does not move a cut."""
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


_PARSER: Final = _block_parser()
_ITEMS: Final = frozenset({"bullet_list_open", "ordered_list_open"})


@frozen
class _Range:
    """Lines ``[begin, end)`` of the document; level and title where they are a heading."""

    begin: int
    end: int
    level: int = 0
    title: str = ""
    joint: str = "\n\n"


def markdown_blocks(text: str) -> Iterator[Block]:
    """
    :param text: the document, lines ended by ``\\n``.
    :return: its blocks, in order.
    """
    outline = Outline()
    lines = text.split("\n")
    done = _front_matter_lines(lines)
    if done:
        yield Block("\n".join(lines[:done]))
    for found in _ranges("\n" * done + "\n".join(lines[done:])):
        if found.end <= done:
            continue
        yield from _between(lines, done, found.begin, outline)
        done = found.end
        last = done
        while last > found.begin and not lines[last - 1].strip():
            last -= 1
        part = "\n".join(lines[found.begin : last])
        if found.level:
            outline.enter(found.level, found.title)
            yield Block(part, outline.titles(), is_heading=True, begins=True)
        elif part:
            yield Block(part, outline.titles(), joint=found.joint)
    yield from _between(lines, done, len(lines), outline)


def _between(lines: Sequence[str], begin: int, end: int, outline: Outline) -> Iterator[Block]:
    """:return: what stands between two blocks and is not blank: definitions of links."""
    part = "\n".join(lines[begin:end]).strip("\n")
    if part.strip():
        yield Block(part, outline.titles())


def _ranges(text: str) -> Iterator[_Range]:
    """:return: the outermost blocks, lists by their items, in order and apart from each other."""
    tokens = _PARSER.parse(text)
    for number, token in enumerate(tokens):
        if token.map is None:
            continue
        begin, end = token.map
        if token.level == 0 and token.type not in _ITEMS and token.nesting >= 0:
            if token.type == "heading_open":
                # The token behind it is the heading's text.
                yield _Range(begin, end, int(token.tag[1:]), tokens[number + 1].content)
            else:
                yield _Range(begin, end)
        elif token.type == "list_item_open" and token.level == 1:
            yield _Range(begin, end, joint="\n")


def _front_matter_lines(lines: Sequence[str]) -> int:
    """:return: how many lines the metadata between ``---`` at the very beginning has; 0 without."""
    if lines[0].rstrip() != "---":
        return 0
    for number, line in enumerate(lines[1:_FRONT_MATTER_LINES], start=2):
        if line.rstrip() in ("---", "..."):
            return number
    return 0
