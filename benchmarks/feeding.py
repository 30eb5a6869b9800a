"""
``docs add`` with embeddings that are answered at once, beside its parser alone: ``python -m benchmarks.feeding``.

Both in one run, over the same files, each several times in turn, the best of each compared: what reading, cutting,
words, vectors and transactions cost more than reading and cutting. Seconds, which need a core for the thread that
writes beside the one that cuts; and processor seconds of all threads, what it takes on one core. The parser alone
runs in the interpreter as Python comes. Memory: the peak of the process that feeds, for a corpus and for one four times
as large.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, succeed

from gptproxy.documents_threads import command_threads
from gptproxy.http import IReactor
from gptproxy.knowledge.embedding_runs import Embedding
from gptproxy.knowledge.feeding import Feeding
from gptproxy.knowledge.formats import FileFormat, excerpts_of, format_of
from gptproxy.knowledge.local_source import LocalSource
from gptproxy.knowledge.vector_sets import EmbeddingModel

DIMENSIONS = 1536
_WORDS = [
    "configure",
    "server",
    "request",
    "token",
    "upstream",
    "retry",
    "deployment",
    "passage",
    "vector",
    "document",
    "pipeline",
    "runner",
    "project",
    "group",
    "member",
    "access",
    "level",
    "header",
    "field",
    "stream",
    "chunk",
    "buffer",
    "thread",
    "socket",
    "certificate",
    "proxy",
    "model",
    "answer",
    "question",
    "index",
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "it",
    "for",
    "on",
    "with",
    "as",
    "by",
    "an",
    "or",
    "from",
    "at",
    "be",
    "are",
    "was",
    "not",
    "this",
    "can",
    "may",
    "must",
    "will",
    "has",
    "have",
]


def corpus(folder: Path, documents: int, bytes_each: int, seed: int = 1) -> int:
    """:return: how many bytes of Markdown and Python were written, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311  # the same for the same seed
    size = 0
    for number in range(documents):
        lines = [f"# Document {number}", ""]
        length = 0
        while length < bytes_each:
            kind = chance.random()
            if kind < 0.12:
                text = "#" * chance.randint(2, 4) + " " + " ".join(chance.choices(_WORDS, k=4))
            elif kind < 0.2:
                text = "```python\ndef f(x):\n    return x\n```"
            elif kind < 0.35:
                text = "\n".join(f"- {' '.join(chance.choices(_WORDS, k=9))}" for _ in range(5))
            else:
                text = (
                    " ".join(chance.choices(_WORDS, k=chance.randint(30, 120)))
                    + f" {chance.random()}."
                )
            lines += [text, ""]
            length += len(text)
        path = folder / f"{number // 100:04}" / f"{number:06}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines), "utf-8")
        size += path.stat().st_size
    return size


def parse_alone(folder: Path) -> tuple[float, float, int]:
    """:return: seconds, processor seconds, and how many passages."""
    began, busy = time.perf_counter(), time.process_time()
    passages = 0
    for path in sorted(folder.rglob("*.md")):
        found = format_of(path.name)
        assert found is not None
        passages += len(excerpts_of(path.read_bytes(), found)[0])
    return time.perf_counter() - began, time.process_time() - busy, passages


def feed(folder: Path, database: Path) -> None:
    """Feed the folder, in this process; the seconds and the peak of memory go to stdout."""
    pool = np.random.default_rng(1).standard_normal((4096, DIMENSIONS)).astype(np.float32)
    turn = itertools.count()

    def embed(texts: Sequence[str]) -> Deferred[NDArray[np.float32]]:
        start = next(turn) * 97 % (len(pool) - len(texts))
        return succeed(pool[start : start + len(texts)])

    reactor = cast(IReactor, _reactor)  # the module stands for what is installed
    threads = command_threads(reactor)
    outcome: list[object] = []

    # The parser's import takes a tenth of a second, once: the other side has it behind it as well.
    excerpts_of(b"# A\n\nb", FileFormat.MARKDOWN)

    def start() -> None:
        threads.startService()
        feeding = Feeding(
            database, Embedding(embed, EmbeddingModel("m")), threads, lambda _: None, reactor
        )
        began, busy = time.perf_counter(), time.process_time()
        feeding.feed("c", [LocalSource(folder, threads)]).addBoth(outcome.append).addCallback(
            lambda _: outcome.extend((time.perf_counter() - began, time.process_time() - busy))
        ).addCallback(lambda _: threads.stopService()).addCallback(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "seconds": outcome[1],
                "cpu_seconds": outcome[2],
                "peak_mib": peak,
                "report": str(outcome[0])[:120],
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--bytes", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--feed", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.feed:
        feed(*arguments.feed)
        return
    with tempfile.TemporaryDirectory() as name:
        small, large = Path(name, "small"), Path(name, "large")
        small.mkdir()
        large.mkdir()
        size = corpus(small, arguments.documents, arguments.bytes)
        alone: list[tuple[float, float]] = []
        fed: list[tuple[float, float]] = []
        told = {}
        for number in range(arguments.rounds):
            *both, passages = parse_alone(small)
            alone.append((both[0], both[1]))
            told = fed_in_a_process(small, Path(name, f"{number}.db"))
            fed.append((float(told["seconds"]), float(told["cpu_seconds"])))
        print(
            f"{size / 2**20:.1f} MiB, {passages} passages of {DIMENSIONS} dimensions: {told['report']}"
        )
        for which, what in enumerate(("seconds", "processor seconds")):
            parser_s, fed_s = (min(one[which] for one in times) for times in (alone, fed))
            print(
                f"{what}: parser alone {parser_s:.2f}; docs add {fed_s:.2f}: {fed_s / parser_s:.2f}x (bound 1.5x)"
            )
        corpus(large, arguments.documents * 4, arguments.bytes, seed=2)
        more = fed_in_a_process(large, Path(name, "large.db"))
        print(
            f"peak memory {told['peak_mib']:.0f} MiB; of four times as much {more['peak_mib']:.0f} MiB"
        )


def fed_in_a_process(folder: Path, database: Path) -> dict[str, float]:
    """:return: what :func:`feed` says, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.feeding", "--feed", str(folder), str(database)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    told: dict[str, float] = json.loads(done.stdout)
    return told


if __name__ == "__main__":
    main()
