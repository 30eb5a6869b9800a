"""What is asked is data to FTS5, whatever it says."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.knowledge.word_query import MAX_TERMS, question_terms, telling_terms, word_query


@pytest.mark.parametrize(
    ("question", "terms"),
    [
        ("How do I open a socket?", "open socket"),
        ("socket Socket SOCKET", "socket"),
        ("how is it", "how is it"),
        ('a" OR text:* NEAR(b) ^c -d', "text near b c d"),
        ("don't panic", "don't panic"),
        ("", ""),
        ("?!*", ""),
    ],
)
def test_terms(question: str, terms: str) -> None:
    """Words that questions are asked with are left out while there are others."""
    assert question_terms(question) == tuple(terms.split())


def test_a_query() -> None:
    """For any of the terms, in one collection."""
    expected = 'scope : "c7" AND {heading text} : ("open" OR "socket")'
    assert word_query(["open", "socket"], "c7") == expected
    assert word_query(["open", "socket"], None) == '{heading text} : ("open" OR "socket")'


@pytest.mark.parametrize(
    ("counts", "terms"),
    [
        ({"module": 60, "socket": 40, "linger": 3}, "linger socket"),
        ({"module": 50, "socket": 40, "linger": 10}, "linger socket module"),
        ({"module": 101, "class": 101}, "module"),
        ({"module": 101, "qwxz": 0}, "module"),
        ({"qwxz": 0}, ""),
        ({}, ""),
    ],
)
def test_the_commonest_words_are_left_out(counts: dict[str, int], terms: str) -> None:
    """The rarest ones stay that no more than so many passages have; one in any case."""
    assert telling_terms(counts, 100) == tuple(terms.split())


def test_a_long_text_has_a_bound() -> None:
    """A pasted log costs no more than a long question."""
    terms = question_terms(" ".join(f"w{number}" for number in range(10_000)))
    assert len(terms) == MAX_TERMS


@settings(max_examples=100, deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from(['"', "*", "NEAR(", "AND", "a", ":", "^", ")"])).map("".join)
)
def test_fts5_takes_every_question(question: str) -> None:
    """No text is a syntax error, and none looks outside of its collection."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE w USING fts5 (scope, heading, text)")
    connection.execute("INSERT INTO w VALUES ('c2', 'a AND NEAR', 'a or b')")
    terms = question_terms(question)
    if terms:
        query = word_query(terms, "c1")
        assert connection.execute("SELECT * FROM w WHERE w MATCH ?", (query,)).fetchall() == []
        connection.execute("SELECT * FROM w WHERE w MATCH ?", (word_query(terms, None),)).fetchall()
    connection.close()
