"""
Feedings killed at random moments (``kill -9``), 50 of them: ``python -m benchmarks.kill_feeding``.

What the last one leaves must be what one clean run leaves, although documents and the embedding model changed half way.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.knowledge.killing import kill_loop


def main() -> None:
    """Run the loop, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        hit = kill_loop(Path(name), arguments.kills, arguments.documents, arguments.seed)
    print(
        f"{arguments.kills} kills, {hit} of them while it worked: the same content as one clean run"
    )


if __name__ == "__main__":
    main()
