"""
A question as an FTS5 query that ranks by words.

Pure: imports nothing of gptproxy and nothing of Twisted. Whatever is asked is data: each word goes
in between double quotes, without any character that is not a letter, digit or mark, so that no
operator of FTS5's grammar can be among them. https://sqlite.org/fts5.html#full_text_query_syntax
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["MAX_TERMS", "question_terms", "telling_terms", "word_query"]

MAX_TERMS: Final = 48
"""More words than a question has; of a pasted log the first ones say enough, and each costs time."""

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_LONGEST: Final = 64

# What questions are asked with, and nothing is found by: in a large collection every passage has
# them, and ranking each passage would take as long as all else. They stay where there is nothing
# else.
_ASKING_TEXT: Final = """
a about all am an and any are as at be been but by can could did do does for from get had has
have how i if in into is it its just may me more my no not of on one only or our out please
should so some such than that the their them then there these they this to up use used using
was we were what when where which who why will with would you your
aber alle als am an auch auf aus bei bin bis bitte da das dass dem den der des die doch du ein
eine einem einen einer eines er es für gibt hat habe haben ich ihr im ist ja kann kein keine
man mein mit nach nicht noch nur oder ohne sein sich sie sind so und uns vom von vor war was
wenn wer wie wird wir wo zu zum zur über
"""
_ASKING: Final = frozenset(_ASKING_TEXT.split())


def question_terms(question: str) -> tuple[str, ...]:
    """
    Tell the words that a question is looked for by.

    :param question: any text.
    :return: each once, as they come.
    """
    words = dict.fromkeys(match.group()[:_LONGEST].casefold() for match in _WORD.finditer(question))
    terms = [word for word in words if word not in _ASKING] or list(words)
    return tuple(terms[:MAX_TERMS])


def telling_terms(counts: Mapping[str, int], most: int) -> tuple[str, ...]:
    """
    Leave out the commonest words: they take the longest, and tell the least.

    :param counts: of each term, how many passages have it.
    :param most: passages that may be ranked.
    :return: the rarest terms, at least one where there is any, that no more passages than these have.
    """
    kept: list[str] = []
    ranked = 0
    for term, count in sorted(counts.items(), key=lambda item: item[1]):
        ranked += count
        if kept and ranked > most:
            break
        # What occurs nowhere is no reason to leave out the next one.
        kept += [term] * (count > 0)
    return tuple(kept)


def word_query(terms: Sequence[str], scope: str | None) -> str:
    """
    Put terms as a query for any of them.

    :param terms: from :func:`question_terms`, one at least.
    :param scope: the word in the column ``scope`` that names the collection; None: of whatever collection, where there
        is one only. That word is in all its passages, and BM25 counts each word's.
    :return: FTS5's query.
    """
    quoted = " OR ".join(f'"{term}"' for term in terms)
    within = "" if scope is None else f'scope : "{scope}" AND '
    return f"{within}{{heading text}} : ({quoted})"
