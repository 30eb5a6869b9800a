"""
Which format a file has, and its passages.

Pure: imports this room's modules, those of the formats only when a document of theirs is read.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from enum import Enum
from pathlib import PurePosixPath

from gptproxy.knowledge.errors import Unfit
from gptproxy.knowledge.passages import Block, Excerpt, pack

__all__ = ["FileFormat", "excerpts_of", "format_of", "largest_bytes"]

_TEXT_BYTES_MOST = 10 * 1024 * 1024
# Most of a PDF is pictures.
_PDF_BYTES_MOST = 32 * 1024 * 1024


class FileFormat(Enum):
    """What a document is written in."""

    MARKDOWN = "markdown"
    RESTRUCTURED = "reStructuredText"
    HTML = "HTML"
    PLAIN = "text"
    PYTHON = "Python"
    CODE = "code"
    PDF = "PDF"


_SUFFIXES = {
    FileFormat.MARKDOWN: "md markdown mkd mdown mdx",
    FileFormat.RESTRUCTURED: "rst rest",
    FileFormat.HTML: "html htm xhtml",
    FileFormat.PLAIN: "txt text adoc asciidoc org rdoc textile tex wiki",
    FileFormat.PYTHON: "py pyi",
    FileFormat.CODE: (
        "c h cc cpp cxx hh hpp cs go rs java kt kts scala swift m mm js jsx mjs cjs ts tsx vue svelte php rb pl pm lua"
        " r jl hs ml mli ex exs erl clj el lisp scm dart groovy gradle sh bash zsh fish ps1 sql proto graphql tf hcl"
        " nix cmake toml yaml yml ini cfg conf css scss less adb ads f90 pas v vhd zig"
    ),
    FileFormat.PDF: "pdf",
}
_BY_SUFFIX = {f".{suffix}": one for one, all_of in _SUFFIXES.items() for suffix in all_of.split()}
_BY_NAME = {
    "readme": FileFormat.PLAIN,
    "install": FileFormat.PLAIN,
    "news": FileFormat.PLAIN,
    "changelog": FileFormat.PLAIN,
    "contributing": FileFormat.PLAIN,
    "makefile": FileFormat.CODE,
    "dockerfile": FileFormat.CODE,
    "jenkinsfile": FileFormat.CODE,
    "vagrantfile": FileFormat.CODE,
}
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def format_of(name: str) -> FileFormat | None:
    """
    :param name: a file's name or path.
    :return: its format; None where its name is none of a document.
    """
    path = PurePosixPath(name.lower())
    return _BY_SUFFIX.get(path.suffix) or _BY_NAME.get(path.name)


def largest_bytes(of: FileFormat) -> int:
    """
    :param of: a format.
    :return: how many bytes a document may have.
    """
    return _PDF_BYTES_MOST if of is FileFormat.PDF else _TEXT_BYTES_MOST


def excerpts_of(data: bytes, of: FileFormat) -> tuple[tuple[Excerpt, ...], str]:
    """
    Cut a document into passages.

    :param data: the file.
    :param of: its format.
    :return: its passages in order, and what the operator ought to know of them, or "".
    :raise Unfit: nothing can be fed of it.
    """
    if len(data) > largest_bytes(of):
        raise Unfit(f"larger than {largest_bytes(of) // 2**20} MiB")
    if of is FileFormat.PDF:
        from gptproxy.knowledge.formats.pdf import pdf_blocks

        excerpts = tuple(pack(pdf_blocks(data)))
        if data and not excerpts:
            raise Unfit("a PDF without text; scanned pages have none")
        return excerpts, ""
    if data.startswith(_LFS_POINTER) and len(data) < 1024:
        raise Unfit("in Git LFS: only a pointer to it is here")
    text, note = _decoded(data)
    return tuple(pack(_blocks(text.replace("\r\n", "\n").replace("\r", "\n"), of))), note


def _decoded(data: bytes) -> tuple[str, str]:
    """:return: the text without a byte order mark, and what was wrong with it, or ""."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return _without_nul(data.decode("utf-16")), ""
        except UnicodeDecodeError as error:
            raise Unfit(f"not UTF-16 at byte {error.start}") from error
    if b"\0" in data:
        raise Unfit("binary: it has NUL bytes")
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError as error:
        where = f"not UTF-8 at byte {error.start}"
    try:
        # It has five bytes without a meaning, which most other encodings and binary files use.
        return data.decode("cp1252"), f"{where}: read as Windows-1252"
    except UnicodeDecodeError as error:
        raise Unfit(where) from error


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise Unfit("binary: it has NUL characters")
    return text


def _blocks(text: str, of: FileFormat) -> Iterator[Block]:
    match of:
        case FileFormat.MARKDOWN:
            from gptproxy.knowledge.formats.markdown import markdown_blocks

            return markdown_blocks(text)
        case FileFormat.RESTRUCTURED:
            from gptproxy.knowledge.formats.restructured import restructured_blocks

            return restructured_blocks(text)
        case FileFormat.HTML:
            from gptproxy.knowledge.formats.html import html_blocks

            return html_blocks(text)
        case FileFormat.PYTHON:
            from gptproxy.knowledge.formats.python_code import python_blocks

            return python_blocks(text)
        case FileFormat.CODE:
            from gptproxy.knowledge.formats.plain import code_blocks

            return code_blocks(text)
        case _:
            from gptproxy.knowledge.formats.plain import plain_blocks

            return plain_blocks(text)
