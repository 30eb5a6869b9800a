"""Files in whose place stands something else: nobody who reads the configuration waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gptproxy.config import ConfigurationError, load_settings
from gptproxy.config.file_reading import read_file


def test_a_file(tmp_path: Path) -> None:
    """Whole, or as much as is wanted."""
    path = tmp_path / "x"
    path.write_bytes(b"abc\n")
    assert read_file(path, 100) == b"abc\n"
    assert read_file(path, 2) == b"ab"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """The reason is the system's."""
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "x", 100)
    with pytest.raises(IsADirectoryError):
        read_file(tmp_path, 100)


def test_a_pipe_that_nobody_writes_to(tmp_path: Path) -> None:
    """It is given up, and neither waited for nor taken for an empty file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(TimeoutError, match="nothing comes out of it"):
        read_file(path, 100, 0.0)


def test_a_pipe_that_somebody_writes_to(tmp_path: Path) -> None:
    """As in ``--config <(decrypt ...)``: until it is closed, in however many pieces."""
    read_end, write_end = os.pipe()
    try:
        writer = "import os; os.write(1, b'a' * 65536); os.write(1, b'b' * 70000)"
        with subprocess.Popen([sys.executable, "-c", writer], stdout=write_end):
            os.close(write_end)
            assert read_file(Path(f"/dev/fd/{read_end}"), 1 << 20) == b"a" * 65536 + b"b" * 70000
    finally:
        os.close(read_end)


def test_no_more_than_is_wanted_of_what_never_ends() -> None:
    """A device, for one."""
    assert read_file(Path("/dev/zero"), 100_000) == bytes(100_000)
    assert read_file(Path("/dev/null"), 100) == b""


def test_a_configuration_of_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configuration, or a secret: a line that says so, at once where no time is given."""
    monkeypatch.setattr("gptproxy.config.file_reading.read_file.__defaults__", (0.0,))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "g.toml").write_text(
        '[gitlab]\nurl = "https://git.corp.com"\nservice_token = {file = "pipe"}\n'
    )
    for name in ("pipe", "g.toml"):
        with pytest.raises(ConfigurationError, match=r"pipe.*nothing comes out of it"):
            load_settings(Path(name), environ={}, working_directory=tmp_path)
