"""The unit files, by systemd's own judgement, where it is installed. None of this needs it to run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from gptproxy.setup_units import worker_unit

UNITS = files("gptproxy.process") / "units"

pytestmark = [
    pytest.mark.skipif(
        shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here"
    ),
    pytest.mark.skipif(
        os.geteuid() != 0 and not Path("/run/systemd").exists(),
        reason="systemd-analyze wants /run/systemd, which only root can make",
    ),
]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """:return: what it says."""
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=180, check=False
    )


def version() -> int:
    """:return: systemd's."""
    return int(re.search(r"[0-9]+", analyze("--version").stdout)[0])  # type: ignore[index]  # it has one


def units(folder: Path) -> tuple[str, str, str]:
    """:return: the units' paths, their command one that is there."""
    texts = {
        name: (UNITS / name).read_text("utf-8") for name in ("gptproxy.service", "gptproxy.socket")
    }
    # systemd-analyze takes no template without an instance's name.
    texts["gptproxy@1.service"] = worker_unit(texts["gptproxy.service"])
    for name, text in texts.items():
        (folder / name).write_text(text.replace("/usr/bin/twistd3", sys.executable))
    service, socket, worker = (str(folder / name) for name in texts)
    return service, socket, worker


def test_verify(tmp_path: Path) -> None:
    """Every line is understood; old ones may not know the newest keys."""
    done = analyze("verify", "--man=no", *units(tmp_path))
    ours = [line for line in done.stderr.splitlines() if "gptproxy" in line]
    if version() < 254:
        ours = [line for line in ours if "Unknown key" not in line]
    assert (done.returncode, ours) == (0, [])


def test_exposure(tmp_path: Path) -> None:
    """At most 1.7, of a worker too."""
    service, _, worker = units(tmp_path)
    for unit in (service, worker):
        done = analyze("security", "--offline=true", "--threshold=17", "--no-pager", unit)
        assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_the_first_process_is_told_to_stop() -> None:
    """And passes it on: a worker that is told twice ends its calls at once."""
    assert "\nKillMode=mixed\n" in (UNITS / "gptproxy.service").read_text("utf-8")


def test_every_relaxed_line_has_its_reason() -> None:
    """What would break is not there, and the file says why."""
    text = (UNITS / "gptproxy.service").read_text("utf-8")
    for word in ("MemoryDenyWriteExecute", "PrivateUsers", "RootDirectory", "IPAddressDeny"):
        assert re.search(rf"^{word}=", text, re.MULTILINE) is None
        assert f"{word}=" in text
    assert text.count("# Relaxed: ") >= 5
