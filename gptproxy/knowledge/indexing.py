"""
Indexes are brought up to date after documents went in: for the ``gptproxy docs`` commands.

Blocking: for pool threads and commands, outside of any transaction. Memory stays the same however
many vectors there are, but for their ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gptproxy.knowledge.database import naming_errors
from gptproxy.knowledge.errors import UnknownCollection
from gptproxy.knowledge.index_file import IndexHead, index_path, map_index, write_index
from gptproxy.knowledge.projection import principal_components
from gptproxy.knowledge.reading import ActiveSet, Collection, KnowledgeReader

__all__ = ["EXACT_PASSAGES", "build_index", "build_indexes"]

EXACT_PASSAGES: Final = 50_000
"""Up to so many vectors all are compared with a question, and no index is made."""

_SAMPLES: Final = 50_000
"""Vectors that the directions are found from: some thirty for each number of the longest."""

_SAMPLE_SEED: Final = 6


def build_indexes(database: Path) -> None:
    """
    Bring the index files beside a database up to date: one for each large collection, no others.

    :param database: the SQLite file.
    :raise KnowledgeError: it cannot be read, or an index cannot be written; the earlier one is
        there still.
    """
    kept = set()
    with KnowledgeReader(database) as reader:
        names = reader.names()
    for name in names:
        built = build_index(database, name)
        if built is not None:
            kept.add(built)
    with naming_errors(database):
        for path in database.parent.glob(f"{_escaped(database.name)}.c*.index"):
            if path not in kept:
                path.unlink(missing_ok=True)


def build_index(database: Path, name: str, exact_passages: int = EXACT_PASSAGES) -> Path | None:
    """
    Bring a collection's index up to date.

    :param database: the SQLite file.
    :param name: the collection's.
    :param exact_passages: up to so many vectors there is none.
    :return: the index file; None where the collection is gone or needs none.
    :raise KnowledgeError: see :func:`build_indexes`.
    """
    with KnowledgeReader(database) as reader:
        try:
            collection = reader.collection(name)
        except UnknownCollection:
            return None
        active = collection.active
        if active is None:
            return None
        # Most collections are small, and after most commands an index is as it should be: neither
        # has to read all ids to find that out.
        if reader.vector_count(active, exact_passages + 1) <= exact_passages:
            return None
        path = index_path(database, collection.collection_id)
        existing = map_index(path)
        if existing is not None and existing.head == _head(
            collection, active, existing.head.count, len(existing.directions)
        ):
            return path  # a collection's revision tells its vectors, and so how many they are
        ids = reader.vector_ids(active)
        directions = _directions(reader, active, ids)
        head = _head(collection, active, len(ids), len(directions))
        write_index(path, head, ids, directions, _projected(reader, active, ids, directions))
    return path


def _directions(
    reader: KnowledgeReader, active: ActiveSet, ids: NDArray[np.int64]
) -> NDArray[np.float32]:
    sampled = ids
    if len(ids) > _SAMPLES:
        sampled = np.sort(np.random.default_rng(_SAMPLE_SEED).choice(ids, _SAMPLES, replace=False))
    samples = (matrix for _, matrix in reader.vectors(active, sampled))
    return principal_components(samples, active.dimensions)


def _projected(
    reader: KnowledgeReader,
    active: ActiveSet,
    ids: NDArray[np.int64],
    directions: NDArray[np.float32],
) -> Iterator[NDArray[np.float32]]:
    for found, matrix in reader.vectors(active, ids):
        order = np.argsort(found)
        yield matrix[order] @ directions.T


def _head(collection: Collection, active: ActiveSet, count: int, components: int) -> IndexHead:
    return IndexHead(
        database_id=collection.database_id.hex(),
        collection_id=collection.collection_id,
        set_id=active.set_id,
        revision=collection.revision,
        count=count,
        dimensions=active.dimensions,
        components=components,
    )


def _escaped(name: str) -> str:
    """:return: a file's name as a pattern that only it matches."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in name)
