"""Each format is cut at its own structure; what cannot be read has a reason."""

from __future__ import annotations

import subprocess
import sys
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.knowledge.errors import Unfit
from gptproxy.knowledge.formats import FileFormat, excerpts_of, format_of
from gptproxy.knowledge.formats.html import html_blocks
from gptproxy.knowledge.formats.plain import code_blocks
from gptproxy.knowledge.formats.python_code import python_blocks
from gptproxy.knowledge.formats.restructured import restructured_blocks
from gptproxy.knowledge.passages import Block

_cheap = settings(max_examples=60, deadline=None)


def _told(blocks: object) -> list[tuple[str, str]]:
    return [(" / ".join(one.titles), one.text) for one in blocks]  # type: ignore[attr-defined]  # an iterator


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/README.MD", FileFormat.MARKDOWN),
        ("x.rst", FileFormat.RESTRUCTURED),
        ("x.html", FileFormat.HTML),
        ("README", FileFormat.PLAIN),
        ("Makefile", FileFormat.CODE),
        ("x.py", FileFormat.PYTHON),
        ("x.go", FileFormat.CODE),
        ("x.pdf", FileFormat.PDF),
        ("x.png", None),
        ("md", None),
        ("x.json", None),
    ],
)
def test_formats_are_told_by_names(name: str, found: FileFormat | None) -> None:
    """By their ends in any case, some by the whole name."""
    assert format_of(name) is found


def test_restructured_text() -> None:
    """Sections, lists, code, tables, definitions, and what only Sphinx knows."""
    text = """
=====
Guide
=====

Intro with :func:`role` and *stress*.

.. _target:
.. comment
.. note:: Beware.

Install
-------
- one

  more
- two

  #. deep

.. code-block:: sh

   ls

   pwd

term
    meaning

:field: body

== ==
a  b
== ==
1  2
== ==

.. versionadded:: 3

.. image:: x.png
   :alt: picture

.. include:: /etc/hostname

.. raw:: html

   <b>raw</b>

.. [1] a note
"""
    told = _told(restructured_blocks(text))
    assert told[0] == ("Guide", "Guide")
    assert told[1] == ("Guide", "Intro with :func:`role` and *stress*.")
    assert told[2] == ("Guide", "Beware.")
    assert [text for _, text in told[3:]] == [
        "Install",
        "- one\n\n  more",
        "- two\n\n  1. deep",
        "ls\n\npwd",
        "term\n    meaning",
        "field\n    body",
        "a | b\n1 | 2",
        ".. versionadded:: 3",
        "picture",
        ".. include:: /etc/hostname",
        ".. raw:: html\n\n   <b>raw</b>",
        "1\n\na note",
    ]
    assert {heading for heading, _ in told[3:]} == {"Guide / Install"}


def test_descriptions_of_sphinx() -> None:
    """Functions and methods are titles for what is said of them."""
    text = """
.. class:: Bird(name)
   :final:

   A bird.

   .. method:: sing()

      It sings::

         bird.sing()

   Behind it.

.. data:: alone
"""
    assert _told(restructured_blocks(text)) == [
        ("Bird(name)", ".. class:: Bird(name)\n   :final:"),
        ("Bird(name)", "A bird."),
        ("Bird(name) / sing()", ".. method:: sing()"),
        ("Bird(name) / sing()", "It sings::"),
        ("Bird(name) / sing()", "bird.sing()"),
        ("Bird(name)", "Behind it."),
        ("alone", ".. data:: alone"),
    ]


def test_restructured_text_that_is_too_large_or_breaks_its_parser() -> None:
    """Is cut at its paragraphs."""
    assert len(_told(restructured_blocks("x " * 2**20 + "\n\ny"))) == 2
    with mock.patch("gptproxy.knowledge.formats.restructured.Parser", side_effect=AssertionError):
        assert _told(restructured_blocks("a\n\nb")) == [("", "a"), ("", "b")]
    with mock.patch("gptproxy.knowledge.formats.restructured.Parser", side_effect=RecursionError):
        assert _told(restructured_blocks("a")) == [("", "a")]


def test_html() -> None:
    """Text as it is shown, code as it is written, nothing of scripts."""
    text = """<!DOCTYPE html><html><head><title>T</title><style>x{}</style></head><body>
<h1>Guide &amp;
more</h1><p>One <b>bold</b><br>two<ul><li>item <li></ul>
<pre>def f():
    return 1<br>x
</pre><script>alert("<p>no</p>")</script><h2>Table</h2>
<table><tr><td>1<td>2</tr><tr><th>3</table></p></h7>&nbsp;<p> </p>tail"""
    assert _told(html_blocks(text)) == [
        ("Guide & more", "Guide & more"),
        ("Guide & more", "One bold"),
        ("Guide & more", "two"),
        ("Guide & more", "- item"),
        ("Guide & more", "def f():\n    return 1\nx"),
        ("Guide & more / Table", "Table"),
        ("Guide & more / Table", "1 | 2"),
        ("Guide & more / Table", "3"),
        ("Guide & more / Table", "tail"),
    ]


_PYTHON = '''"""A module."""

import os

# About f.
@decorated
def f():
    return 1


class C:
    """A class."""

    x = 1

    def m(self):
        return 2

    async def n(self): ...

y = 2
'''


def test_python() -> None:
    """Functions with what stands above them; methods under their class."""
    told = _told(python_blocks(_PYTHON))
    assert told == [
        ("", '"""A module."""\n\nimport os'),
        ("def f", "# About f.\n@decorated\ndef f():\n    return 1"),
        ("class C", 'class C:\n    """A class."""\n\n    x = 1'),
        ("class C / def m", "    def m(self):\n        return 2"),
        ("class C / def n", "    async def n(self): ..."),
        ("", "y = 2"),
    ]
    assert _told(python_blocks("def a(): pass; x = '\\d'\ndef b(): pass"))[1][0] == "def b"


def test_python_of_another_version() -> None:
    """Is cut as any code is."""
    assert _told(python_blocks("print 'x'\n\ndef f():\n  y")) == [
        ("", "print 'x'"),
        ("def f()", "def f():\n  y"),
    ]


def test_other_code() -> None:
    """A part begins where a line at the margin follows a blank one."""
    code = "package x\n\nfunc A() {\n\n  a\n}\n\ntype B struct {\n}\n\n"
    assert _told(code_blocks(code)) == [
        ("", "package x"),
        ("func A()", "func A() {\n\n  a\n}"),
        ("type B struct", "type B struct {\n}"),
    ]
    assert _told(code_blocks("\n \n")) == []


@_cheap
@given(st.text(st.sampled_from("\n\n  abc{}():#@\"'\\\t=-*.`_<>&;|defclass"), max_size=300))
def test_nothing_breaks_a_parser(text: str) -> None:
    """Whatever it is given, its passages are within their limit; of code nothing but blanks is lost."""
    for one in FileFormat:
        if one is FileFormat.PDF:
            continue
        excerpts, note = excerpts_of(text.encode(), one)
        assert not note
        assert all(
            excerpt.text.strip() and len(excerpt.text.encode()) <= 1750 for excerpt in excerpts
        )
        assert excerpts_of(text.encode(), one) == (excerpts, note)
        if one in (FileFormat.PYTHON, FileFormat.CODE, FileFormat.PLAIN, FileFormat.MARKDOWN):
            joined = "".join("".join(excerpt.text.split()) for excerpt in excerpts)
            assert joined == "".join(text.split())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a\0b", "binary: it has NUL bytes"),
        (b"\xff\xfea\0\0\0", "binary: it has NUL characters"),
        (b"\xff\xfe\x00\xd8", "not UTF-16 at byte 2"),
        (b"\x81\x82", "not UTF-8 at byte 0"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid x",
            "in Git LFS: only a pointer to it is here",
        ),
        (b"a" * (10 * 2**20 + 1), "larger than 10 MiB"),
    ],
)
def test_what_is_no_document_has_a_reason(data: bytes, reason: str) -> None:
    """In a few words."""
    with pytest.raises(Unfit) as caught:
        excerpts_of(data, FileFormat.PLAIN)
    assert str(caught.value) == reason


def test_encodings() -> None:
    """UTF-8 with and without its mark, UTF-16 with its mark; Windows-1252 is told."""
    for data in ("ü".encode(), "ü".encode("utf-8-sig"), "ü".encode("utf-16")):
        excerpts, note = excerpts_of(data, FileFormat.PLAIN)
        assert (excerpts[0].text, note) == ("ü", "")
    excerpts, note = excerpts_of(b"\xfc", FileFormat.PLAIN)
    assert (excerpts[0].text, note) == ("ü", "not UTF-8 at byte 0: read as Windows-1252")


def test_the_daemon_has_no_parser_in_memory() -> None:
    """Not even where topics are configured."""
    code = (
        "import sys, gptproxy.daemon, gptproxy.documents\n"
        "print([name for name in ('markdown_it', 'docutils', 'pypdf', 'html.parser',"
        " 'gptproxy.knowledge.feeding') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_block_is_a_value() -> None:
    """Equal by content."""
    assert Block("a") == Block("a", ())
