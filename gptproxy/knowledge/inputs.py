"""
What of a passage is embedded, and in which calls.

Pure: imports nothing of gptproxy and nothing of Twisted. The API takes 2,048 inputs and
300,000 tokens in a call; Azure's usual quota is 350,000 tokens a minute, so a call stays well under
it. https://platform.openai.com/docs/api-reference/embeddings/create
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

__all__ = [
    "CALL_INPUTS",
    "CALL_TOKENS",
    "INPUT_VERSION",
    "calls",
    "embedding_input",
    "input_hash",
    "input_tokens",
]

INPUT_VERSION = 1
"""Raised with every change of :func:`embedding_input`: the vectors of another rule do not compare."""

CALL_INPUTS = 100
CALL_TOKENS = 100_000

_HASH_BYTES = 16


def embedding_input(heading: str, text: str) -> str:
    """
    :param heading: the titles that a passage stands under; may be empty.
    :param text: the passage.
    :return: what is embedded: a passage says more with the titles it stands under.
    """
    return f"{heading}\n\n{text}" if heading else text


def input_hash(heading: str, text: str) -> str:
    """
    :param heading: the titles that a passage stands under; may be empty.
    :param text: the passage.
    :return: what tells its embedding input from others, in hexadecimal.
    """
    data = embedding_input(heading, text).encode()
    return hashlib.blake2b(data, digest_size=_HASH_BYTES).hexdigest()


def input_tokens(text: str) -> int:
    """
    How many tokens a call's bound counts for a text. It is asked for every passage that is fed, and the bound is
    far from the API's own: the bytes tell it well enough.

    :param text: any text without lone surrogates.
    :return: its UTF-8 bytes divided by 1.3, rounded up.
    """
    # Of most texts Python knows that they are ASCII; the others have to be encoded to be measured.
    length = len(text) if text.isascii() else len(text.encode())
    return -(-length * 10 // 13)


def calls(inputs: Iterable[str]) -> Iterator[list[str]]:
    """
    Cut inputs into calls within both bounds.

    :param inputs: each within the bounds by itself, as passages are.
    :return: the inputs of each call, in order.
    """
    call: list[str] = []
    tokens = 0
    for one in inputs:
        need = input_tokens(one)
        if call and (len(call) == CALL_INPUTS or tokens + need > CALL_TOKENS):
            yield call
            call, tokens = [], 0
        call.append(one)
        tokens += need
    if call:
        yield call
