"""
What an OpenAI embeddings answer says: a matrix of unit vectors, or an error.

Pure: numpy and orjson, nothing of Twisted. The answer comes from outside: its count, order, lengths
and numbers are checked before anything is stored or searched with them, and the model's name in it
is not trusted at all.

API page: https://platform.openai.com/docs/api-reference/embeddings/object (``index`` orders the
list; base64 is an array of little-endian float32).
"""

from __future__ import annotations

import base64
import binascii

import numpy as np
import orjson
from numpy.typing import NDArray

from gptproxy.knowledge.errors import MalformedEmbeddings

__all__ = ["read_embeddings", "unit_rows"]

_FLOAT32_BYTES = 4
# Between these neither a row's sum of squares nor, for what counts of it, a square leaves what float32 can say: vectors
# as models make them are of about unit length, and float64 takes five times as long.
_PLAIN_LEAST, _PLAIN_MOST = 1e-12, 1e12


def read_embeddings(answer: object, count: int) -> NDArray[np.float32]:
    """
    Read the answer to a call of ``/v1/embeddings``.

    :param answer: the answer's body as bytes, or what a JSON parser made of it.
    :param count: how many inputs the call had.
    :return: shape (count, d), float32, rows of unit length in the order of the inputs.
    :raise MalformedEmbeddings: the answer is not what the API promises, or a vector cannot be
        searched with.
    """
    if isinstance(answer, bytes):
        try:
            answer = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise MalformedEmbeddings("the embeddings answer is not JSON") from error
    items = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise MalformedEmbeddings("the embeddings answer has no list named data")
    if len(items) != count:
        raise MalformedEmbeddings(
            f"the embeddings answer has {len(items)} vectors for {count} inputs"
        )
    if count == 0:
        return np.empty((0, 0), dtype=np.float32)
    vectors: dict[int, NDArray[np.float32]] = {}
    for item in items:
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is not int or not 0 <= index < count or index in vectors:
            raise MalformedEmbeddings(
                "the indexes of the embeddings answer do not count the inputs"
            )
        vectors[index] = _vector(item.get("embedding"))
    if len({len(vector) for vector in vectors.values()}) != 1:
        raise MalformedEmbeddings("the vectors of the embeddings answer differ in length")
    return unit_rows(np.stack([vectors[index] for index in range(count)]))


def unit_rows(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Check vectors and bring them to unit length.

    :param matrix: shape (n, d) with d > 0.
    :return: the same shape, float32, every row of unit length.
    :raise MalformedEmbeddings: another shape, a NaN, an infinity or a zero vector.
    """
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise MalformedEmbeddings("the vectors are not a matrix")
    squares = np.einsum("ij,ij->i", matrix, matrix)
    units: NDArray[np.float32]
    # A NaN or an infinity anywhere in a row makes its sum one too, and a comparison with that is false.
    if ((squares > _PLAIN_LEAST) & (squares < _PLAIN_MOST)).all():
        units = matrix / np.sqrt(squares)[:, np.newaxis]
        return units
    # In float64 neither the largest nor the smallest float32 over- or underflows when squared.
    wide = matrix.astype(np.float64)
    if not np.isfinite(wide).all():
        raise MalformedEmbeddings("a vector has a number that is not finite")
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    if not (lengths > 0).all():
        raise MalformedEmbeddings("a vector is zero")
    units = (wide / lengths[:, np.newaxis]).astype(np.float32)
    return units


def _vector(embedding: object) -> NDArray[np.float32]:
    """:return: shape (d,) with d > 0, as received."""
    if isinstance(embedding, str):
        try:
            data = base64.b64decode(embedding, validate=True)
        except (binascii.Error, ValueError) as error:
            raise MalformedEmbeddings("an embedding is not base64") from error
        if not data or len(data) % _FLOAT32_BYTES:
            raise MalformedEmbeddings("an embedding is no array of float32")
        return np.frombuffer(data, dtype="<f4").astype(np.float32)
    if not isinstance(embedding, list) or not embedding:
        raise MalformedEmbeddings("an embedding is neither base64 nor a list of numbers")
    try:
        numbers = np.array(embedding)
    except ValueError as error:
        raise MalformedEmbeddings("an embedding is no flat list of numbers") from error
    if numbers.ndim != 1 or numbers.dtype.kind not in "fiu":
        raise MalformedEmbeddings("an embedding is no flat list of numbers")
    with np.errstate(
        over="ignore"
    ):  # too large for float32 becomes infinite, which unit_rows refuses
        return numbers.astype(np.float32)
