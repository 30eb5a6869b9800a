"""
A collection as JSON lines, its vectors included, and back.

Blocking: for commands, never for the reactor thread. The first line tells what it is, then each
source is followed by its documents and each document by its passages, so either way no more than a
document is in memory. Vectors are base64 of little-endian float32, as OpenAI's API has them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson

from gptproxy.knowledge.database import exclusively, naming_errors, open_for_reading
from gptproxy.knowledge.errors import (
    KnowledgeError,
    MalformedEmbeddings,
    OtherModel,
    UnknownCollection,
)
from gptproxy.knowledge.inputs import INPUT_VERSION
from gptproxy.knowledge.passages import Excerpt
from gptproxy.knowledge.putting import Document
from gptproxy.knowledge.store import KnowledgeStore
from gptproxy.knowledge.vector_sets import EmbeddingModel, VectorSet

__all__ = ["export_lines", "import_lines"]

FORMAT = "gptproxy-documents"
_VERSION = 1
# Float32 rounding leaves a unit vector's squared length within about 1e-6 of 1.
_UNIT_TOLERANCE = 1e-3
_T = TypeVar("_T")
_Line = Mapping[str, object]


def export_lines(path: Path, collection: str) -> Iterator[bytes]:
    """
    Write a collection.

    :param path: the database.
    :param collection: which.
    :return: lines, each with its end; all of one state of the database.
    :raise UnknownCollection: there is none of that name.
    :raise KnowledgeError: the database cannot be read.
    """
    connection, _ = open_for_reading(path)
    with closing(connection), naming_errors(path):
        execute = connection.execute
        row = execute(
            "SELECT collection_id FROM collections WHERE name = ?", (collection,)
        ).fetchone()
        if row is None:
            raise UnknownCollection(f"{path}: there is no collection {collection!r}")
        found = execute(
            "SELECT set_id, model, dimensions_asked, dimensions, version FROM embedding_sets"
            " WHERE collection_id = ? AND state = 'active'",
            row,
        ).fetchone() or (None, None, None, None, INPUT_VERSION)
        head: dict[str, object] = {"format": FORMAT, "version": _VERSION, "collection": collection}
        head |= zip(
            ("model", "dimensions_asked", "dimensions", "input_version"), found[1:], strict=True
        )
        yield _line(head)
        for source_id, spec, project, members_only, synced_at in execute(
            "SELECT source_id, spec, project, members_only, synced_at FROM sources"
            " WHERE collection_id = ? AND removing = 0 ORDER BY source_id",
            row,
        ):
            source = {
                "spec": spec,
                "project": project,
                "members_only": bool(members_only),
                "synced_at": synced_at,
            }
            yield _line({"source": source})
            for document_id, *document in execute(
                "SELECT document_id, location, name, blob_id, content_hash, unfit,"
                " (SELECT count(*) FROM passages WHERE document_id = documents.document_id)"
                " FROM documents WHERE source_id = ? ORDER BY document_id",
                (source_id,),
            ):
                names = ("location", "name", "blob_id", "content_hash", "unfit", "passages")
                yield _line({"document": dict(zip(names, document, strict=True))})
                for heading, text, vector in execute(
                    "SELECT heading, text, vector FROM passages LEFT JOIN vectors"
                    " ON vectors.passage_id = passages.passage_id AND set_id = ?"
                    " WHERE document_id = ? ORDER BY ordinal",
                    (found[0], document_id),
                ):
                    encoded = None if vector is None else base64.b64encode(vector).decode()
                    yield _line({"passage": {"heading": heading, "text": text, "vector": encoded}})


def import_lines(
    path: Path, lines: Iterable[bytes], collection: str | None
) -> tuple[str, int, int]:
    """
    Read a collection that was written before. What the database has of it already stays, and what
    is the same is not written again: interrupted, it goes on when it is done again.

    :param path: the database; made where there is none.
    :param lines: from :func:`export_lines`.
    :param collection: its name here; None: as it was written.
    :return: that name, how many documents it has now that it had not, and how many passages.
    :raise OtherModel: the collection is there, with vectors of another model.
    :raise KnowledgeError: the lines are no export, or the database cannot be written.
    """
    numbered = enumerate(lines, 1)
    head = _object(next(numbered, (1, b"")))
    if head.get("format") != FORMAT or head.get("version") != _VERSION:
        raise KnowledgeError(f"line 1: this is no export of documents of version {_VERSION}")
    if head.get("model") is not None and head.get("input_version") != INPUT_VERSION:
        raise KnowledgeError("line 1: its vectors were made by other rules than this gptproxy's")
    name = collection or _of(head, "collection", str, 1)
    with exclusively(path), closing(KnowledgeStore(path)) as store:
        store.sweep()
        return (name, *_Import(store, name, head).all(numbered))


class _Import:
    """One import, line by line."""

    def __init__(self, store: KnowledgeStore, collection: str, head: _Line) -> None:
        self._store = store
        self._collection = collection
        self._head = head
        self._set: VectorSet | None = None
        self._dimensions = 0
        self._documents = self._passages = 0

    def all(self, numbered: Iterator[tuple[int, bytes]]) -> tuple[int, int]:
        """:return: documents and passages that are new."""
        source_id: int | None = None
        for number, raw in numbered:
            line = _object((number, raw))
            if "source" in line:
                source_id = self._source(_of(line, "source", dict, number), number)
            elif "document" in line and source_id is not None:
                document: _Line = _of(line, "document", dict, number)
                self._put(source_id, document, number, numbered)
            else:
                raise KnowledgeError(f"line {number}: neither a source nor a source's document")
        return self._documents, self._passages

    def _source(self, line: _Line, number: int) -> int:
        project = _optional(line, "project", str, number)
        source_id = self._store.add_source(
            self._collection,
            _of(line, "spec", str, number),
            project,
            members_only=_of(line, "members_only", bool, number),
        )
        synced_at = _optional(line, "synced_at", int, number)
        if synced_at is not None:
            self._store.note_synced(source_id, synced_at)
        if self._set is None and self._head.get("model") is not None:
            self._begin_set()
        return source_id

    def _begin_set(self) -> None:
        vectors = self._store.vectors
        model = EmbeddingModel(
            _of(self._head, "model", str, 1), _optional(self._head, "dimensions_asked", int, 1)
        )
        collection_id = self._store.collection_id(self._collection)
        if collection_id is None:
            raise KnowledgeError(f"collection {self._collection!r} was removed meanwhile")
        active = vectors.active(collection_id)
        if active is not None and active.model != model:
            raise OtherModel(
                f"collection {self._collection!r} is embedded with {active.model.name!r},"
                f" the export with {model.name!r}: import it under another name"
            )
        found = active or vectors.activate(vectors.wanted(collection_id, model))
        dimensions = _optional(self._head, "dimensions", int, 1)
        if dimensions is not None:
            found = vectors.fix_dimensions(found, dimensions)
            self._dimensions = dimensions
        self._set = found

    def _put(
        self, source_id: int, line: _Line, number: int, numbered: Iterator[tuple[int, bytes]]
    ) -> None:
        excerpts, rows = [], []
        for _ in range(_of(line, "passages", int, number)):
            at, raw = next(numbered, (number, b""))
            passage: _Line = _of(_object((at, raw)), "passage", dict, at)
            excerpts.append(
                Excerpt(_of(passage, "heading", str, at), _of(passage, "text", str, at))
            )
            encoded = _optional(passage, "vector", str, at)
            rows.append(None if encoded is None else self._vector(encoded, at))
        try:
            content_hash = bytes.fromhex(_of(line, "content_hash", str, number))
        except ValueError as error:
            raise KnowledgeError(f"line {number}: content_hash is not hexadecimal") from error
        document = Document(
            _of(line, "location", str, number),
            _of(line, "name", str, number),
            _of(line, "blob_id", str, number),
            content_hash,
            tuple(excerpts),
            _optional(line, "unfit", str, number),
        )
        vectors = {
            hashed: row
            for hashed, row in zip(document.hashes, rows, strict=True)
            if row is not None
        }
        set_id = None if self._set is None else self._set.set_id
        written = self._store.put(source_id, [document], vectors, set_id)
        self._documents += written.documents
        self._passages += written.passages

    def _vector(self, encoded: str, number: int) -> bytes:
        try:
            data = base64.b64decode(encoded, validate=True)
            if not self._dimensions or len(data) != 4 * self._dimensions:
                raise MalformedEmbeddings("a vector of another length than the first line says")
            row = np.frombuffer(data, "<f4")
            if not abs(float(row @ row) - 1) < _UNIT_TOLERANCE:  # false for NaN too
                raise MalformedEmbeddings("a vector is not of unit length")
        except (binascii.Error, ValueError, MalformedEmbeddings) as error:
            raise KnowledgeError(f"line {number}: {error}") from error
        return data


def _line(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _object(line: tuple[int, bytes]) -> _Line:
    number, raw = line
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise KnowledgeError(f"line {number}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise KnowledgeError(f"line {number}: not an object")
    return value


def _of(line: _Line, name: str, kind: Callable[..., _T], number: int) -> _T:
    value = line.get(name)
    if type(value) is not kind:
        raise KnowledgeError(f"line {number}: {name} is missing or of a wrong type")
    return value  # type: ignore[return-value]  # its type was looked at


def _optional(line: _Line, name: str, kind: Callable[..., _T], number: int) -> _T | None:
    return None if line.get(name) is None else _of(line, name, kind, number)
