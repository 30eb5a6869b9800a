"""
How well passages are found: known-item search over real documentation.

``python -m benchmarks.retrieval [FOLDER]``; FOLDER has HTML, by default what Debian's python3-doc installs. A
section of the documentation is a passage, its heading is the question, and the heading is taken out of the
passage: it is asked for what nobody wrote down beside it. Only headings of two words or more that stand once in
the documentation, and not in the passage itself, are asked. By vectors, by words, and by both as the daemon does
it: how often the passage is the first one, is among the first five, and the mean of 1 / its rank. The questions are
halved at random, with a fixed seed: what is to be chosen is chosen by the first half, and judged by the other.

The vectors are the sandbox's, which know words and parts of words but no meaning; ``--embed MODULE:FUNCTION`` names
another maker: it is called with a list of texts and returns a row for each, as a local model does.
"""

from __future__ import annotations

import argparse
import importlib
import random
import re
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from gptproxy.knowledge.database import open_for_writing
from gptproxy.knowledge.embeddings import unit_rows
from gptproxy.knowledge.loaded import LoadedCollections
from gptproxy.knowledge.reading import KnowledgeReader
from gptproxy.knowledge.searching import Asking, search, vector_hits
from gptproxy.knowledge.word_query import question_terms, word_query
from gptproxy.sandbox.embeddings import embed

DEBIAN = Path("/usr/share/doc/python3.11/html")
HEADINGS = ("h1", "h2", "h3", "h4")
PASSAGE_CHARACTERS = 1_500
LEAST_CHARACTERS = 200
DEPTH = 20  # as many as a search gives, of each
MODEL = ("bench-embedding", None)


@frozen
class Section:
    """A heading, and what stands below it."""

    heading: str
    text: str


class _Sections(HTMLParser):
    """Cuts a page at its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[str]]] = []
        self._heading: list[str] | None = None
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "nav") or ("class", "headerlink") in attrs:
            self._skipping += tag in ("script", "style", "nav", "a")
        elif tag in HEADINGS:
            self._heading = []

    def handle_endtag(self, tag: str) -> None:
        if self._skipping and tag in ("script", "style", "nav", "a"):
            self._skipping -= 1
        elif tag in HEADINGS and self._heading is not None:
            heading = re.sub(r"^[\d.]+\s+", "", " ".join("".join(self._heading).split()))
            self.found.append((heading, []))
            self._heading = None

    def handle_data(self, data: str) -> None:
        if self._skipping:
            return
        if self._heading is not None:
            self._heading.append(data)
        elif self.found:
            self.found[-1][1].append(data)


def sections(folder: Path) -> list[Section]:
    """:return: every section below a folder that has some text."""
    found: list[Section] = []
    for page in sorted(folder.rglob("*.html")):
        if page.name.startswith(("genindex", "py-modindex", "search", "contents")):
            continue
        parser = _Sections()
        parser.feed(page.read_text("utf-8", "replace"))
        for heading, pieces in parser.found:
            text = " ".join("".join(pieces).split())[:PASSAGE_CHARACTERS]
            if len(text) >= LEAST_CHARACTERS:
                found.append(Section(heading, text))
    return found


def fill(path: Path, passages: Sequence[Section], vectors: NDArray[np.float32]) -> None:
    """Write a database with one collection."""
    connection = open_for_writing(path)
    connection.execute("BEGIN")
    connection.execute("INSERT INTO collections (name) VALUES ('bench')")
    connection.execute(
        "INSERT INTO embedding_sets (collection_id, model, dimensions, version, state)"
        " VALUES (1, ?, ?, 1, 'active')",
        (MODEL[0], vectors.shape[1]),
    )
    connection.execute("INSERT INTO sources (collection_id, spec) VALUES (1, '/bench')")
    connection.execute(
        "INSERT INTO documents (source_id, location, name, blob_id, content_hash)"
        " VALUES (1, '/bench/a', 'a.html', '', x'00')"
    )
    connection.executemany(
        "INSERT INTO passages (document_id, collection_id, ordinal, heading, text, input_hash)"
        " VALUES (1, 1, ?, '', ?, x'00')",
        enumerate(passage.text for passage in passages),
    )
    connection.executemany(
        "INSERT INTO vectors (set_id, passage_id, vector) VALUES (1, ?, ?)",
        ((number, row.tobytes()) for number, row in enumerate(vectors, 1)),
    )
    connection.execute("COMMIT")
    connection.close()


def report(name: str, ranks: Sequence[int | None]) -> None:
    """Print a line. :param ranks: of the passage that was meant, from 1; None: not found."""
    total = len(ranks)
    first = sum(rank == 1 for rank in ranks) / total
    five = sum(rank is not None and rank <= 5 for rank in ranks) / total
    mean = sum(1 / rank for rank in ranks if rank) / total
    print(f"  {name:8} hit@1 {first:.3f}  hit@5 {five:.3f}  MRR {mean:.3f}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("folder", nargs="?", type=Path, default=DEBIAN)
    parser.add_argument("--embed", help="MODULE:FUNCTION in the sandbox's place")
    given = parser.parse_args()
    maker: Callable[[list[str]], NDArray[np.float32]]
    if given.embed:
        module, _, function = given.embed.partition(":")
        maker = getattr(importlib.import_module(module), function)
    else:
        maker = lambda texts: np.stack([embed(text) for text in texts])  # noqa: E731
    passages = sections(given.folder)
    often = Counter(passage.heading.casefold() for passage in passages)
    asked = [
        (number, passage.heading)
        for number, passage in enumerate(passages, 1)
        if often[passage.heading.casefold()] == 1
        and len(re.findall(r"\w+", passage.heading)) >= 2
        and passage.heading.casefold() not in passage.text.casefold()
    ]
    random.Random(1).shuffle(asked)  # noqa: S311 - the same order each time
    print(f"{len(passages)} passages of {given.folder}, {len(asked)} questions")
    print(f"numpy {np.__version__}, SQLite {sqlite3.sqlite_version}, {given.embed or 'sandbox'}")
    vectors = unit_rows(maker([passage.text for passage in passages]))
    questions = unit_rows(maker([heading for _, heading in asked]))
    ranks: dict[str, list[int | None]] = {"vectors": [], "words": [], "both": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.db"
        fill(path, passages, vectors)
        collections = LoadedCollections(path, time.monotonic)
        with KnowledgeReader(path) as reader:
            loaded = collections.current(reader, "bench")
            for (meant, text), question in zip(asked, questions, strict=True):
                near = vector_hits(reader, loaded, question, DEPTH, 0.05)
                query = word_query(question_terms(text), None)
                words = reader.word_hits(query, DEPTH, lambda: False)
                both = search(
                    collections, [Asking("bench")], text, {MODEL: question}, lambda: False
                )
                for name, found in (
                    ("vectors", [hit.passage_id for hit in near]),
                    ("words", [one for one, _ in words or ()]),
                    ("both", [passage.passage_id for passage in both]),
                ):
                    ranks[name].append(found.index(meant) + 1 if meant in found else None)
    half = len(asked) // 2
    for title, part in (("to choose by", slice(half)), ("held out", slice(half, None))):
        print(title)
        for name, own in ranks.items():
            report(name, own[part])


if __name__ == "__main__":
    main()
