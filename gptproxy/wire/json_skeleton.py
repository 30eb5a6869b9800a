"""
A JSON text without what its strings say: a few dozen bytes, whatever a chat is long.

Pure: imports nothing of gptproxy and nothing of Twisted. What a string says is passed over by the search for one byte,
which takes a tenth of what an expression takes that reads every character.
"""

from __future__ import annotations

from typing import Final

__all__ = ["skeleton_of"]

MOST_PIECES: Final = 512
"""In more pieces than these, which a text made of quotes has, escaped quotes are not looked for one by one."""


def skeleton_of(text: bytes) -> tuple[bytes, list[int]]:
    """
    :param text: a valid JSON text.
    :return: the text with one quotation mark in the place of each string; and of each string, in order, the number of
        bytes between its quotation marks.
    """
    pieces = text.split(b'"')
    if b"\\" in text:
        if len(pieces) <= MOST_PIECES:
            return _joined(pieces)
        # Backslashes first: what is left of them before a quotation mark escapes it (RFC 8259 7).
        pieces = text.replace(b"\\\\", b"__").replace(b'\\"', b"__").split(b'"')
    return b'"'.join(pieces[::2]), list(map(len, pieces[1::2]))


def _joined(pieces: list[bytes]) -> tuple[bytes, list[int]]:
    """:return: as :func:`skeleton_of`, where some pieces end at an escaped quotation mark."""
    outside: list[bytes] = []
    lengths: list[int] = []
    within = False
    length = 0
    for piece in pieces:
        if not within:
            outside.append(piece)
            within = True
            continue
        length += len(piece)
        if piece[-1:] == b"\\" and (len(piece) - len(piece.rstrip(b"\\"))) % 2:
            length += 1
            continue
        lengths.append(length)
        within = False
        length = 0
    return b'"'.join(outside), lengths
