"""
Python code, cut at its functions and classes as Python's own parser sees them.

Pure: imports the standard library and the room's passages; nothing that it reads is run.
https://docs.python.org/3/library/ast.html
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence

from gptproxy.knowledge.formats.plain import code_blocks
from gptproxy.knowledge.passages import Block, Outline

__all__ = ["python_blocks"]

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def python_blocks(text: str) -> Iterator[Block]:
    """
    :param text: the module, lines ended by ``\\n``.
    :return: its functions, methods, and what stands between them, in order; a module that this
        Python cannot parse is cut as any code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the code we read, such as invalid escapes
            module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code_blocks(text)
    # Lines as Python counts them: a form feed or U+2028 ends none.
    lines = text.split("\n")
    return _parts(lines, module.body, 0, len(lines), Outline(), 1)


def _parts(
    lines: Sequence[str],
    body: Sequence[ast.stmt],
    begin: int,
    end: int,
    outline: Outline,
    level: int,
) -> Iterator[Block]:
    """:return: the blocks of lines ``[begin, end)``, the statements of ``body`` being in them."""
    done = begin
    for statement in body:
        if not isinstance(statement, _DEFINITIONS):
            continue
        first = min(
            [statement.lineno, *(one.lineno for one in statement.decorator_list)]
        )  # decorators stand above
        first = max(done, _with_comments(lines, done, first - 1))
        last = max(first, statement.end_lineno or first)
        if last <= done:
            continue  # on the line of the one before it
        yield from _lines(lines, done, first, outline, begins=False)
        kind = "class" if isinstance(statement, ast.ClassDef) else "def"
        outline.enter(level, f"{kind} {statement.name}")
        if isinstance(statement, ast.ClassDef):
            yield from _class(lines, statement, first, last, outline, level)
        else:
            yield from _lines(lines, first, last, outline, begins=True)
        outline.enter(level, "")
        done = last
    yield from _lines(lines, done, end, outline, begins=False)


def _class(
    lines: Sequence[str],
    statement: ast.ClassDef,
    first: int,
    last: int,
    outline: Outline,
    level: int,
) -> Iterator[Block]:
    for number, block in enumerate(_parts(lines, statement.body, first, last, outline, level + 1)):
        yield Block(block.text, block.titles, begins=block.begins or number == 0)


def _with_comments(lines: Sequence[str], least: int, first: int) -> int:
    """:return: the line where the comment that stands right above a definition begins."""
    while first > least and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first


def _lines(
    lines: Sequence[str], begin: int, end: int, outline: Outline, *, begins: bool
) -> Iterator[Block]:
    text = "\n".join(lines[begin:end]).strip("\n").rstrip()
    if text:
        yield Block(text, outline.titles(), begins=begins)
