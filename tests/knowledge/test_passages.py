"""Documents are cut at their own structure, and nothing but blank lines is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.knowledge.formats.markdown import markdown_blocks
from gptproxy.knowledge.formats.plain import plain_blocks
from gptproxy.knowledge.passages import Excerpt, pack

_MOST_BYTES = 1750
_cheap = settings(max_examples=100, deadline=None)

_LONG = "This is a sentence of some words. " * 25  # 850 bytes: a passage by itself


def cut(document: str, *, markdown: bool) -> tuple[Excerpt, ...]:
    """:return: the passages of a document."""
    text = document.replace("\r\n", "\n").replace("\r", "\n")
    return tuple(pack(markdown_blocks(text) if markdown else plain_blocks(text)))


def _marks(text: str) -> str:
    """:return: everything but white space."""
    return "".join(text.split())


def _texts(document: str, *, markdown: bool = True) -> list[tuple[str, str]]:
    return [(one.heading, one.text) for one in cut(document, markdown=markdown)]


_line = st.one_of(
    st.sampled_from(
        ["", "  ", "# One", "## Two ##", "### Three", "#", "```", "~~~~", "```py", "===", "---"]
    ),
    st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), max_size=30),
    st.builds(
        lambda part, times: part * times,
        st.sampled_from(["x", "word ", "Say. ", "日本。", "é", " ", "🦀"]),
        st.integers(1, 1500),
    ),
)
_document = st.builds(
    lambda lines, end: end.join(lines),
    st.lists(_line, max_size=15),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
)


@_cheap
@given(_document, st.booleans())
def test_nothing_is_lost(document: str, markdown: bool) -> None:
    """The passages joined are the document without its white space at most, in order."""
    excerpts = cut(document, markdown=markdown)
    assert _marks("".join(one.text for one in excerpts)) == _marks(document)


@_cheap
@given(_document, st.booleans())
def test_every_passage_has_text_within_the_limit(document: str, markdown: bool) -> None:
    """No passage is blank or over the limit, and the same text gives the same passages."""
    excerpts = cut(document, markdown=markdown)
    for one in excerpts:
        assert one.text.strip()
        assert len(one.text.encode()) <= _MOST_BYTES
        assert len(one.heading.encode()) < 4096
    assert excerpts == cut(document, markdown=markdown)


@_cheap
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), max_size=200),
        max_size=40,
    ),
    st.booleans(),
)
def test_every_line_of_ordinary_length_stays_whole(lines: list[str], markdown: bool) -> None:
    """A line that is not blank is a line of a passage too."""
    kept = [
        line for one in cut("\n".join(lines), markdown=markdown) for line in one.text.split("\n")
    ]
    assert [line for line in kept if line.strip()] == [line for line in lines if line.strip()]


@pytest.mark.parametrize("document", ["", "\n\n \n", "\t"])
def test_a_blank_document_has_no_passages(document: str) -> None:
    """There is nothing to embed in it."""
    assert cut(document, markdown=True) == cut(document, markdown=False) == ()


def test_sections_of_their_own_size_are_passages_under_their_path() -> None:
    """A new heading ends a passage that is large enough; the path names all titles above it."""
    document = f"# Guide\n\n## Install\n{_LONG}\n## Use ##\n{_LONG}\n### Deep\n{_LONG}\n# End\nx"
    assert [heading for heading, _ in _texts(document)] == [
        "Guide / Install",
        "Guide / Use",
        "Guide / Use / Deep",
        "End",
    ]


def test_small_sections_are_joined_under_the_titles_they_share() -> None:
    """What is too small to be found alone is one passage, under what is true of all of it."""
    assert _texts("# Guide\n## A\none\n## B\ntwo") == [
        ("Guide", "# Guide\n\n## A\n\none\n\n## B\n\ntwo")
    ]
    assert _texts("# A\none\n# B\ntwo") == [("", "# A\n\none\n\n# B\n\ntwo")]


def test_a_heading_is_not_left_alone() -> None:
    """A heading goes with what follows it, also where that fills a passage."""
    paragraph = "word " * 300
    assert [text for _, text in _texts(f"# A\n\n{paragraph}\n\n# B\n\n{paragraph}")] == [
        f"# A\n\n{paragraph}",
        f"# B\n\n{paragraph}",
    ]


def test_underlined_headings() -> None:
    """Setext headings count, those of several lines too; a rule after a blank line is none."""
    document = f"Title\n=====\n{_LONG}\n\nPart\n---\n{_LONG}\n\ntwo\nlines\n---\n\n---\n{_LONG}"
    assert [heading for heading, _ in _texts(document)] == [
        "Title",
        "Title / Part",
        "Title / two lines",
    ]


@pytest.mark.parametrize(
    ("line", "heading"),
    [
        ("# C#", "C#"),
        ("# C #", "C"),
        ("#   spaced   out   ##  ", "spaced out"),
        ("   ###### deep", "deep"),
        ("#", ""),
        ("## ##", ""),
        ("#hashtag", ""),
        ("####### seven", ""),
        ("    # code", ""),
    ],
)
def test_what_a_heading_is(line: str, heading: str) -> None:
    """ATX headings as CommonMark has them."""
    assert _texts(f"{line}\ntext")[0][0] == heading


@pytest.mark.parametrize(
    "block",
    [
        "```sh\n# not a heading\n\nls\n```",
        "~~~\n# not a heading\n```\n~~~~",
        "````\n```\n# not a heading\n````",
        "```\n# not closed",
    ],
)
def test_code_is_not_read_for_headings(block: str) -> None:
    """Within fences nothing is a heading, and blank lines stay."""
    assert _texts(f"# A\nbefore\n{block}") == [("A", f"# A\n\nbefore\n\n{block}")]


def test_inline_code_opens_no_fence() -> None:
    """Three backticks that close on their line are inline code."""
    assert _texts("``` a ```\n# B\nx")[0] == ("", "``` a ```\n\n# B\n\nx")


def test_front_matter_is_no_heading() -> None:
    """Metadata between lines of dashes is kept, as text."""
    assert _texts("---\ntitle: x\n---\n# A\nb") == [("", "---\ntitle: x\n---\n\n# A\n\nb")]
    assert _texts("---\n# A\nb")[0][1] == "---\n\n# A\n\nb"


def test_plain_text_has_paragraphs_only() -> None:
    """In plain text a number sign is a number sign."""
    assert _texts("# a\n\n\n\nb", markdown=False) == [("", "# a\n\nb")]


@pytest.mark.parametrize(
    ("document", "first"),
    [
        ("a" * 900 + "\n" + "b" * 900, "a" * 900),
        ("One two. " + "c" * 1600, "One two. "),
        ("Wait!') " + "c" * 1600, "Wait!') "),
        ("日本。" + "c" * 1600, "日本。"),
        ("one two " + "c" * 1600, "one two "),
        ("c" * 1600, "c" * 1500),
        ("a" + "é" * 800, "a" + "é" * 749),
    ],
)
def test_where_a_long_paragraph_is_cut(document: str, first: str) -> None:
    """At the end of a line, else of a sentence, else of a word, else of a character."""
    excerpts = cut(document, markdown=False)
    assert "".join(one.text for one in excerpts) == document.replace("\n", "")
    pieces = [one.text for one in excerpts]
    # A short first piece is joined to the next; then the second cut shows where the first was.
    assert pieces[0] == first or pieces[0].startswith(first)
    assert pieces[0] == first or len(pieces[0].encode()) == len(first.encode()) + 1500


def test_an_excerpt_is_a_value() -> None:
    """Equal by content."""
    assert cut("a", markdown=True) == (Excerpt("", "a"),)
