"""
How late a reactor's ticks are while its threads search: for ``benchmarks.knowledge``.

``python -m benchmarks.search_stalls DATABASE COUNT`` only searches, for a turn at each line of its input: what the
measured process has beside it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

# As the daemon has it; before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.vectors import Vectors
from gptproxy.knowledge.loaded import LoadedCollections
from gptproxy.knowledge.searching import Asking, search

MODEL = "bench-embedding"
TURNS = 20
TURN_SECONDS = 0.5


def ask(collections: LoadedCollections, questions: NDArray[np.float32], number: int) -> None:
    """Search by vectors and words."""
    vector = questions[number % len(questions)]
    number %= 1_000
    text = f"word{number} word{number + 100}"
    search(collections, [Asking("bench")], text, {(MODEL, None): vector}, lambda: False)


def stalls(collections: LoadedCollections, path: Path, vectors: Vectors) -> dict[str, object]:
    """
    Let a reactor tick while its threads search.

    What the machine's other work, and a processor and memory that searches use as well, make late is not the
    interpreter's doing. So the same is measured by turns with nothing beside it, and with the same searches in a
    process of their own beside it.

    :param collections: loaded.
    :param path: the database.
    :param vectors: what is in it.
    :return: how late the ticks were.
    """
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, gatherResults
    from twisted.python.threadpool import ThreadPool

    from gptproxy.threads import BoundedThreads

    # As gptproxy.documents.search_threads makes them.
    sys.setswitchinterval(0.001)
    threads = BoundedThreads(reactor, ThreadPool(1, min(4, max(1, (os.cpu_count() or 1) - 1))), 512)
    late: dict[str, list[float]] = {"idle": [], "beside": [], "searching": []}
    questions = vectors.questions
    command = [sys.executable, "-m", "benchmarks.search_stalls", str(path), str(vectors.count)]
    beside = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert beside.stdin is not None
    assert beside.stdout is not None
    begin, begun = beside.stdin, beside.stdout
    begun.readline()
    state = "idle"
    planned = 0.0

    def tick() -> None:
        nonlocal planned
        now = time.perf_counter()
        late[state].append(1000 * (now - planned))
        planned = time.perf_counter() + 0.002
        reactor.callLater(0.002, tick)

    async def wait() -> None:
        waited: Deferred[None] = Deferred()
        reactor.callLater(TURN_SECONDS, waited.callback, None)
        await waited

    async def run() -> None:
        nonlocal state, planned
        threads.startService()
        planned = time.perf_counter()
        tick()
        for turn in range(TURNS):
            await wait()
            state = "beside"
            begin.write(b"\n")
            begin.flush()
            await wait()
            # The last search of its turn ends before the next state begins.
            begun.readline()
            planned = time.perf_counter() + 0.002  # what that took is nobody's lateness
            state = "searching"
            until = time.perf_counter() + TURN_SECONDS
            while time.perf_counter() < until:
                await gatherResults(
                    [
                        threads.run(ask, collections, questions, 2 * turn + number)
                        for number in range(2)
                    ]
                )
            state = "idle"
        await threads.stopService()
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()).addErrback(_fail))
    reactor.run()
    beside.kill()
    beside.wait()
    figures: dict[str, object] = {}
    for name, own in late.items():
        figures[f"stall {name} p99, ms"] = float(np.percentile(own, 99))
        figures[f"stall {name} max, ms"] = max(own)
    return figures


def _fail(failure: object) -> None:
    print(failure, file=sys.stderr)
    os._exit(1)


def main() -> None:
    """Search when told to."""
    path, count = Path(sys.argv[1]), int(sys.argv[2])
    questions = Vectors(count).questions
    collections = LoadedCollections(path, time.monotonic)
    numbers = itertools.count()
    ask(collections, questions, next(numbers))
    print("ready", flush=True)
    for _ in sys.stdin:
        until = time.perf_counter() + TURN_SECONDS
        while time.perf_counter() < until:
            ask(collections, questions, next(numbers))
        print("done", flush=True)


if __name__ == "__main__":
    main()
