"""A feeding that is killed again and again: ``python -m tests.knowledge.killing DB FOLDER MODEL`` is what is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from gptproxy.documents_threads import command_threads
from gptproxy.knowledge.embedding_runs import Embedding
from gptproxy.knowledge.feeding import Feeding
from gptproxy.knowledge.local_source import LocalSource
from gptproxy.knowledge.vector_sets import EmbeddingModel
from tests.knowledge.content import content
from tests.knowledge.standins import vectors_of

_ROOT = Path(__file__).parents[2]


def write_corpus(folder: Path, documents: int, seed: int) -> None:
    """Write documents of one to some dozens of passages."""
    chance = random.Random(seed)  # noqa: S311  # the same for the same seed
    for number in range(documents):
        paragraphs = [
            " ".join(
                chance.choices(
                    ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"], k=90
                )
            )
            for _ in range(chance.choice((1, 1, 2, 5, 40)))
        ]
        text = f"# Document {number}\n\n" + "\n\n## Part\n\n".join(paragraphs)
        (folder / f"{number:04}.md").write_text(text, "utf-8")


def kill_loop(root: Path, kills: int, documents: int, seed: int = 1) -> int:
    """
    Kill ``kills`` feedings at random moments, let one come to its end, and compare it to a clean one. Half way the
    documents change and another model is wanted.

    :return: how many of the kills hit a feeding that was at work.
    """
    chance = random.Random(seed)  # noqa: S311  # the same for the same seed
    folder = root / "documents"
    folder.mkdir()
    write_corpus(folder, documents, seed)
    killed, clean = root / "killed.db", root / "clean.db"
    began = time.monotonic()
    _run(root / "timing.db", folder, "first")
    longest = time.monotonic() - began
    hit = 0
    for number in range(kills):
        if number == kills // 2:
            write_corpus(folder, documents - documents // 10, seed + 1)
            for gone in list(folder.iterdir())[: documents // 10]:
                gone.unlink()
        model = "first" if number < kills // 2 else "second"
        process = _start(killed, folder, model)
        time.sleep(chance.uniform(0.3, 1) * longest)
        hit += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    _run(killed, folder, "second")
    _run(clean, folder, "second")
    assert content(killed) == content(clean)
    return hit


def _start(database: Path, folder: Path, model: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.knowledge.killing", str(database), str(folder), model]
    return subprocess.Popen(command, cwd=_ROOT, env={**os.environ, "PYTHONPATH": str(_ROOT)})


def _run(database: Path, folder: Path, model: str) -> None:
    assert _start(database, folder, model).wait() == 0


def _feed(database: Path, folder: Path, model: str) -> None:
    def start(reactor: object) -> Deferred[object]:
        threads = command_threads(reactor)  # type: ignore[arg-type]  # react's is one
        threads.startService()

        def embed(inputs: Sequence[str]) -> Deferred[NDArray[np.float32]]:
            # Of each model another vector; and slowly, so that kills find a feeding at every stage.
            matrix = vectors_of([f"{model} {one}" for one in inputs])
            return deferLater(reactor, 0.005, lambda: matrix)  # type: ignore[arg-type]  # see above

        how = Embedding(embed, EmbeddingModel(model))
        fed = Feeding(database, how, threads, lambda _: None, reactor).feed(  # type: ignore[arg-type]  # see above
            "c", [LocalSource(folder, threads)]
        )
        return fed.addBoth(lambda result: threads.stopService().addCallback(lambda _: result))

    react(start, ())


if __name__ == "__main__":
    _feed(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
