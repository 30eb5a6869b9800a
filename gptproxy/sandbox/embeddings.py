"""Vectors without a model: words and character n-grams hashed into a space, unit length.

Texts that share words, word stems or word pairs come near to each other, which is enough for a
search among documents to find the right passage. The same text always has the same vector, on
every machine (feature hashing with a sign, Weinberger et al., "Feature Hashing for Large Scale
Multitask Learning", 2009).

Pure: imports nothing of Twisted.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from gptproxy.sandbox.messages import JsonObject, Refusal
from gptproxy.sandbox.models import Model

__all__ = ["as_base64", "embed", "embeddings_answer"]

#: Of the API reference, "Create embeddings": at most so many inputs in one request.
_INPUTS = 2048
#: and so many tokens in one input. One token has at least one byte; four is the usual mean.
_TOKENS = 8192
_BYTES_PER_TOKEN = 4

_WORD = re.compile(r"[^\W_]+")
_STOPS = """
    a about all also an and any are as at be because been but by can could did do does for
    from had has have how i if in into is it its just may me more my no not of on one only or
    our out please should so some such than that the their them then there these they this to
    up use used using was we were what when where which who why will with would you your
"""
_STOP_WORDS = frozenset(_STOPS.split())
_ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ied", "ers", "er", "ed", "es", "s", "e", "y")

#: A whole word says more than its letters, a pair of words more than chance, a stop word little.
_WORD_WEIGHT = 1.0
_PAIR_WEIGHT = 0.5
_LETTERS_WEIGHT = 0.25
_STOP_WEIGHT = 0.05
_TEXT_WEIGHT = 0.01


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            stem = word[: -len(ending)]
            # "logging" is of "log", but "filling" of "fill" and "missing" of "miss".
            doubled = len(stem) > 3 and stem[-1] == stem[-2] and stem[-1] not in "lsz"
            return stem[:-1] if doubled else stem
    return word


def _hash(feature: str) -> int:
    digest = hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


@lru_cache(maxsize=20_000)  # about the vocabulary of a large collection; a few MB
def _features(word: str) -> tuple[tuple[int, float], ...]:
    if word in _STOP_WORDS:
        return ((_hash("s:" + word), _STOP_WEIGHT),)
    stem = _stem(word)
    framed = f"^{stem[:64]}$"
    grams = {framed[at : at + size] for size in (3, 4) for at in range(len(framed) - size + 1)}
    letters = _LETTERS_WEIGHT / math.sqrt(len(grams))
    return (
        (_hash("w:" + stem), _WORD_WEIGHT),
        *((_hash("c:" + gram), letters) for gram in sorted(grams)),
    )


def embed(text: str, dimensions: int = 1536) -> NDArray[np.float32]:
    """
    :param text: any text; the empty one has a vector too.
    :param dimensions: how many numbers, 1 or more.
    :return: float32 of shape ``(dimensions,)`` and length 1.
    """
    words = _WORD.findall(text.casefold())
    weights: dict[int, float] = {_hash("t:" + text): _TEXT_WEIGHT}
    for word, count in Counter(words).items():
        often = 1.0 + math.log(count)
        for feature, weight in _features(word):
            weights[feature] = weights.get(feature, 0.0) + weight * often
    stems = [_stem(word) for word in words if word not in _STOP_WORDS]
    for (left, right), count in Counter(pairwise(stems)).items():
        weights[_hash(f"p:{left} {right}")] = _PAIR_WEIGHT * (1.0 + math.log(count))
    features = np.fromiter(weights, dtype=np.uint64, count=len(weights))
    values = np.fromiter(weights.values(), dtype=np.float64, count=len(weights))
    signs = np.where(features >> np.uint64(63), -1.0, 1.0)
    slots = (features % np.uint64(dimensions)).astype(np.intp)
    vector = np.bincount(slots, weights=values * signs, minlength=dimensions)
    length = max(float(np.linalg.norm(vector)), 1e-12)  # features may cancel in few dimensions
    return (vector / length).astype(np.float32)


def as_base64(vector: NDArray[np.float32]) -> str:
    """
    :param vector: float32.
    :return: its little-endian bytes in base64, the form that ``encoding_format`` names.
    """
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


def _texts(value: object) -> list[str]:
    refused = Refusal(400, "'$.input' is invalid. Please check the API reference.", param="input")
    many: list[object]
    if isinstance(value, str):
        many = [value]
    elif isinstance(value, list) and value:
        many = [value] if all(type(item) is int for item in value) else value
    else:
        raise refused
    if len(many) > _INPUTS:
        raise Refusal(
            400, f"'$.input' is too long: at most {_INPUTS} items are allowed.", param="input"
        )
    texts = []
    for item in many:
        if isinstance(item, str):
            text, tokens = item, len(item.encode()) // _BYTES_PER_TOKEN
        elif isinstance(item, list) and all(type(token) is int for token in item):
            text, tokens = " ".join(f"token{token}" for token in item), len(item)
        else:
            raise refused
        if not text:
            raise Refusal(400, "'$.input' cannot be an empty string.", param="input")
        if tokens > _TOKENS:
            raise Refusal(
                400,
                f"This model's maximum context length is {_TOKENS} tokens, however you requested "
                f"{tokens} tokens. Please reduce your prompt; or completion length.",
            )
        texts.append(text)
    return texts


def embeddings_answer(request: JsonObject, model: Model) -> JsonObject:
    """
    :param request: the body of POST /embeddings: ``input`` as a string, strings, tokens or lists
        of tokens; ``encoding_format``; ``dimensions``.
    :param model: whose lengths of vectors hold.
    :return: the body of the answer, in the order of the inputs.
    :raise Refusal: 400, where the request is not one of the above.
    """
    dimensions = request.get("dimensions", model.dimensions)
    if dimensions != model.dimensions and not model.shortens:
        raise Refusal(400, "This model does not support specifying dimensions.")
    if type(dimensions) is not int or not 1 <= dimensions <= model.dimensions:
        raise Refusal(400, f"Invalid value for 'dimensions' = {dimensions}.", param="dimensions")
    form = request.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise Refusal(400, f"Invalid value: '{form}'.", param="encoding_format")
    texts = _texts(request.get("input"))
    data = []
    for index, text in enumerate(texts):
        vector = embed(text, dimensions)
        value = as_base64(vector) if form == "base64" else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": value})
    tokens = sum(-(-len(text.encode()) // _BYTES_PER_TOKEN) for text in texts)
    return {
        "object": "list",
        "data": data,
        "model": model.snapshot,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
