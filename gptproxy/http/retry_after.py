"""
How long a server asks to be left alone, in the forms that any server may say it in.

Pure: imports nothing of gptproxy and nothing of Twisted. What is said in other fields, or in words, is the upstreams'.
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["asked_seconds"]

_NUMBER: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}", re.ASCII)


def asked_seconds(milliseconds: str, retry_after: str, date: str) -> float | None:
    """
    :param milliseconds: what ``retry-after-ms`` says, which OpenAI's clients read first; empty where it is not there,
        as with the others.
    :param retry_after: what ``retry-after`` says: seconds, or a date (RFC 9110 10.2.3).
    :param date: what the answer's own ``date`` says. The other is read against it, so that clocks that disagree do no
        harm.
    :return: 0 or more; None where none of it is understood.
    """
    for text, unit_seconds in ((milliseconds, 0.001), (retry_after, 1.0)):
        if _NUMBER.fullmatch(text):
            return float(text) * unit_seconds
    try:
        seconds = (parsedate_to_datetime(retry_after) - parsedate_to_datetime(date)).total_seconds()
    # A date without a zone and one with are not to be subtracted: a TypeError.
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, seconds)
