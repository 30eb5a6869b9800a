"""Tests of :mod:`gptproxy.config.fields` and :mod:`gptproxy.config.checks`."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gptproxy.config.checks import (
    choice,
    file_path,
    flag,
    free_text,
    matching,
    model_names,
    printable,
    seconds,
    whole,
    words,
)
from gptproxy.config.fields import Check, Key, Place, Section, TableList

TEXT = "must be valid Unicode text without NUL"
SECONDS = "must be over 0 and at most 86400 seconds"
PRINTABLE = "must be 1 to 256 printable characters without space at the ends"
NAME = "must be 1 to 256 visible ASCII characters without spaces"


def attempt(check: Check, value: object) -> tuple[object, list[str]]:
    place = Place("f", Path("/base"), {}, path="k")
    return place.attempt(check, value), [f"{p.key}: {p.message}" for p in place.problems]


@pytest.mark.parametrize(
    ("check", "value", "result"),
    [
        (flag, True, True),
        (flag, False, False),
        (whole(1, 3), 1, 1),
        (whole(1, 3), 3, 3),
        (seconds, 1, 1.0),
        (seconds, 0.001, 0.001),
        (seconds, 86_400, 86_400.0),
        (choice("a", "b"), "b", "b"),
        (matching("[a-z]+", "letters"), "abc", "abc"),
        (free_text, "", ""),
        (free_text, "a\nb \u00e9\U0001f600", "a\nb \u00e9\U0001f600"),
        (printable, "J\u00fcrgen M.", "J\u00fcrgen M."),
        (file_path, "x/y", Path("/base/x/y")),
        (file_path, "/x", Path("/x")),
        (words, ["a b", "c"], ("a b", "c")),
        (model_names, {}, {}),
        (
            model_names,
            {"b": "meta-llama/Llama-3", "a": "x:y"},
            {"b": "meta-llama/Llama-3", "a": "x:y"},
        ),
    ],
)
def test_what_passes(check: Check, value: object, result: object) -> None:
    """A good value comes out in the form that the settings have."""
    assert attempt(check, value) == (result, [])


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (flag, 1, "k: must be true or false, not a whole number"),
        (flag, "true", "k: must be true or false, not text"),
        (whole(1, 3), True, "k: must be a whole number, not true or false"),
        (whole(1, 3), 1.0, "k: must be a whole number, not a number"),
        (whole(1, 3), 0, "k: must be from 1 to 3"),
        (whole(1, 3), 4, "k: must be from 1 to 3"),
        (seconds, False, "k: must be a number of seconds, not true or false"),
        (seconds, "1", "k: must be a number of seconds, not text"),
        (seconds, None, "k: must be a number of seconds, not null"),
        (seconds, date(2024, 1, 1), "k: must be a number of seconds, not a date or time"),
        (seconds, 0, f"k: {SECONDS}"),
        (seconds, -1.0, f"k: {SECONDS}"),
        (seconds, 10**400, f"k: {SECONDS}"),
        (seconds, float("inf"), f"k: {SECONDS}"),
        (seconds, float("nan"), f"k: {SECONDS}"),
        (choice("a", "b"), "c", 'k: must be "a" or "b"'),
        (choice("a", "b"), ["a"], 'k: must be "a" or "b"'),
        (matching("[a-z]+", "letters"), "abc\n", "k: must be letters"),
        (matching("[a-z]+", "letters"), {}, "k: must be text, not a table"),
        (free_text, [], "k: must be text, not a list"),
        (free_text, "a\0", f"k: {TEXT}"),
        (free_text, "\ud800", f"k: {TEXT}"),
        (printable, "", f"k: {PRINTABLE}"),
        (printable, " a", f"k: {PRINTABLE}"),
        (printable, "a\tb", f"k: {PRINTABLE}"),
        (printable, "a" * 257, f"k: {PRINTABLE}"),
        (file_path, "", "k: must be a file's path"),
        (file_path, "a\nb", "k: must be a file's path"),
        (words, "fibjs", "k: must be a list of texts, not text"),
        (words, [], "k: must have at least one word"),
        (words, ["a", " "], "k[2]: must not be blank"),
        (words, [3, "a"], "k[1]: must be text, not a whole number"),
        (model_names, [], "k: must be a table, not a list"),
        (model_names, {"gpt-4": ""}, f"k.gpt-4: {NAME}"),
        (model_names, {"gpt-3.5": 4}, 'k."gpt-3.5": must be text, not a whole number'),
        (model_names, {"a b": "c"}, f'k."a b": {NAME}'),
    ],
)
def test_what_is_refused(check: Check, value: object, message: str) -> None:
    """A bad value is refused by one message that says what it must be."""
    assert attempt(check, value) == (None, [message])


PAIR = Section(
    keys=(Key("api_key", free_text, attribute="key", required=True), Key("cacheSize", whole(1, 9))),
    make=lambda values, place: values,
)


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ([], ["k: must be a table, not a list"]),
        ({}, ["k.api_key: missing"]),
        ({"api_kye": "x"}, ['k.api_kye: unknown key; did you mean "api_key"?']),
        ({"API-KEY": "x"}, ['k.API-KEY: unknown key; did you mean "api_key"?']),
        (
            {"api_key": "x", "cachesize": 1},
            ['k.cachesize: unknown key; did you mean "cacheSize"?'],
        ),
        (
            {"api_key": "x", "zzz": 1},
            ["k.zzz: unknown key; known here: api_key, cacheSize"],
        ),
        (
            {"api_key": "x", "api_key" * 10: 1},
            [f'k."{("api_key" * 10)[:64]}…": unknown key; known here: api_key, cacheSize'],
        ),
        (
            {"cacheSize": 0, "x\ny": 1},
            [
                'k."x\ny": unknown key; known here: api_key, cacheSize',
                "k.api_key: missing",
                "k.cacheSize: must be from 1 to 9",
            ],
        ),
    ],
)
def test_a_section_finds_every_problem(value: object, messages: list[str]) -> None:
    """Unknown keys come with the nearest known one, which is then not also missing."""
    assert attempt(PAIR, value) == (None, messages)


def test_a_section_makes_what_was_checked() -> None:
    """Values go to ``make`` under the settings' names, absent ones not at all."""
    assert attempt(PAIR, {"api_key": "x"}) == ({"key": "x"}, [])


def test_a_list_of_tables() -> None:
    """Items are checked one by one, and none may share what has to be distinct."""
    tables = TableList(PAIR, distinct=("api_key", lambda values: values["key"]))
    anything = TableList(PAIR)
    one, two = {"api_key": "x"}, {"api_key": "y"}
    assert attempt(tables, []) == ((), [])
    assert attempt(tables, [one, two]) == (({"key": "x"}, {"key": "y"}), [])
    assert attempt(anything, [one, one]) == (({"key": "x"}, {"key": "x"}), [])
    assert attempt(tables, one) == (None, ["k: must be a list of tables, not a table"])
    assert attempt(tables, [one, {}, two, one, one]) == (
        None,
        [
            "k[2].api_key: missing",
            "k[4].api_key: the same as in k[1]",
            "k[5].api_key: the same as in k[1]",
        ],
    )
