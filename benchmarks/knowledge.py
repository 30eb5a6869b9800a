"""
How fast passages are found: exactly and in two stages, beside reading the vectors once.

``make bench-knowledge``; options: ``--sizes 20000 100000 1000000``, ``--folder`` (a million passages take 9 GB there),
``--keep`` (do not remove what was made). Each size is measured in a process of its own. What is compared with what was
measured in the same process, by turns: a machine's load cancels out of a ratio. faiss-cpu's flat index and usearch are
measured beside it where they are installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# As the daemon has it; before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_stalls import MODEL, stalls
from benchmarks.vectors import DIMENSIONS, QUESTIONS, SEED, Vectors
from gptproxy.knowledge.database import open_for_writing
from gptproxy.knowledge.indexing import EXACT_PASSAGES, build_index
from gptproxy.knowledge.loaded import LoadedCollections
from gptproxy.knowledge.nearest import nearest
from gptproxy.knowledge.reading import KnowledgeReader
from gptproxy.knowledge.searching import Asking, search, vector_hits

NEAR = 10
MIB = 2**20
WORDS = 20_000


def fill(path: Path, vectors: Vectors) -> list[list[int]]:
    """
    Write a database with one collection.

    :param path: the file.
    :param vectors: what is in it.
    :return: the ids of each question's nearest passages, computed as the vectors went in.
    """
    connection = open_for_writing(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("INSERT INTO collections (name) VALUES ('bench')")
    connection.execute(
        "INSERT INTO embedding_sets (collection_id, model, dimensions, version, state)"
        " VALUES (1, ?, ?, 1, 'active')",
        (MODEL, DIMENSIONS),
    )
    connection.execute("INSERT INTO sources (collection_id, spec) VALUES (1, '/bench')")
    connection.execute(
        "INSERT INTO documents (source_id, location, name, blob_id, content_hash)"
        " VALUES (1, '/bench/a', 'a.md', '', x'00')"
    )
    random = np.random.default_rng(SEED)
    best_scores = np.full((QUESTIONS, NEAR), -2.0, dtype=np.float32)
    best_ids = np.zeros((QUESTIONS, NEAR), dtype=np.int64)
    first = 1
    for block in vectors.blocks():
        # Zipf's law, roughly: some words are in most passages, most words in few.
        words = (WORDS * random.random((len(block), 12)) ** 4).astype(int)
        ids = np.arange(first, first + len(block))
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO passages (document_id, collection_id, ordinal, heading, text, input_hash)"
            " VALUES (1, 1, ?, 'bench', ?, x'00')",
            (
                (int(number), " ".join(f"word{word}" for word in line))
                for number, line in zip(ids, words, strict=True)
            ),
        )
        connection.executemany(
            "INSERT INTO vectors (set_id, passage_id, vector) VALUES (1, ?, ?)",
            ((int(number), row.tobytes()) for number, row in zip(ids, block, strict=True)),
        )
        connection.execute("UPDATE collections SET revision = revision + 1")
        connection.execute("COMMIT")
        scores = np.concatenate((best_scores, vectors.questions @ block.T), axis=1)
        every = np.concatenate((best_ids, np.broadcast_to(ids, (QUESTIONS, len(ids)))), axis=1)
        order = np.argsort(-scores, axis=1)[:, :NEAR]
        best_scores = np.take_along_axis(scores, order, axis=1)
        best_ids = np.take_along_axis(every, order, axis=1)
        first += len(block)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return best_ids.tolist()


def resident() -> int:
    """:return: bytes of this process in memory, what it maps included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def by_turns(
    questions: NDArray[np.float32], *calls: Callable[[NDArray[np.float32]], object]
) -> list[float]:
    """:return: each call's median in milliseconds, one after the other for each question."""
    times: list[list[float]] = [[] for _ in calls]
    for question in questions:
        for call, own in zip(calls, times, strict=True):
            started = time.perf_counter()
            call(question)
            own.append(1000 * (time.perf_counter() - started))
    return [float(np.median(own)) for own in times]


def measure(folder: Path, count: int) -> dict[str, object]:
    """
    :param folder: where the database is made.
    :param count: passages.
    :return: the figures.
    """
    path = folder / f"bench-{count}.db"
    vectors = Vectors(count)
    kept = path.with_suffix(".json")
    if path.exists() and kept.exists():
        truth = json.loads(kept.read_text())
    else:
        truth = fill(path, vectors)
        kept.write_text(json.dumps(truth))
    started = time.perf_counter()
    built = build_index(path, "bench")
    figures: dict[str, object] = {"passages": count, "two stages": built is not None}
    if built is not None:
        figures["index built or found, s"] = time.perf_counter() - started
    before = resident()
    collections = LoadedCollections(path, time.monotonic)
    questions = vectors.questions
    with KnowledgeReader(path) as reader:
        started = time.perf_counter()
        loaded = collections.current(reader, "bench")
        figures["loaded, s"] = time.perf_counter() - started

        def found(question: NDArray[np.float32]) -> list[int]:
            return [hit.passage_id for hit in vector_hits(reader, loaded, question, NEAR, -1.0)]

        index = loaded.index
        if index is None:
            matrix, ids, short = loaded.matrix, loaded.ids, lambda question: question
        else:
            matrix, ids = index.projected, index.ids
            directions = index.directions
            short = lambda question: directions @ question  # noqa: E731 - one of two, chosen here
        by_turns(questions[:5], found)
        shorts = [short(question) for question in questions]
        read_times, stage_times, all_times, ratios, own_ratios = [], [], [], [], []
        for question, projected in zip(questions, shorts, strict=True):
            own = time.thread_time()
            a = time.perf_counter()
            matrix @ projected
            b = time.perf_counter()
            own_read = time.thread_time() - own
            nearest(matrix, ids, projected, 400 if index is not None else NEAR)
            own = time.thread_time()
            c = time.perf_counter()
            found(question)
            d = time.perf_counter()
            own_ratios.append((time.thread_time() - own) / own_read)
            ratios.append((d - c) / (b - a))
            read_times.append(1000 * (b - a))
            stage_times.append(1000 * (c - b))
            all_times.append(1000 * (d - c))
        read, stage, whole = (float(np.median(one)) for one in (read_times, stage_times, all_times))
        hits = [found(question) for question in questions]
    figures["read once, ms"] = read
    figures["first stage, ms"] = stage
    figures["vectors, ms"] = whole
    figures["ratio"] = float(np.median(ratios))
    figures["ratio of CPU time"] = float(np.median(own_ratios))
    figures["p90, ms"] = float(np.percentile(all_times, 90))
    right = sum(len(set(a) & set(b)) for a, b in zip(hits, truth, strict=True))
    figures["recall@10"] = right / (NEAR * QUESTIONS)
    figures["memory, MiB"] = (resident() - before) / MIB
    asked = [f"how is word{n} used with word{50 + 7 * n}?" for n in range(QUESTIONS)]
    numbers = iter(range(QUESTIONS))

    def hybrid(question: NDArray[np.float32]) -> object:
        text = asked[next(numbers)]
        return search(
            collections, [Asking("bench")], text, {(MODEL, None): question}, lambda: False
        )

    (figures["hybrid search, ms"],) = by_turns(questions, hybrid)
    figures |= stalls(collections, path, vectors)
    figures |= others(vectors, truth)
    return figures


def others(vectors: Vectors, truth: list[list[int]]) -> dict[str, object]:
    """:return: what faiss's flat index and usearch take, where they are installed and the vectors fit twice."""
    figures: dict[str, object] = {}
    if vectors.count > 2 * EXACT_PASSAGES:
        return figures
    whole = np.concatenate(list(vectors.blocks()))
    try:
        faiss = importlib.import_module("faiss")
    except ImportError:
        pass
    else:
        flat = faiss.IndexFlatIP(DIMENSIONS)
        flat.add(whole)
        (figures["faiss flat, ms"],) = by_turns(
            vectors.questions, lambda question: flat.search(question[np.newaxis], NEAR)
        )
    try:
        usearch = importlib.import_module("usearch.index")
    except ImportError:
        return figures
    graph = usearch.Index(ndim=DIMENSIONS, metric="ip", dtype="f32")
    started = time.perf_counter()
    graph.add(np.arange(1, len(whole) + 1), whole)
    figures["usearch built, s"] = time.perf_counter() - started
    (figures["usearch, ms"],) = by_turns(
        vectors.questions, lambda question: graph.search(question, NEAR)
    )
    right = sum(
        len(set(graph.search(question, NEAR).keys.tolist()) & set(near))
        for question, near in zip(vectors.questions, truth, strict=True)
    )
    figures["usearch recall@10"] = right / (NEAR * QUESTIONS)
    return figures


def main() -> None:
    """Measure each size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--sizes", nargs="+", type=int, default=[20_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(given.folder, given.one)))
        return
    print(f"numpy {np.__version__}, SQLite {sqlite3.sqlite_version}, {os.cpu_count()} cores")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="bench-knowledge-"))
    try:
        for size in given.sizes:
            command = [sys.executable, "-m", "benchmarks.knowledge", "--folder", str(folder)]
            done = subprocess.run(
                [*command, "--one", str(size)], check=True, stdout=subprocess.PIPE, text=True
            )
            for name, value in json.loads(done.stdout).items():
                print(f"  {name}: {value:.3f}" if isinstance(value, float) else f"{name}: {value}")
    finally:
        if not given.keep and given.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
