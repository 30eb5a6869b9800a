"""The sandbox's vectors: form, determinism, and a search that finds the right paragraph."""

from __future__ import annotations

import base64
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptproxy.sandbox import embeddings
from gptproxy.sandbox.embeddings import as_base64, embed, embeddings_answer
from gptproxy.sandbox.messages import JsonObject, Refusal
from gptproxy.sandbox.models import MODELS

PARAGRAPHS = {
    "bread": "To bake bread, mix flour, water, salt and yeast. Let the dough rise for an hour, "
    "then bake the loaf in a hot oven until the crust is brown.",
    "tyre": "A punctured bicycle tyre is repaired with a patch. Take the wheel off, pull out the "
    "inner tube, find the hole, roughen the rubber and glue the patch over it.",
    "retry": "Requests that fail with a server error are retried with exponential backoff. The "
    "number of attempts is limited, and a Retry-After header is obeyed.",
    "tokens": "Developers authenticate with their GitLab personal access token. The token is "
    "verified once a minute, and a revoked token is refused.",
    "volcano": "Volcanoes erupt when molten rock, called magma, rises through the crust of the "
    "earth. The lava that flows out cools and becomes new rock.",
    "piano": "A piano is tuned by tightening or loosening its strings. The tuner listens to each "
    "note and compares it with a tuning fork.",
    "backup": "The database is backed up every night to another disk. To restore a backup, stop "
    "the service, copy the file back and start it again.",
    "garden": "Tomatoes need sun, rich soil and regular watering. Plant the seedlings in the "
    "garden after the last frost and tie them to stakes.",
}
QUESTIONS = [
    ("How long does the dough have to rise before I bake my loaf?", "bread"),
    ("my bike has a hole in the inner tube, how can I repair it?", "tyre"),
    ("How many attempts are made after an error of the server?", "retry"),
    ("Which access tokens do developers need to log in with GitLab?", "tokens"),
    ("Why does lava flow out of a volcano when it is erupting?", "volcano"),
    ("who tunes the strings of pianos", "piano"),
    ("how do we restore the data base from last night's backups", "backup"),
    ("When should I be planting tomato seedlings?", "garden"),
]


@pytest.mark.parametrize(("question", "wanted"), QUESTIONS)
@pytest.mark.parametrize("dimensions", [256, 1536])
def test_the_right_paragraph_ranks_first(question: str, wanted: str, dimensions: int) -> None:
    """A question finds its paragraph by shared vocabulary, in other forms of the words too."""
    asked = embed(question, dimensions)
    ranked = sorted(
        PARAGRAPHS, key=lambda name: -float(asked @ embed(PARAGRAPHS[name], dimensions))
    )
    assert ranked[0] == wanted


DOCUMENTS = Path(embeddings.__file__).with_name("documents")
BUILT_IN = [
    ("How do I log in with my GitLab token?", "logging-in.md"),
    ("What happens when the content filter intercepts my prompt?", "retry-and-failover.md"),
    ("How often is a throttled request retried by gptproxy?", "retry-and-failover.md"),
    ("gptproxy: how do I add my own documents?", "topics-and-documents.md"),
    ("What if a client closes the connection while gptproxy is streaming?", "streaming.md"),
    ("How do I configure a second Azure upstream?", "configuration.md"),
    ("What is gptproxy?", "overview.md"),
]


@pytest.mark.parametrize(("question", "wanted"), BUILT_IN)
def test_the_built_in_documents_are_found(question: str, wanted: str) -> None:
    """A person who tries the product gets the section that answers him."""
    sections = {}
    for path in DOCUMENTS.glob("*.md"):
        text = path.read_text("utf-8")
        for number, section in enumerate(re.split(r"^## ", text, flags=re.MULTILINE)):
            sections[path.name, number] = f"{text.splitlines()[0]}\n{section}"
    asked = embed(question)
    name, _ = max(sections, key=lambda place: float(asked @ embed(sections[place])))
    assert name == wanted


@given(st.text(), st.integers(1, 3072))
@settings(max_examples=100, deadline=None)
def test_every_text_has_a_unit_vector_of_its_own(text: str, dimensions: int) -> None:
    """Any text has a finite vector, always the same, of length 1 where it has room for one."""
    vector = embed(text, dimensions)
    assert vector.shape == (dimensions,)
    assert vector.dtype == np.float32
    assert np.isfinite(vector).all()
    assert (vector == embed(text, dimensions)).all()
    if dimensions >= 64:
        assert abs(float(np.linalg.norm(vector)) - 1.0) < 1e-5


def test_a_vector_does_not_change_between_releases() -> None:
    """Stored vectors stay comparable: the hashing is part of the interface."""
    first = embed("one two three", 8)
    assert np.round(first, 4).tolist() == pytest.approx(KNOWN, abs=1e-3)


KNOWN = [-0.7220, 0.0, -0.0114, -0.3298, 0.0066, 0.5973, -0.0953, -0.0623]


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=30, deadline=None)
def test_both_forms_hold_the_same_numbers(text: str) -> None:
    """Base64 is the little-endian float32 form of the list of floats."""
    model = MODELS["text-embedding-3-small"]
    floats = embeddings_answer({"input": text, "dimensions": 32}, model)
    packed = embeddings_answer(
        {"input": text, "dimensions": 32, "encoding_format": "base64"}, model
    )
    raw = base64.b64decode(packed["data"][0]["embedding"])
    assert list(struct.unpack("<32f", raw)) == floats["data"][0]["embedding"]
    assert as_base64(embed(text, 32)) == packed["data"][0]["embedding"]


def test_inputs_of_every_kind_keep_their_order() -> None:
    """A string, strings, tokens and lists of tokens are all inputs, answered by index."""
    model = MODELS["text-embedding-ada-002"]
    for value, count in [("a", 1), (["a", "b", "c"], 3), ([1, 2], 1), ([[1], [2, 3]], 2)]:
        answer = embeddings_answer({"input": value}, model)
        assert [entry["index"] for entry in answer["data"]] == list(range(count))
        assert all(len(entry["embedding"]) == 1536 for entry in answer["data"])
        assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0
        assert answer["model"] == "text-embedding-ada-002"


def test_the_lengths_of_vectors_are_those_of_the_models() -> None:
    """The large model has 3072 numbers by default; both new ones can be asked for fewer."""
    large = MODELS["text-embedding-3-large"]
    assert len(embeddings_answer({"input": "a"}, large)["data"][0]["embedding"]) == 3072
    short = embeddings_answer({"input": "a", "dimensions": 256}, large)
    assert len(short["data"][0]["embedding"]) == 256


@pytest.mark.parametrize(
    "request_body",
    [
        {},
        {"input": ""},
        {"input": []},
        {"input": [""]},
        {"input": [[]]},
        {"input": 5},
        {"input": [True]},
        {"input": [["a"]]},
        {"input": ["a", 1]},
        {"input": "a", "dimensions": 1537},
        {"input": "a", "dimensions": 0},
        {"input": "a", "dimensions": "8"},
        {"input": "a", "encoding_format": "hex"},
        {"input": ["a"] * 2049},
        {"input": "a" * 40_000},
        {"input": [1] * 8193},
    ],
)
def test_bad_requests_are_refused(request_body: JsonObject) -> None:
    """What the API reference forbids is a 400."""
    with pytest.raises(Refusal) as caught:
        embeddings_answer(request_body, MODELS["text-embedding-3-small"])
    assert caught.value.status == 400


def test_ada_cannot_shorten() -> None:
    """Only the third generation takes ``dimensions``."""
    with pytest.raises(Refusal, match="dimensions"):
        embeddings_answer({"input": "a", "dimensions": 256}, MODELS["text-embedding-ada-002"])
