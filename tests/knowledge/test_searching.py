"""A question is answered by vectors and words, and by nothing that the caller may not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from gptproxy.knowledge import searching
from gptproxy.knowledge.errors import UnknownCollection
from gptproxy.knowledge.indexing import build_index
from gptproxy.knowledge.loaded import LoadedCollections
from gptproxy.knowledge.passages import Excerpt, Passage
from gptproxy.knowledge.reading import KnowledgeReader
from gptproxy.knowledge.searching import Asking, Model, search, vector_hits
from tests.knowledge.standins import put_document, vectors_of

_MODEL: Model = ("m", None)
_TEXTS = {
    "http": "the http module serves requests in fibers",
    "db": "the db module opens SQLite files",
    "ssl": "the ssl module speaks TLS",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "k.db"
    for name, text in _TEXTS.items():
        put_document(path, "docs", "m", f"{name}/a.md", [Excerpt(name, text)], vectors_of([text]))
    return path


def _search(
    path: Path, question: str, *askings: Asking, like: str | None = None, **given: bool
) -> tuple[Passage, ...]:
    vectors = {_MODEL: vectors_of([like or question])[0]}
    vectors = {model: one / np.linalg.norm(one) for model, one in vectors.items()}
    return search(
        LoadedCollections(path, lambda: 0.0),
        askings or [Asking("docs")],
        question,
        {} if given.get("words_alone") else vectors,
        lambda: given.get("overdue", False),
    )


def test_both_find(path: Path) -> None:
    """What one ranking misses the other has; each passage once, with its cosine."""
    found = _search(path, "SQLite", like="the ssl module speaks TLS")
    assert {one.heading for one in found[:2]} == {"db", "ssl"}
    assert len({one.passage_id for one in found}) == len(found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    by_heading = {one.heading: one for one in found}
    assert by_heading["ssl"].similarity == pytest.approx(1, abs=1e-5)
    assert by_heading["db"].similarity is not None
    assert by_heading["db"].collection == "docs"
    assert by_heading["db"].source == "db/a.md"


def test_words_alone(path: Path) -> None:
    """Without a vector of the question, and in a collection without vectors."""
    (found,) = _search(path, "what does TLS?", words_alone=True)
    assert (found.heading, found.similarity) == ("ssl", None)
    put_document(path, "bare", None, "b/a.md", [Excerpt("", "TLS is spoken")])
    (found,) = _search(path, "TLS", Asking("bare"))
    assert found.text == "TLS is spoken"


def test_a_question_s_operators_are_words(path: Path) -> None:
    """Nothing in it is FTS5's; no word of it is none to find."""
    (found,) = _search(path, 'TLS" NOT (scope:c9 *', words_alone=True)
    assert found.heading == "ssl"
    assert _search(path, "???", words_alone=True) == ()


def test_time_that_is_over_ends_the_ranking_by_words(path: Path) -> None:
    """A passage that vectors found is there; whether words were in time is theirs."""
    many = [Excerpt("", f"the module number {number} is TLS") for number in range(3_000)]
    put_document(path, "docs", None, "many/a.md", many)
    found = _search(path, "the TLS module", overdue=True)
    assert {one.heading for one in found} == {"http", "db", "ssl"}


def test_common_words_of_a_large_collection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rarer ones find; where nobody waits any more, none is counted to its end."""
    monkeypatch.setattr(searching, "_RANKED_PASSAGES", 2)
    found = _search(path, "what does the TLS module speak", words_alone=True)
    assert [one.heading for one in found] == ["ssl"]
    found = _search(path, "what are modules", words_alone=True)
    assert {one.heading for one in found} == {"http", "db", "ssl"}
    assert _search(path, "qwxz", words_alone=True) == ()


def test_a_common_word_is_counted_once_for_each_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once for each question; a count that was stopped is not kept, nor a rare word's."""
    monkeypatch.setattr(searching, "_RANKED_PASSAGES", 2)
    monkeypatch.setattr(searching, "_COMMON_PASSAGES", 2)
    counted: list[str] = []
    count = KnowledgeReader.word_count

    def counting(reader: KnowledgeReader, query: str, *more: object) -> int:
        counted.append(query)
        return count(reader, query, *more)  # type: ignore[arg-type]  # as they come

    monkeypatch.setattr(KnowledgeReader, "word_count", counting)
    collections = LoadedCollections(path, lambda: 0.0)

    def ask(question: str, *, overdue: bool = False) -> int:
        counted.clear()
        search(collections, [Asking("docs")], question, {}, lambda: overdue)
        return len(counted)

    assert ask("the TLS module", overdue=True) == 2
    assert ask("the TLS module") == 2
    assert ask("the TLS module") == 1
    assert counted == ['{heading text} : ("tls")']
    with KnowledgeReader(path) as reader:
        assert collections.current(reader, "docs").word_counts == {"module": 3}
    put_document(path, "docs", None, "new/a.md", [Excerpt("new", "another module")])
    collections = LoadedCollections(path, lambda: 0.0)
    assert ask("the TLS module") == 2
    monkeypatch.setattr(searching, "_COUNTS_MOST", 0)
    collections = LoadedCollections(path, lambda: 0.0)
    assert [ask("the TLS module"), ask("the TLS module")] == [2, 2]


def test_the_only_collection_needs_no_scope(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found, and its order, are the same; beside another collection the scope is there."""
    queries: list[str] = []
    hits = KnowledgeReader.word_hits

    def asked(reader: KnowledgeReader, query: str, *more: object) -> object:
        queries.append(query)
        return hits(reader, query, *more)  # type: ignore[arg-type]  # as they come

    monkeypatch.setattr(KnowledgeReader, "word_hits", asked)
    question = "which module speaks TLS or opens SQLite"
    alone = [one.passage_id for one in _search(path, question, words_alone=True)]
    assert "scope" not in queries[0]
    with KnowledgeReader(path) as reader:
        scoped = hits(reader, f'scope : "c1" AND {queries[0]}', 50, lambda: False)
        plain = hits(reader, queries[0], 50, lambda: False)
        assert scoped is not None
        assert plain is not None
        assert [one for one, _ in scoped] == [one for one, _ in plain] == alone
        assert [score for _, score in scoped] == pytest.approx([score for _, score in plain])
    put_document(path, "other", None, "o/a.md", [Excerpt("o", "a module that speaks TLS")])
    assert {one.heading for one in _search(path, question, words_alone=True)} == {
        "http",
        "db",
        "ssl",
    }
    assert queries[1].startswith('scope : "c1" AND ')


def test_a_least_score(path: Path) -> None:
    """Neither ranking brings what is further away."""
    found = _search(path, "the ssl module speaks TLS", Asking("docs", 0.9))
    assert [one.heading for one in found] == ["ssl"]
    assert _search(path, "TLS", Asking("docs", 0.9), words_alone=True) == ()


@pytest.mark.parametrize("indexed", [False, True])
def test_what_may_not_be_read_is_not_there(path: Path, indexed: bool) -> None:
    """However many of the nearest are somebody else's, the answer is what it would be without them."""
    theirs = [Excerpt("", f"TLS secret {number}") for number in range(300)]
    text = "the ssl module speaks TLS"
    expected = [one.passage_id for one in _search(path, text)]
    vectors = vectors_of([text] * 300)
    put_document(path, "docs", "m", "p/a.md", theirs, vectors, project="a/b", members_only=True)
    if indexed:
        build_index(path, "docs", 0)
    with KnowledgeReader(path) as reader:
        sources = reader.sources(reader.collection("docs"))
    ours = [one for one in sources if not one.members_only]
    assert [one.project for one in sources if one not in ours] == ["a/b"]
    assert "secret" in _search(path, text)[1].text
    asking = Asking("docs", permitted=frozenset(ours))
    assert [one.passage_id for one in _search(path, text, asking)] == expected


def test_collections_together(path: Path) -> None:
    """Their passages are ranked as if they were of one."""
    text = "the tls module speaks TLS best"
    put_document(path, "other", "m", "o/a.md", [Excerpt("o", text)], vectors_of([text]))
    found = _search(path, text, Asking("docs"), Asking("other"))
    assert [one.heading for one in found][:2] == ["o", "ssl"]
    assert found[0].collection == "other"
    with pytest.raises(UnknownCollection):
        _search(path, text, Asking("none"))


def test_two_stages_find_what_one_finds(tmp_path: Path) -> None:
    """Of many vectors with a few directions that matter, the same ten."""
    random = np.random.default_rng(3)
    spread = 1 / np.arange(1, 65) ** 0.7
    vectors = (random.standard_normal((3_000, 64)) * spread).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path = tmp_path / "k.db"
    excerpts = [Excerpt("", f"n{number}") for number in range(len(vectors))]
    put_document(path, "docs", "m", "d/a.md", excerpts, vectors)
    built = build_index(path, "docs", 0)
    assert built is not None
    collections = LoadedCollections(path, lambda: 0.0)
    with KnowledgeReader(path) as reader:
        loaded = collections.current(reader, "docs")
        assert loaded.index is not None
        # As if half of the directions were lost.
        half = evolve(
            loaded.index,
            directions=loaded.index.directions[:32],
            projected=np.ascontiguousarray(loaded.index.projected[:, :32]),
        )
        for question in vectors[::300]:
            exact = np.argsort(-(vectors @ question))[:10] + 1
            found = vector_hits(reader, evolve(loaded, index=half), question, 10, -1.0)
            assert [hit.passage_id for hit in found] == exact.tolist()
            assert found[0].score == pytest.approx(1, abs=1e-5)
