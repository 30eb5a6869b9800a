"""
RFC 8259's grammar as expressions that never go back: their time is linear wherever a text breaks off.

Pure: imports nothing of gptproxy and nothing of Twisted.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

__all__ = ["CHARACTERS", "ESCAPE", "RUN_LEVELS", "SCALAR", "SPACE", "run_of"]

# The digits are bounded so that a number always fits into a step.
_NUMBER = rb"-?(?:0|[1-9][0-9]{0,1024}+)(?:\.[0-9]{1,1024}+)?+(?:[eE][+-]?+[0-9]{1,1024}+)?+"
_LITERAL = rb"(?:true|false|null)"
_ESCAPE_TEXT = (
    rb'\\(?:["\\/bfnrt]|u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}'
    rb"|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))"
)
_CHARS_TEXT = rb'(?:[^"\\\x00-\x1f]++|' + _ESCAPE_TEXT + rb")*+"
_STRING_TEXT = rb'"' + _CHARS_TEXT + rb'"'
_SPACE_TEXT = rb"[ \t\n\r]*+"
_NAME_TEXT = _STRING_TEXT + _SPACE_TEXT + rb":" + _SPACE_TEXT


def _nested(levels: int) -> bytes:
    """:return: the expression of a value with so many levels of arrays and objects in it at most, and space behind."""
    flat = _STRING_TEXT + rb"|" + _NUMBER + rb"|" + _LITERAL
    if levels:
        inner = _nested(levels - 1)
        # A comma has another behind it, and what has no comma is the last.
        after = rb"(?:," + _SPACE_TEXT + rb"(?!%b)|(?=%b))"
        flat += rb"|\[" + _SPACE_TEXT + rb"(?:" + inner + after.replace(b"%b", rb"\]") + rb")*+\]"
        flat += rb"|\{" + _SPACE_TEXT + rb"(?:" + _NAME_TEXT + inner
        flat += after.replace(b"%b", rb"\}") + rb")*+\}"
    return rb"(?:" + flat + rb")" + _SPACE_TEXT


SPACE = re.compile(_SPACE_TEXT)
CHARACTERS = re.compile(_CHARS_TEXT)
ESCAPE = re.compile(_ESCAPE_TEXT)
SCALAR = re.compile(_NUMBER + rb"|" + _LITERAL)
RUN_LEVELS: Final = 2


@cache
def run_of(members: bool) -> re.Pattern[bytes]:
    """
    :param members: of an object; else of an array.
    :return: the expression of members or elements that hold few levels, each with its comma; the last one's end is seen
        by the group. Made when the first large text comes: it takes 10 ms, which a start would wait for.
    """
    name, end = (_NAME_TEXT, rb"\}") if members else (b"", rb"\]")
    return re.compile(
        rb"(?:" + name + _nested(RUN_LEVELS) + rb"(?:," + _SPACE_TEXT + rb"|(?=(" + end + rb"))))*+"
    )
