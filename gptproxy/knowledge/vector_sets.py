"""
The vectors of a collection: of which model, complete or not, and when another model takes over.

Blocking: for pool threads and commands, never for the reactor thread. A collection is searched by
its active set. Another model's set is built beside it, passage by passage over any number of runs,
and takes its place in one transaction when no passage is without a vector in it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from attrs import frozen

from gptproxy.knowledge.errors import KnowledgeError, OtherModel
from gptproxy.knowledge.inputs import CALL_INPUTS, INPUT_VERSION

__all__ = ["EmbeddingModel", "Unembedded", "VectorSet", "VectorSets"]

_FLOAT32_BYTES = 4
# What one transaction removes at most: 6 MB of vectors of 1,536 dimensions.
_VECTORS_AT_ONCE = 1000


@frozen
class EmbeddingModel:
    """
    What the operator wants passages to be embedded with.

    :param name: the model's OpenAI name.
    :param dimensions: what it is asked for; None: its own length.
    """

    name: str
    dimensions: int | None = None


@frozen
class VectorSet:
    """
    A set of vectors.

    :param set_id: its id.
    :param model: what they are of.
    :param dimensions: their length; None until there is one.
    :param active: it is the one that is searched; else it is being built.
    """

    set_id: int
    model: EmbeddingModel
    dimensions: int | None
    active: bool


@frozen
class Unembedded:
    """
    A passage without a vector in a set.

    :param passage_id: its id.
    :param heading: the titles it stands under.
    :param text: its text.
    :param input_hash: of what is embedded.
    """

    passage_id: int
    heading: str
    text: str
    input_hash: str


class VectorSets:
    """
    :param connection: open for writing.
    :param reading: makes a context for reads.
    :param writing: makes a context for a transaction.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        reading: Callable[[], AbstractContextManager[None]],
        writing: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._execute = connection.execute
        self._many = connection.executemany
        self._reading = reading
        self._writing = writing

    def active(self, collection_id: int) -> VectorSet | None:
        """
        :param collection_id: a collection's.
        :return: the set that is searched.
        """
        with self._reading():
            return self._in_state(collection_id, "active")

    def wanted(self, collection_id: int, model: EmbeddingModel) -> VectorSet:
        """
        Choose the set that a model's vectors go to. One of a model that was wanted before, and is
        neither active nor wanted any more, is retired.

        :param collection_id: a collection's.
        :param model: what the operator wants.
        :return: the active set, where it is of that model; else the one that is being built.
        """
        with self._writing():
            active = self._in_state(collection_id, "active")
            building = self._in_state(collection_id, "building")
            if building is not None and (
                building.model != model or (active is not None and active.model == model)
            ):
                self._set_state(building.set_id, "retired")
                building = None
            if active is not None and active.model == model:
                return active
            return building or self._begin(collection_id, model)

    def unembedded(
        self, found: VectorSet, after: int, limit: int = CALL_INPUTS
    ) -> list[Unembedded]:
        """
        :param found: a set.
        :param after: the id of a passage.
        :param limit: how many at most.
        :return: the first passages behind it that have no vector in the set.
        """
        with self._reading():
            rows = self._execute(
                "SELECT passage_id, heading, text, input_hash FROM passages WHERE collection_id ="
                " (SELECT collection_id FROM embedding_sets WHERE set_id = ?1) AND passage_id > ?2"
                " AND NOT EXISTS (SELECT 1 FROM vectors"
                "  WHERE set_id = ?1 AND vectors.passage_id = passages.passage_id)"
                " ORDER BY passage_id LIMIT ?3",
                (found.set_id, after, limit),
            ).fetchall()
        return [Unembedded(*row) for row in rows]

    def count_unembedded(self, found: VectorSet) -> int:
        """
        :param found: a set.
        :return: how many passages of its collection have no vector in it.
        """
        with self._reading():
            (count,) = self._execute(
                "SELECT (SELECT count(*) FROM passages WHERE collection_id ="
                " (SELECT collection_id FROM embedding_sets WHERE set_id = ?1))"
                " - (SELECT count(*) FROM vectors WHERE set_id = ?1)",
                (found.set_id,),
            ).fetchone()
        return int(count)

    def known(self, found: VectorSet, hashes: Sequence[str]) -> dict[str, bytes]:
        """
        :param found: a set.
        :param hashes: of embedding inputs.
        :return: the vectors of those that the set has, by hash.
        """
        with self._reading():
            rows = (
                (
                    one,
                    self._execute(
                        "SELECT vector FROM passages JOIN vectors USING (passage_id) WHERE collection_id ="
                        " (SELECT collection_id FROM embedding_sets WHERE set_id = ?1)"
                        " AND input_hash = ?2 AND set_id = ?1 LIMIT 1",
                        (found.set_id, one),
                    ).fetchone(),
                )
                for one in dict.fromkeys(hashes)
            )
            return {one: row[0] for one, row in rows if row is not None}

    def fix_dimensions(self, found: VectorSet, dimensions: int) -> VectorSet:
        """
        Say how long a set's vectors are, or check it.

        :param found: a set.
        :param dimensions: the length of vectors that are to go into it.
        :return: the set.
        :raise OtherModel: it has vectors of another length.
        """
        with self._writing():
            self._execute(
                "UPDATE embedding_sets SET dimensions = ? WHERE set_id = ? AND dimensions IS NULL",
                (dimensions, found.set_id),
            )
            (stored,) = self._execute(
                "SELECT dimensions FROM embedding_sets WHERE set_id = ?", (found.set_id,)
            ).fetchone()
        if stored != dimensions:
            raise OtherModel(
                f"vectors of {found.model.name!r} have {stored} dimensions in the database,"
                f" these have {dimensions}"
            )
        return VectorSet(found.set_id, found.model, dimensions, found.active)

    def fill(self, found: VectorSet, vectors: Mapping[int, bytes]) -> None:
        """
        Give passages their vectors; one that has one, or is gone, needs none.

        :param found: the set.
        :param vectors: unit vectors by the passages' ids.
        """
        with self._writing():
            self._many(
                "INSERT INTO vectors (set_id, passage_id, vector) SELECT ?1, passage_id, ?3"
                " FROM passages WHERE passage_id = ?2 ON CONFLICT DO NOTHING",
                ((found.set_id, passage_id, vector) for passage_id, vector in vectors.items()),
            )
            if found.active:
                self._changed(found.set_id)

    def activate(self, found: VectorSet) -> VectorSet:
        """
        Let a set that is complete take the place of the active one.

        :param found: a set that is being built.
        :return: the set, active.
        """
        with self._writing():
            self._execute(
                "UPDATE embedding_sets SET state = 'retired' WHERE state = 'active' AND collection_id ="
                " (SELECT collection_id FROM embedding_sets WHERE set_id = ?)",
                (found.set_id,),
            )
            self._set_state(found.set_id, "active")
            self._changed(found.set_id)
        return VectorSet(found.set_id, found.model, found.dimensions, active=True)

    def require_active(self, set_id: int) -> None:
        """
        :param set_id: a set's; the caller is in a transaction.
        :raise KnowledgeError: it is not the active one.
        """
        row = self._execute(
            "SELECT 1 FROM embedding_sets WHERE set_id = ? AND state = 'active'", (set_id,)
        ).fetchone()
        if row is None:
            raise KnowledgeError("another command has changed the collection's embedding model")

    def drop_retired(self) -> None:
        """Remove the vectors of retired sets, some in each transaction, then the sets."""
        while True:
            with self._writing():
                gone = self._execute(
                    "DELETE FROM vectors WHERE vector_id IN (SELECT vector_id FROM vectors"
                    " JOIN embedding_sets USING (set_id) WHERE state = 'retired' LIMIT ?)",
                    (_VECTORS_AT_ONCE,),
                ).rowcount
                if not gone:
                    self._execute("DELETE FROM embedding_sets WHERE state = 'retired'")
                    return

    def _in_state(self, collection_id: int, state: str) -> VectorSet | None:
        row = self._execute(
            "SELECT set_id, model, dimensions_asked, dimensions FROM embedding_sets"
            " WHERE collection_id = ? AND state = ? AND version = ?",
            (collection_id, state, INPUT_VERSION),
        ).fetchone()
        if row is None:
            return None
        return VectorSet(row[0], EmbeddingModel(row[1], row[2]), row[3], state == "active")

    def _begin(self, collection_id: int, model: EmbeddingModel) -> VectorSet:
        # One of an earlier version of the inputs may still stand there.
        self._execute(
            "UPDATE embedding_sets SET state = 'retired' WHERE collection_id = ? AND state = 'building'",
            (collection_id,),
        )
        (set_id,) = self._execute(
            "INSERT INTO embedding_sets (collection_id, model, dimensions_asked, version, state)"
            " VALUES (?, ?, ?, ?, 'building') RETURNING set_id",
            (collection_id, model.name, model.dimensions, INPUT_VERSION),
        ).fetchone()
        return VectorSet(set_id, model, None, active=False)

    def _set_state(self, set_id: int, state: str) -> None:
        self._execute("UPDATE embedding_sets SET state = ? WHERE set_id = ?", (state, set_id))

    def _changed(self, set_id: int) -> None:
        self._execute(
            "UPDATE collections SET revision = revision + 1 WHERE collection_id ="
            " (SELECT collection_id FROM embedding_sets WHERE set_id = ?)",
            (set_id,),
        )
