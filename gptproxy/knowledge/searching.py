"""
A question asked of collections: nearest vectors and best words, ranked together.

Blocking: for pool threads, never for the reactor thread. One search opens the database once and
sees one state of it. Passages that the caller may not read are taken out before anything is ranked,
so that the answer is what it would be without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from gptproxy.knowledge.fusion import Ranking, fused
from gptproxy.knowledge.loaded import Loaded, LoadedCollections
from gptproxy.knowledge.nearest import Neighbour, nearest, nearest_rows
from gptproxy.knowledge.passages import Passage
from gptproxy.knowledge.reading import ActiveSet, KnowledgeReader, Source
from gptproxy.knowledge.word_query import question_terms, telling_terms, word_query

__all__ = ["CANDIDATES", "Asking", "Model", "search", "vector_hits"]

Model: TypeAlias = "tuple[str, int | None]"
"""An embedding model's OpenAI name, and the dimensions that are asked of it."""

CANDIDATES: Final = 400
"""Of a projection's nearest so many are compared exactly, as far as they may still be among the hits."""

_AT_ONCE: Final = 50

_DOUBT: Final = 0.1
"""
How much of the question's remainder counts. Remainders of a thousand dimensions and more that have nothing to do with
each other have a product of a thirtieth of their lengths'; six times that, and a passage's is rarely over 0.6 long.
"""

_DEPTH: Final = 50
"""Hits of each ranking that are ranked together; more change nothing at the top."""

_OF_VECTORS: Final = 0.4
"""
Of a passage's score; the rest is of its words. Chosen by ``benchmarks/retrieval.py`` on one half of its questions: both
together find more than either one with vectors that find less than words do, and with vectors that find more.
"""

_RANKED_PASSAGES: Final = 250_000
"""
Ranking a passage by its words takes about a microsecond, and a question has some tenths of a second. In a larger
collection its commonest words are left out as far as more passages have them. That costs hits (in python3-doc a
twenty-fifth of them at 30 % of the passages, a fifth at 10 %), so it is no lower.
"""

_COMMON_PASSAGES: Final = 1_000
"""Counting fewer takes a fraction of a millisecond."""

_COUNTS_MOST: Final = 10_000
"""Words, some hundred bytes each. No collection has so many common ones; what questions say is anybody's."""

_PASSAGES: Final = 20
"""About as many as a long context is worth; augmentation takes from these what fits."""

_SCORE_FLOOR: Final = 0.05
"""What points away from the question, or stands square to it, is not about it, whatever the model."""


@frozen
class Asking:
    """
    Who asks which collection.

    :param collection: its name.
    :param min_score: the least cosine; 0: passages that only their words were found by do as well.
    :param permitted: sources that the caller may read; None: whatever there is. What has come since they were asked
        about, or has become another's to read, is not among them.
    """

    collection: str
    min_score: float = 0.0
    permitted: frozenset[Source] | None = None


def search(
    collections: LoadedCollections,
    askings: Sequence[Asking],
    question: str,
    vectors: Mapping[Model, NDArray[np.float32]],
    overdue: Callable[[], bool],
) -> tuple[Passage, ...]:
    """
    Find passages.

    :param collections: of one database.
    :param askings: each collection once.
    :param question: any text.
    :param vectors: the question's, shape (dimensions,), unit length, by each model that has one; a
        collection of another model is searched by words alone.
    :param overdue: whether nobody waits any more; asked in threads.
    :return: passages of all collections, by falling score, those of one document's text once.
    :raise KnowledgeError: the database is missing, corrupt, or cannot be read.
    """
    near: list[Neighbour] = []
    worded: list[tuple[float, int]] = []
    similarities: dict[int, float] = {}
    with KnowledgeReader(collections.path) as reader:
        for asking in askings:
            loaded = collections.current(reader, asking.collection)
            active = loaded.collection.active
            denied = _denied(reader, loaded, asking)
            vector = _fitting(vectors, active)
            known: dict[int, float] = {}
            if vector is not None:
                floor = max(_SCORE_FLOOR, asking.min_score)
                hits = _readable(reader, denied, _Near(reader, loaded, vector, floor))
                near += hits
                known = {hit.passage_id: hit.score for hit in hits}
            words = _words(reader, loaded, denied, question, overdue)
            if active is not None and vector is not None:
                unknown = [one for _, one in words if one not in known]
                known |= _similarities(reader, active, unknown, vector)
            if asking.min_score:
                least = asking.min_score
                words = [place for place in words if known.get(place[1], -1) >= least]
            worded += words
            similarities |= known
        near.sort(key=lambda hit: (-hit.score, hit.passage_id))
        worded.sort()
        ranked = fused(
            _DEPTH,
            Ranking(_OF_VECTORS, [(hit.passage_id, hit.score) for hit in near]),
            Ranking(1 - _OF_VECTORS, [(one, -score) for score, one in worded]),
        )
        return reader.passages(ranked[:_PASSAGES], similarities)


def vector_hits(
    reader: KnowledgeReader,
    loaded: Loaded,
    question: NDArray[np.float32],
    limit: int,
    floor: float,
) -> list[Neighbour]:
    """
    Find the passages nearest to a question, in one stage or two.

    :param reader: of the database.
    :param loaded: the collection, with an active set.
    :param question: shape (dimensions,), unit length.
    :param limit: hits at most.
    :param floor: the least score.
    :return: hits by falling score.
    """
    hits = nearest(loaded.matrix, loaded.ids, question, limit, floor) if len(loaded.ids) else []
    index, active = loaded.index, loaded.collection.active
    if index is None or active is None:
        return hits
    short = index.directions @ question
    candidates, nearness = nearest_rows(
        index.projected, index.ids, short, max(CANDIDATES, 4 * limit)
    )
    held = {hit.passage_id for hit in hits}
    # What the projection has lost of a score: the two remainders' product at most, and a part of
    # that where they point anywhere.
    lost = _DOUBT * math.sqrt(max(0.0, 1.0 - float(short @ short)))
    for start in range(0, len(candidates), _AT_ONCE):
        if len(hits) == limit and nearness[start] + lost < hits[-1].score:
            break
        for found, matrix in reader.vectors(active, np.sort(candidates[start : start + _AT_ONCE])):
            hits += [
                Neighbour(passage_id, score)
                for passage_id, score in zip(
                    found.tolist(), (matrix @ question).tolist(), strict=True
                )
                if score >= floor and passage_id not in held
            ]
        hits = sorted(hits, key=lambda hit: (-hit.score, hit.passage_id))[:limit]
    return hits


def _fitting(
    vectors: Mapping[Model, NDArray[np.float32]], active: ActiveSet | None
) -> NDArray[np.float32] | None:
    """:return: the question's vector that can be compared with a set's; None: there is none."""
    if active is None:
        return None
    vector = vectors.get((active.model, active.dimensions_asked))
    return vector if vector is not None and len(vector) == active.dimensions else None


def _denied(reader: KnowledgeReader, loaded: Loaded, asking: Asking) -> frozenset[int]:
    """:return: sources that the caller may not read, in the state that is searched."""
    if asking.permitted is None:
        return frozenset()
    sources = reader.sources(loaded.collection)
    return frozenset(one.source_id for one in sources if one not in asking.permitted)


class _Near:
    """A collection's nearest passages, as many as are asked for."""

    def __init__(
        self, reader: KnowledgeReader, loaded: Loaded, vector: NDArray[np.float32], floor: float
    ) -> None:
        self._given = (reader, loaded, vector)
        self._floor = floor

    def __call__(self, limit: int) -> list[Neighbour]:
        return vector_hits(*self._given, limit, self._floor)


def _readable(
    reader: KnowledgeReader, denied: frozenset[int], hits: Callable[[int], list[Neighbour]]
) -> list[Neighbour]:
    """:return: the best hits that the caller may read: more are looked for where some may not be."""
    limit = _DEPTH
    while True:
        found = hits(limit)
        if not denied:
            return found
        sources = reader.sources_of([hit.passage_id for hit in found])
        readable = [hit for hit in found if sources.get(hit.passage_id, -1) not in denied]
        if len(readable) >= _DEPTH or len(found) < limit:
            return readable[:_DEPTH]
        limit *= 4


def _words(
    reader: KnowledgeReader,
    loaded: Loaded,
    denied: frozenset[int],
    question: str,
    overdue: Callable[[], bool],
) -> list[tuple[float, int]]:
    """:return: BM25 scores, the least being the best, and ids."""
    terms = question_terms(question)
    own = loaded.collection
    scope = None if reader.is_alone(own) else f"c{own.collection_id}"
    if loaded.passages > _RANKED_PASSAGES:
        counts = {term: _word_count(reader, loaded, term, scope, overdue) for term in terms}
        terms = telling_terms(counts, _RANKED_PASSAGES)
    if not terms:
        return []
    query = word_query(terms, scope)
    limit = _DEPTH
    while True:
        found = reader.word_hits(query, limit, overdue)
        if found is None:
            return []
        places = [(score, one) for one, score in found]
        if not denied:
            return places
        sources = reader.sources_of([one for _, one in places])
        readable = [place for place in places if sources.get(place[1], -1) not in denied]
        if len(readable) >= _DEPTH or len(found) < limit:
            return readable[:_DEPTH]
        limit *= 4


def _word_count(
    reader: KnowledgeReader,
    loaded: Loaded,
    term: str,
    scope: str | None,
    overdue: Callable[[], bool],
) -> int:
    """:return: how many passages have a word, as far as that matters."""
    known = loaded.word_counts.get(term)
    if known is not None:
        return known
    count = reader.word_count(word_query([term], scope), _RANKED_PASSAGES + 1, overdue)
    # A count that was stopped says nothing; of rare words there are any number, and they are counted quickly.
    if count >= _COMMON_PASSAGES and len(loaded.word_counts) < _COUNTS_MOST and not overdue():
        loaded.word_counts[term] = count
    return count


def _similarities(
    reader: KnowledgeReader,
    active: ActiveSet,
    passages: Sequence[int],
    vector: NDArray[np.float32],
) -> dict[int, float]:
    found: dict[int, float] = {}
    for ids, matrix in reader.vectors(active, np.array(sorted(passages), dtype=np.int64)):
        found.update(zip(ids.tolist(), (matrix @ vector).tolist(), strict=True))
    return found
