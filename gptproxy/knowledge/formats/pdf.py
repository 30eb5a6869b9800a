"""
PDF, page by page, by pypdf where it is installed (the extra ``pdf``; Debian: python3-pypdf).

Pure: imports pypdf and the room's passages. https://pypdf.readthedocs.io/
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import BytesIO

from gptproxy.knowledge.errors import Unfit, Unreachable
from gptproxy.knowledge.passages import Block

__all__ = ["pdf_blocks"]

_PAGES_MOST = 5000


def pdf_blocks(data: bytes) -> Iterator[Block]:
    """
    :param data: the file.
    :return: the paragraphs of its pages, in order.
    :raise Unfit: pypdf cannot read it, or it needs a password.
    :raise Unreachable: pypdf is not installed.
    """
    try:
        from pypdf import PdfReader
    except ImportError as missing:
        raise Unreachable(
            "PDF needs pypdf: apt install python3-pypdf, or pip install 'gptproxy[pdf]'"
        ) from missing
    # It tells of each fault in a file; what matters of that is told once, by us.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unfit("a PDF that needs a password")
        pages = [page.extract_text() for page in reader.pages[:_PAGES_MOST]]
    except Unfit:
        raise
    except Exception as error:  # a damaged file raises nearly anything there is
        raise Unfit(f"a PDF that cannot be read: {type(error).__name__}") from error
    return _blocks(pages)


def _blocks(pages: list[str]) -> Iterator[Block]:
    for number, page in enumerate(pages, 1):
        # A font without a map to Unicode gives surrogates and NULs.
        text = page.encode("utf-8", "replace").decode().replace("\0", "")
        for paragraph in text.replace("\r\n", "\n").split("\n\n"):
            if paragraph.strip():
                yield Block(paragraph.strip("\n"), (f"page {number}",))
