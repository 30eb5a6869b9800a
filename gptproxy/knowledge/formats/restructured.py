"""
reStructuredText, cut where docutils sees sections, paragraphs, list items, code and directives.

Pure: imports docutils and the room's passages. Nothing is included, fetched or run: file insertion
and raw content are off. Directives and roles that only Sphinx knows are kept as they are written,
the bodies of its descriptions (``.. function::``) read as text of their own.
https://docutils.sourceforge.io/docs/ref/doctree.html,
https://docutils.sourceforge.io/docs/howto/security.html
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import cast

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Directive, Parser
from docutils.parsers.rst.directives import register_directive
from docutils.utils import new_document

from gptproxy.knowledge.formats.plain import plain_blocks
from gptproxy.knowledge.passages import Block, Outline

__all__ = ["restructured_blocks"]

# Descriptions in descriptions, as methods in a class; deeper ones stay text.
_NESTED_MOST = 6
# docutils takes time with the square of some texts' length (measured: 2.7 s for 1 MiB of Python's own
# documentation); what is larger is generated, and is cut at its paragraphs.
_BYTES_MOST = 2 * 1024 * 1024

_DIRECTIVE = re.compile(r"\.\. +(?P<kind>[\w:.+-]+?)::(?:[ \t]+(?P<argument>[^\n]*))?")
_DESCRIPTIONS = frozenset(
    [
        "attribute",
        "class",
        "cfunction",
        "cmacro",
        "cmember",
        "cvar",
        "ctype",
        "decorator",
        "describe",
        "data",
        "envvar",
        "exception",
        "function",
        "macro",
        "member",
        "method",
        "module",
        "classmethod",
        "staticmethod",
        "object",
        "option",
        "opcode",
        "program",
        "type",
        "var",
    ]
)


class _Description(Directive):
    """To docutils ``class`` is a style and says nothing; in documentation it is Sphinx's, a description."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """:return: what docutils says to a directive that it does not know."""
        quoted = nodes.literal_block(self.block_text, self.block_text)
        return [self.state_machine.reporter.error("", quoted, line=self.lineno)]


register_directive("class", _Description)

_SETTINGS = {
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "halt_level": 5,
    # docutils tells what it cannot read in the tree; nobody reads it from a stream.
    "report_level": 5,
    "warning_stream": False,
    "syntax_highlight": "none",
    "_disable_config": True,
}
_CONTAINERS = (
    nodes.Admonition,
    nodes.admonition,
    nodes.block_quote,
    nodes.compound,
    nodes.container,
    nodes.figure,
    nodes.line_block,
    nodes.sidebar,
    nodes.topic,
    nodes.definition_list,
    nodes.field_list,
    nodes.option_list,
)
_UNTOLD = (nodes.comment, nodes.pending, nodes.target, nodes.transition, nodes.Invisible)


def restructured_blocks(text: str) -> Iterator[Block]:
    """
    :param text: the document, lines ended by ``\\n``.
    :return: its blocks, in order; those of plain text where docutils cannot read it.
    """
    if len(text) > _BYTES_MOST:
        return plain_blocks(text)
    try:
        return iter(list(_Walk(Outline()).document(text)))
    except (RecursionError, ArithmeticError, AttributeError, LookupError):
        return plain_blocks(text)  # docutils itself has failed
    except (AssertionError, TypeError, ValueError):
        return plain_blocks(text)


class _Walk:
    """Walks a document tree, and those of the descriptions in it."""

    def __init__(self, outline: Outline, level: int = 1, depth: int = 0) -> None:
        self._outline = outline
        self._level = level
        self._depth = depth

    def document(self, text: str) -> Iterator[Block]:
        settings = get_default_settings(Parser)
        for name, value in _SETTINGS.items():
            setattr(settings, name, value)
        document = new_document("", settings)
        Parser().parse(text, document)
        yield from self._blocks(document, self._level)

    def _blocks(self, parent: nodes.Element, level: int) -> Iterator[Block]:
        for node in parent.children:
            if isinstance(node, nodes.section):
                yield from self._section(node, level)
            elif isinstance(node, nodes.system_message):
                yield from self._unread(node, level)
            elif isinstance(node, (nodes.bullet_list, nodes.enumerated_list)):
                for mark, item in _items(node):
                    yield self._block(f"{mark}{_indented(_text(item), len(mark))}", joint="\n")
            elif isinstance(node, _CONTAINERS):
                yield from self._blocks(cast(nodes.Element, node), level)
            elif not isinstance(node, _UNTOLD) and (text := _text(node)).strip():
                yield self._block(text)

    def _section(self, section: nodes.Element, level: int) -> Iterator[Block]:
        for node in section.children[:1]:
            title = _text(node)
            self._outline.enter(level, title)
            yield Block(title, self._outline.titles(), is_heading=True, begins=True)
        del section[0]
        yield from self._blocks(section, level + 1)

    def _unread(self, message: nodes.Element, level: int) -> Iterator[Block]:
        """What docutils does not know, it quotes."""
        if message.get("level", 0) < 2 or "Title underline" in message.astext():
            return
        for node in message.children:
            if isinstance(node, nodes.literal_block):
                yield from self._directive(node.astext().rstrip(), level)

    def _directive(self, text: str, level: int) -> Iterator[Block]:
        found = _DIRECTIVE.match(text)
        if (
            found is None
            or found["kind"].rpartition(":")[2] not in _DESCRIPTIONS
            or self._depth == _NESTED_MOST
        ):
            yield self._block(text)
            return
        # The lines of the head: the marker's, and those of further arguments and options.
        head, _, body = text.partition("\n\n")
        self._outline.enter(level, found["argument"] or found["kind"])
        yield Block(head, self._outline.titles(), is_heading=bool(body.strip()), begins=True)
        if body.strip():
            inner = _Walk(self._outline, level + 1, self._depth + 1)
            yield from inner.document(textwrap.dedent(body))
        self._outline.enter(level, "")

    def _block(self, text: str, joint: str = "\n\n") -> Block:
        return Block(text, self._outline.titles(), joint=joint)


def _items(parent: nodes.Element) -> Iterator[tuple[str, nodes.Node]]:
    first = parent.get("start", 1)
    for number, item in enumerate(parent.children, first if isinstance(first, int) else 1):
        yield ("- " if isinstance(parent, nodes.bullet_list) else f"{number}. "), item


def _text(node: nodes.Node) -> str:
    """:return: what a reader sees of it; inline markup as it is written."""
    if isinstance(node, nodes.system_message):
        return ""
    if isinstance(node, nodes.FixedTextElement) or not isinstance(node, nodes.Element):
        return node.astext()
    if isinstance(node, nodes.TextElement):
        return node.rawsource or node.astext()
    if isinstance(node, nodes.image):
        return str(node.get("alt", ""))
    if isinstance(node, nodes.row):
        return " | ".join(_text(entry) for entry in node.children)
    if isinstance(node, (nodes.definition, nodes.field_body, nodes.description)):
        return f"    {_indented(_joined(node, chr(10)), 4)}"
    if isinstance(node, (nodes.bullet_list, nodes.enumerated_list)):
        return "\n".join(
            f"{mark}{_indented(_text(item), len(mark))}" for mark, item in _items(node)
        )
    loose = isinstance(node, (nodes.list_item, nodes.footnote, nodes.citation))
    return _joined(node, "\n\n" if loose else "\n")


def _joined(node: nodes.Element, joint: str) -> str:
    return joint.join(text for child in node.children if (text := _text(child)))


def _indented(text: str, width: int) -> str:
    """:return: the text, its lines but the first moved to the right."""
    return textwrap.indent(text, " " * width)[width:] if text.strip() else text
