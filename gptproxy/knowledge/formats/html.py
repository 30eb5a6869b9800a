"""
HTML, read as its text with headings, paragraphs, list items, cells and code.

Pure: imports the standard library and the room's passages. ``html.parser`` takes whatever it is
given, runs nothing and fetches nothing. https://docs.python.org/3/library/html.parser.html
"""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

from gptproxy.knowledge.passages import Block, Outline

__all__ = ["html_blocks"]

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# Elements that begin on a line of their own, https://html.spec.whatwg.org/multipage/rendering.html
_BREAKING = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "br",
        "caption",
        "center",
        "dd",
        "details",
        "dialog",
        "dir",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hgroup",
        "hr",
        "html",
        "legend",
        "li",
        "main",
        "menu",
        "nav",
        "ol",
        "optgroup",
        "option",
        "p",
        "section",
        "summary",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "tr",
        "ul",
    ]
)
_UNSHOWN = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_EMPTY = frozenset({"br", "hr"})


class _Reader(HTMLParser):
    """Gathers blocks while it is fed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self._outline = Outline()
        self._gathered: list[str] = []
        self._heading = 0
        self._preformatted = 0
        self._unshown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        if tag in _UNSHOWN:
            self._unshown.append(tag)
        elif tag in _HEADINGS:
            self.end_block()
            self._heading = _HEADINGS[tag]
        elif tag == "pre":
            self.end_block()
            self._preformatted += 1
        elif tag in ("td", "th"):
            self._gathered.append(" | " if self._gathered else "")
        elif tag in _BREAKING:
            self._break(tag)
            if tag == "li":
                self._gathered.append("- ")

    def handle_endtag(self, tag: str) -> None:
        """End an element, whether it was begun or not."""
        if tag in self._unshown:
            while self._unshown.pop() != tag:
                pass
        elif tag in _HEADINGS:
            self.end_block()
            self._heading = 0
        elif tag == "pre":
            self.end_block()
            self._preformatted = max(0, self._preformatted - 1)
        elif tag in _BREAKING:
            self._break(tag)

    def handle_data(self, data: str) -> None:
        """Take text."""
        if not self._unshown:
            self._gathered.append(data if self._preformatted else _spaced(data))

    def end_block(self) -> None:
        """What was gathered is a block."""
        text = "".join(self._gathered)
        self._gathered.clear()
        text = text.strip("\n").rstrip() if self._preformatted else text.strip()
        if not text or text == "-":
            return
        if self._heading:
            self._outline.enter(self._heading, text)
        self.blocks.append(
            Block(
                text,
                self._outline.titles(),
                is_heading=bool(self._heading),
                begins=bool(self._heading),
                joint="\n" if text.startswith("- ") else "\n\n",
            )
        )

    def _break(self, tag: str) -> None:
        if self._preformatted:
            if tag in _EMPTY:
                self._gathered.append("\n")
        elif not self._heading:
            self.end_block()


def html_blocks(text: str) -> Iterator[Block]:
    """
    :param text: the document.
    :return: its blocks, in order.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.end_block()
    return iter(reader.blocks)


def _spaced(data: str) -> str:
    """:return: the text with every run of white space as one space, those at its ends included."""
    words = " ".join(data.split())
    if not words:
        return " " if data else ""
    return f"{' ' if data[0].isspace() else ''}{words}{' ' if data[-1].isspace() else ''}"
