"""
The index of a large collection: a file beside the database, written whole, mapped and never changed.

Blocking: for pool threads and commands. The file holds what the first stage of a search looks
through: the directions that vectors are projected on, the projected vectors, and whose they are.
It is written under another name and renamed, so whoever has the earlier one mapped keeps it. In
order, each part starting at a multiple of 4096 bytes and all numbers little-endian: the magic
bytes, a length and a JSON object (the head); ids, int64; directions, float32 (components,
dimensions); projected vectors, float32 (n, components).
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import orjson
from attrs import asdict, field, frozen
from numpy.typing import NDArray

from gptproxy.knowledge.database import naming_errors
from gptproxy.knowledge.errors import KnowledgeError

__all__ = ["IndexHead", "MappedIndex", "index_path", "map_index", "write_index"]

_MAGIC: Final = b"gptproxy index 1"
_LENGTH: Final = struct.Struct("<Q")
_PAGE: Final = 4096


@frozen
class IndexHead:
    """
    What the vectors are of.

    :param database_id: the database's, in hexadecimal digits.
    :param collection_id: the collection's.
    :param set_id: the set of vectors'.
    :param revision: the collection's when they were read.
    :param count: vectors.
    :param dimensions: their length.
    :param components: their length when projected.
    """

    database_id: str
    collection_id: int
    set_id: int
    revision: int
    count: int
    dimensions: int
    components: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Bytes of ids, directions and projected vectors."""
        return (
            8 * self.count,
            4 * self.components * self.dimensions,
            4 * self.count * self.components,
        )


@frozen(eq=False)
class MappedIndex:
    """
    An index in memory as far as the system keeps it there.

    :param head: what it is of.
    :param state: the file's inode, size and time: another index has others.
    :param ids: shape (n,), rising.
    :param directions: shape (components, dimensions).
    :param projected: shape (n, components).
    """

    head: IndexHead
    state: tuple[int, int, int]
    ids: NDArray[np.int64] = field(repr=False)
    directions: NDArray[np.float32] = field(repr=False)
    projected: NDArray[np.float32] = field(repr=False)


def index_path(database: Path, collection_id: int) -> Path:
    """:return: where a collection's index stands."""
    return database.with_name(f"{database.name}.c{collection_id}.index")


def write_index(
    path: Path,
    head: IndexHead,
    ids: NDArray[np.int64],
    directions: NDArray[np.float32],
    projected: Iterable[NDArray[np.float32]],
) -> None:
    """
    Write an index in place of the one that is there.

    :param path: the file; written under another name beside it and renamed.
    :param head: what it is of.
    :param ids: shape (n,), rising.
    :param directions: shape (components, dimensions).
    :param projected: pieces of shape (some, components), in the order of the ids.
    :raise KnowledgeError: it cannot be written; what was there before is there still.
    """
    with naming_errors(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                text = orjson.dumps(asdict(head))
                file.write(_MAGIC + _LENGTH.pack(len(text)) + text)
                for part in ([ids.astype("<i8")], [directions.astype("<f4")], projected):
                    file.write(bytes(-file.tell() % _PAGE))
                    for piece in part:
                        file.write(np.ascontiguousarray(piece).data)
                if file.tell() != _places(head, len(text))[-1]:
                    raise KnowledgeError(f"{path}: the vectors changed while they were read")
                file.flush()
                # As readable as the database, for of passages no text can be told from it; and of whom the folder is
                # for. By the open file: its name is his to give to another one.
                os.fchmod(file.fileno(), 0o644)
                if os.geteuid() == 0:
                    owner = path.parent.stat()
                    os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
                os.fsync(file.fileno())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def map_index(path: Path) -> MappedIndex | None:
    """
    Map an index.

    :param path: the file.
    :return: the index; None where there is none that is whole.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            start = file.read(len(_MAGIC) + _LENGTH.size)
            if len(start) < len(_MAGIC) + _LENGTH.size or not start.startswith(_MAGIC):
                return None
            (length,) = _LENGTH.unpack(start[len(_MAGIC) :])
            text = file.read(min(length, _PAGE))
            head = IndexHead(**orjson.loads(text))
            places = _places(head, length)
            if status.st_size != places[-1] or head.count < 1:
                return None
            mapped = np.memmap(file, dtype=np.uint8, mode="r")
    except (OSError, TypeError, ValueError):
        return None
    flat = np.asarray(mapped)
    ids, directions, projected = (
        flat[place : place + size] for place, size in zip(places, head.sizes, strict=False)
    )
    return MappedIndex(
        head,
        (status.st_ino, status.st_size, status.st_mtime_ns),
        ids.view("<i8"),
        directions.view("<f4").reshape(head.components, head.dimensions),
        projected.view("<f4").reshape(head.count, head.components),
    )


def _places(head: IndexHead, head_bytes: int) -> tuple[int, int, int, int]:
    """:return: where the three parts start, and where the last one ends."""
    ids, directions, projected = head.sizes
    first = _round_up(len(_MAGIC) + _LENGTH.size + head_bytes)
    second = _round_up(first + ids)
    third = _round_up(second + directions)
    return first, second, third, third + projected


def _round_up(place: int) -> int:
    return -(-place // _PAGE) * _PAGE
