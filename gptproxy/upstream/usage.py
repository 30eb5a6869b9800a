"""
What an answer cost, as it tells itself.

Pure: imports nothing of gptproxy and nothing of Twisted. The answer is not parsed: the member is found from its end,
where every service writes it, and its two numbers are read. In valid JSON the bytes that are looked for are names and
no text of a caller's or a model's, because a quote inside a string has a backslash before it.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["TAIL_BYTES", "Usage", "usage_of"]

TAIL_BYTES: Final = 4096
"""As much of a stream's end holds the last chunk but for ``[DONE]``, which has the usage."""

_WHOLE_TAIL_BYTES: Final = 65_536
"""How far from an answer's end its usage may stand: behind it come the caller's metadata at most."""

_USAGE = b'"usage"'
_USAGE_BYTES = len(_USAGE)
_OPENS = re.compile(rb"\s*+:\s*+\{")
# Responses, embeddings and images say input and output; the details' names are others.
_INPUT = re.compile(rb'"(?:prompt|input)_tokens"\s*+:\s*+(\d{1,15})\b')
_OUTPUT = re.compile(rb'"(?:completion|output)_tokens"\s*+:\s*+(\d{1,15})\b')


class Usage(NamedTuple):
    """
    Tokens of one call.

    :ivar input_tokens: of the prompt.
    :ivar output_tokens: of what was generated; 0 for embeddings, which generate nothing.
    """

    input_tokens: int
    output_tokens: int


def usage_of(end: bytes | bytearray) -> Usage | None:
    """
    :param end: an answer, or the last bytes of a stream of events, :data:`TAIL_BYTES` at least.
    :return: the last usage that it tells; None where it tells none.
    """
    at = len(end)
    least = at - _WHOLE_TAIL_BYTES if at > _WHOLE_TAIL_BYTES else 0
    # A stream's chunks have "usage": null, but for one; others may follow it.
    while (at := end.rfind(_USAGE, least, at)) >= 0:
        opens = _OPENS.match(end, at + _USAGE_BYTES)
        if opens is not None:
            return _read(end, opens.end())
    return None


def _read(end: bytes | bytearray, at: int) -> Usage | None:
    inputs, outputs = _INPUT.search(end, at), _OUTPUT.search(end, at)
    if inputs is None:
        return None
    return Usage(int(inputs[1]), int(outputs[1]) if outputs is not None else 0)
