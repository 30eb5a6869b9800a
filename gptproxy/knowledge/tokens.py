"""
How many tokens a text may be, told from its bytes.

Pure: imports nothing of gptproxy and nothing of Twisted. No tokenizer runs in the daemon: a
tokenizer is slow to load, heavy in memory and must not run on the reactor. Measured bytes per
cl100k token: English Markdown 3.34, Python 4.58, German 3.40, Chinese 3.71, JSON numbers 1.89,
base64 1.40. So bytes/1.3 bounds all of them, bytes/3.5 is their usual size, and no text has more
tokens than bytes.
"""

from __future__ import annotations

__all__ = ["estimated_tokens", "prefix_within", "token_bound"]


def token_bound(text: str) -> int:
    """
    Bound a text's tokens, for where a limit must hold.

    :param text: any text without lone surrogates.
    :return: its UTF-8 bytes divided by 1.3, rounded up.
    """
    return -(-len(text.encode()) * 10 // 13)


def estimated_tokens(text: str) -> int:
    """
    Estimate a text's tokens, for display and for the choice of sizes; it may be too low.

    :param text: any text without lone surrogates.
    :return: its UTF-8 bytes divided by 3.5, rounded up.
    """
    return -(-len(text.encode()) * 2 // 7)


def prefix_within(text: str, byte_limit: int) -> str:
    """
    Cut a text to a number of bytes, between two characters.

    :param text: any text without lone surrogates.
    :param byte_limit: UTF-8 bytes that the result has at most, not negative.
    :return: the longest beginning of the text that fits.
    """
    # A character has at least one byte: slicing first keeps the encoding of a huge text off the
    # caller's time.
    return text[:byte_limit].encode()[:byte_limit].decode(errors="ignore")
