"""
What a schema is made of: keys, the tables they stand in, and how problems are collected.

Pure: imports nothing of gptproxy but the configuration's own errors, and nothing of Twisted.

Rules that hold for every check, here and in :mod:`gptproxy.config.checks`:

1. It returns the checked value or raises :class:`Refused`; whoever called it notes that and goes
   on, so that one run finds every problem.
2. No message repeats a value that was written, because that may be a secret; it shows the names of
   keys, and of the file or variable that a secret was to come from.
3. Types are strict: ``true`` is not 1, ``1`` is not ``"1"``, and text must be valid Unicode.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from attrs import evolve, field, frozen

from gptproxy.config.errors import Problem

__all__ = ["Check", "Key", "Place", "Refused", "Section", "Table", "TableList", "kind_of"]

T = TypeVar("T")

#: Longer keys are shown cut and get no "did you mean": comparing them costs time and helps nobody.
_SHOWN_CHARACTERS = 64

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Refused(Exception):
    """A value cannot be used. The message says what it must be; empty: the problems are noted."""


@frozen
class Place:
    """
    Where in the configuration a check stands, what it may look at, and where problems are noted.

    :param source: the file as the operator called it.
    :param directory: absolute; where relative paths start.
    :param environ: environment variables that secrets may come from.
    :param problems: shared by all places of one run, appended to.
    :param path: the key, as :class:`~gptproxy.config.errors.Problem` has it.
    """

    source: str
    directory: Path
    environ: Mapping[str, str] = field(repr=False)
    problems: list[Problem] = field(factory=list)
    path: str = ""

    def at(self, key: str) -> Place:
        """:return: the place of ``key`` in this table; an unusual one is shown quoted or cut."""
        shown = key if _BARE_KEY.fullmatch(key) else f'"{key}"'
        if len(key) > _SHOWN_CHARACTERS:
            shown = f'"{key[:_SHOWN_CHARACTERS]}…"'
        return evolve(self, path=f"{self.path}.{shown}" if self.path else shown)

    def item(self, number: int) -> Place:
        """:return: the place of an item in this list, counted from 1 as people do."""
        return evolve(self, path=f"{self.path}[{number}]")

    def note(self, message: str) -> None:
        """Take note of a problem here."""
        self.problems.append(Problem(self.source, self.path, message))

    def attempt(self, check: Callable[[object, Place], T], value: object) -> T | None:
        """:return: what ``check`` made of ``value``, or None, its refusal being noted."""
        try:
            return check(value, self)
        except Refused as refused:
            if refused.args:
                self.note(str(refused))
            return None


#: The raw value and its place in, the checked value out. :raise Refused: for anything else.
Check = Callable[[object, Place], object]


@frozen
class Key:
    """
    One key of a table: the only place where it is described.

    :param name: as the operator writes it.
    :param check: what its value passes.
    :param attribute: what the settings call it, where that differs.
    :param required: refused when it is absent.
    """

    name: str
    check: Check
    attribute: str = ""
    required: bool = False


@frozen
class Table:
    """
    A table as the rules across its keys see it.

    :param written: raw values, those of a misspelt key standing under the key that was meant.
    :param values: checked values by attribute; what was refused is not there.
    """

    written: Mapping[str, object] = field(repr=False)
    values: Mapping[str, object]


@frozen
class Section(Generic[T]):
    """
    A table: its keys, the rules across them, what is made of it. A check itself, so sections nest.

    :param keys: every key that may stand in it.
    :param make: checked values by attribute in, the section's settings out; called when nothing was
        refused.
    :param rules: each looks at the whole table and notes problems at the key that is to change.
    """

    keys: tuple[Key, ...]
    make: Callable[[dict[str, object], Place], T]
    rules: tuple[Callable[[Table, Place], None], ...] = ()

    def __call__(self, value: object, place: Place) -> T:
        """Check a table, all of it. :return: what ``make`` made. :raise Refused: all noted."""
        if not isinstance(value, dict):
            raise Refused(f"must be a table, not {kind_of(value)}")
        before = len(place.problems)
        written: dict[str, object] = {}
        values: dict[str, object] = {}
        names = [key.name for key in self.keys]
        for name, raw in value.items():
            if name in names:
                written[name] = raw
                continue
            nearest = _nearest(name, names)
            hint = f'did you mean "{nearest}"?' if nearest else f"known here: {', '.join(names)}"
            place.at(name).note(f"unknown key; {hint}")
            if nearest:
                written.setdefault(nearest, raw)
        for key in self.keys:
            here = place.at(key.name)
            if key.name in value:
                checked = here.attempt(key.check, value[key.name])
                if checked is not None:
                    values[key.attribute or key.name] = checked
            elif key.required and key.name not in written:
                here.note("missing")
        table = Table(written, values)
        for rule in self.rules:
            rule(table, place)
        if len(place.problems) > before:
            raise Refused
        return self.make(values, place)


@frozen
class TableList(Generic[T]):
    """
    A list of tables, ``[[name]]`` in TOML.

    :param section: what each item is.
    :param distinct: the key that no two items may share, and what is compared.
    """

    section: Section[T]
    distinct: tuple[str, Callable[[T], object]] | None = None

    def __call__(self, value: object, place: Place) -> tuple[T, ...]:
        """Check every item. :return: the items in order. :raise Refused: all noted."""
        if not isinstance(value, list):
            raise Refused(f"must be a list of tables, not {kind_of(value)}")
        before = len(place.problems)
        items: list[T] = []
        first_with: dict[object, Place] = {}
        for number, raw in enumerate(value, 1):
            here = place.item(number)
            item = here.attempt(self.section, raw)
            if item is None:
                continue
            items.append(item)
            if self.distinct is not None:
                name, identity = self.distinct
                first = first_with.setdefault(identity(item), here)
                if first is not here:
                    here.at(name).note(f"the same as in {first.path}")
        if len(place.problems) > before:
            raise Refused
        return tuple(items)


def kind_of(value: object) -> str:
    """:return: what kind of value was written, in the words of the messages."""
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "true or false"),  # before int, which it is a kind of
        (int, "a whole number"),
        (float, "a number"),
        (str, "text"),
        (list, "a list"),
        (dict, "a table"),
        (type(None), "null"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "a date or time")


def _nearest(name: str, names: list[str]) -> str:
    if len(name) > _SHOWN_CHARACTERS:
        return ""
    folded = {each.lower(): each for each in names}
    meant = name.lower().replace("-", "_")
    return next((folded[match] for match in difflib.get_close_matches(meant, folded, n=1)), "")
