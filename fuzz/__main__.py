"""
The runner: ``python -m fuzz [--seconds 60] [TARGET...]``; ``python -m fuzz --input FILE TARGET`` tries one input again.

Each target runs in a process of its own, because atheris does not return. The exit status is 1 when there is a finding;
its input stays in ``fuzz/findings/``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from attrs import frozen

from fuzz.one import HAS_ATHERIS, HERE
from fuzz.targets import TARGETS

_FINDINGS: Final = HERE / "findings"
_TRACEBACK_LINES: Final = 25

_START_S: Final = 60
"""What a target may take to start and end, and its last input, beyond its share of the time."""


@frozen
class _Outcome:
    """
    :param executions: how many inputs were tried.
    :param coverage: how many edges of the code they reached; None where nothing counts them.
    :param inputs: the inputs that showed a bug.
    :param output: what was printed.
    :param failed: it did not end as it should, whether an input was kept or not.
    """

    executions: int
    coverage: int | None
    inputs: list[Path]
    output: str
    failed: bool


def _run(name: str, seconds: int) -> _Outcome:
    before = set(_FINDINGS.iterdir())
    with tempfile.TemporaryDirectory() as new_inputs:
        arguments = [name, str(seconds), new_inputs, f"{_FINDINGS / name}-"]
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "fuzz.one", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds + _START_S,
                check=False,
                cwd=HERE.parent,
            )
            raw, failed = ended.stdout, ended.returncode != 0
        except subprocess.TimeoutExpired as expired:
            raw, failed = expired.stdout or b"", True
    output = raw.decode(errors="replace")
    executed = re.findall(r"stat::number_of_executed_units: *(\d+)|^#(\d+)\t", output, re.MULTILINE)
    covered = re.findall(r"\bcov: (\d+)", output)
    return _Outcome(
        max((int(final or status) for final, status in executed), default=0),
        int(covered[-1]) if covered else None,
        sorted(set(_FINDINGS.glob(f"{name}-*")) - before),
        output,
        failed,
    )


def _tell(name: str, outcome: _Outcome) -> None:
    coverage = "-" if outcome.coverage is None else outcome.coverage
    findings = len(outcome.inputs) or int(outcome.failed)
    print(f"{name:<10} {outcome.executions:>10} {coverage:>9} {findings:>9}", flush=True)
    if outcome.failed:
        # libFuzzer's own lines come before and after what tells the reason.
        lines = [
            line
            for line in outcome.output.splitlines()
            if not re.match(
                r"#\d+\t|stat::|INFO:|WARNING: Failed|Dictionary:|0x|MS: |Base64:|$", line
            )
        ]
        print("\n".join(f"    {line[:500]}" for line in lines[-_TRACEBACK_LINES:]))
        for path in outcome.inputs:
            print(f"    again: python -m fuzz --input {path.relative_to(HERE.parent)} {name}")


def main() -> int:
    """:return: the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--seconds", type=int, default=60, help="for all targets together")
    parser.add_argument("--input", type=Path, help="try this one input, and nothing else")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    names: list[str] = options.targets or list(TARGETS)
    for name in names:
        if name not in TARGETS:
            parser.error(f"there is no target {name!r}")
    if options.input is not None:
        for name in names:
            TARGETS[name](options.input.read_bytes())
        return 0
    if not HAS_ATHERIS:
        version = ".".join(map(str, sys.version_info[:2]))
        print(
            f"atheris has no wheel here for Python {version}: Hypothesis makes the inputs instead."
        )
    _FINDINGS.mkdir(exist_ok=True)
    print(f"{'target':<10} {'executions':>10} {'coverage':>9} {'findings':>9}")
    failed = False
    for name in names:
        outcome = _run(name, max(1, options.seconds // len(names)))
        _tell(name, outcome)
        failed |= outcome.failed
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
