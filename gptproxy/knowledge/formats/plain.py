"""
Text without a structure of its own, and code of languages that we have no parser of.

Pure: imports nothing but the room's passages. Text is paragraphs. Code is parted where a line that
is not indented follows a blank one, or opens a body: functions and types begin there in nearly
every language.
"""

from __future__ import annotations

from collections.abc import Iterator

from gptproxy.knowledge.passages import Block, Outline

__all__ = ["code_blocks", "plain_blocks"]

_OPENS = ("{", "(", ":", "=>", "do", "begin", "then")
_CLOSES = ("}", ")", "]", "end")


def plain_blocks(text: str) -> Iterator[Block]:
    """
    :param text: the document, lines ended by ``\\n``.
    :return: its paragraphs, in order.
    """
    gathered: list[str] = []
    for line in text.split("\n"):
        if line.strip():
            gathered.append(line)
        elif gathered:
            yield Block("\n".join(gathered))
            gathered = []
    if gathered:
        yield Block("\n".join(gathered))


def code_blocks(text: str) -> Iterator[Block]:
    """
    :param text: the document, lines ended by ``\\n``.
    :return: its top-level parts, in order; one that opens a body has its first line as title.
    """
    gathered: list[str] = []
    title = ""
    after_blank = False
    for line in text.split("\n"):
        if not line.strip():
            after_blank = bool(gathered)
            if gathered:
                gathered.append("")
            continue
        top = not line[0].isspace() and not line.startswith(_CLOSES)
        if top and after_blank:
            yield _part(gathered, title)
            gathered, title = [], ""
        if top and not title and line.rstrip().endswith(_OPENS):
            title = line.rstrip().rstrip("{(:").rstrip()
        gathered.append(line)
        after_blank = False
    if gathered:
        yield _part(gathered, title)


def _part(lines: list[str], title: str) -> Block:
    outline = Outline()
    outline.enter(1, title)
    return Block("\n".join(lines).rstrip(), outline.titles(), begins=bool(title))
