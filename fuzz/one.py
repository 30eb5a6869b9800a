"""
One target until its time is over or it has a finding: by atheris, or by Hypothesis where there is no atheris.

``python -m fuzz.one TARGET SECONDS NEW_INPUTS FINDINGS_PREFIX``, which :mod:`fuzz.__main__` calls. Coverage is that of
the readers and of h11; nothing else may steer the inputs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["HAS_ATHERIS", "HERE", "main"]

HERE: Final = Path(__file__).parent
HAS_ATHERIS: Final = find_spec("atheris") is not None

_SLOWEST_INPUT_S: Final = 10
_MAX_INPUT_BYTES: Final = 2_048
_MEMORY_MIB: Final = 2_048
_EXAMPLES_PER_ROUND: Final = 200


def main() -> None:
    """Ends the process with status 0 when the time is over, and with another one on a finding."""
    name, seconds, new_inputs, findings_prefix = sys.argv[1:]
    if HAS_ATHERIS:
        _by_atheris(name, int(seconds), new_inputs, findings_prefix)
    else:
        _by_hypothesis(name, int(seconds), findings_prefix)


def _by_atheris(name: str, seconds: int, new_inputs: str, findings_prefix: str) -> None:
    import atheris  # type: ignore[import-untyped,unused-ignore]  # it has no types

    with atheris.instrument_imports(include=["gptproxy.http", "gptproxy.wire", "h11"]):
        from fuzz.targets import TARGETS

    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={findings_prefix}",
        f"-dict={HERE / 'tokens.dict'}",
        f"-timeout={_SLOWEST_INPUT_S}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        f"-max_len={_MAX_INPUT_BYTES}",
        "-print_final_stats=1",
        "-use_value_profile=1",
        "-detect_leaks=0",
    ]
    atheris.Setup([sys.argv[0], *options, new_inputs, str(HERE / "corpus" / name)], TARGETS[name])
    atheris.Fuzz()


def _by_hypothesis(name: str, seconds: int, findings_prefix: str) -> None:
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    from fuzz.targets import TARGETS

    seeds = [path.read_bytes() for path in sorted((HERE / "corpus" / name).iterdir())]
    tokens = [
        line[1:-1].encode().decode("unicode_escape").encode("latin-1")
        for line in (HERE / "tokens.dict").read_text().splitlines()
        if line.startswith('"')
    ]
    edits = st.lists(
        st.tuples(
            st.integers(0, max(map(len, seeds))),
            st.integers(0, 8),
            st.sampled_from(tokens) | st.binary(max_size=4),
        ),
        max_size=6,
    )
    executions = 0
    last = b""

    def run(start: bytes, places: list[tuple[int, int, bytes]]) -> None:
        nonlocal executions, last
        for position, removed, piece in places:
            start = start[:position] + piece + start[position + removed :]
        executions += 1
        last = start
        TARGETS[name](start)

    quick = settings(
        max_examples=_EXAMPLES_PER_ROUND,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    until = time.monotonic() + seconds
    rounds = 0
    try:
        while time.monotonic() < until:
            check: Callable[[], None] = given(st.sampled_from(seeds), edits)(run)
            seed(rounds)(quick(check))()
            rounds += 1
    except BaseException:
        # Hypothesis ends with the smallest input that it found.
        Path(f"{findings_prefix}hypothesis").write_bytes(last)
        raise
    finally:
        print(f"stat::number_of_executed_units: {executions}", file=sys.stderr)


if __name__ == "__main__":
    main()
