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


def units(folder: Path) -> tuple[str, str]:
    """:return: the units' paths, their command one that is there."""
    for name in ("gptproxy.service", "gptproxy.socket"):
        text = (UNITS / name).read_text("utf-8")
        (folder / name).write_text(text.replace("/usr/bin/twistd3", sys.executable))
    return str(folder / "gptproxy.service"), str(folder / "gptproxy.socket")


def test_verify(tmp_path: Path) -> None:
    """Every line is understood; old ones may not know the newest keys."""
    done = analyze("verify", "--man=no", *units(tmp_path))
    ours = [line for line in done.stderr.splitlines() if "gptproxy" in line]
    if version() < 254:
        ours = [line for line in ours if "Unknown key" not in line]
    assert (done.returncode, ours) == (0, [])


def test_exposure(tmp_path: Path) -> None:
    """At most 1.7."""
    service, _ = units(tmp_path)
    done = analyze("security", "--offline=true", "--threshold=17", "--no-pager", service)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_every_relaxed_line_has_its_reason() -> None:
    """What would break is not there, and the file says why."""
    text = (UNITS / "gptproxy.service").read_text("utf-8")
    for word in ("MemoryDenyWriteExecute", "PrivateUsers", "RootDirectory", "IPAddressDeny"):
        assert re.search(rf"^{word}=", text, re.MULTILINE) is None
        assert f"{word}=" in text
    assert text.count("# Relaxed: ") >= 5
