"""Tests of :mod:`gptproxy.check.objects`."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from gptproxy.check import Level, check_objects
from gptproxy.check.finding import Finding
from gptproxy.config import AccessSettings, Settings, TLSSettings, UpstreamSettings
from gptproxy.ownership import ObjectTable
from tests.upstream.examples import OPENAI as UPSTREAM


def settings_of(
    path: Path | None, upstreams: tuple[UpstreamSettings, ...] = (UPSTREAM,)
) -> Settings:
    access = AccessSettings(objects=path)
    return Settings(
        source="g.toml", tls=TLSSettings(Path("c"), Path("k")), access=access, upstreams=upstreams
    )


def found(path: Path) -> Finding:
    (finding,) = check_objects(settings_of(path))
    return finding


def test_none_is_to_be() -> None:
    """Then there is nothing to say."""
    assert check_objects(settings_of(None)) == []
    assert check_objects(settings_of(Path("/nowhere/o.db"), ())) == []


def test_where_it_is_to_be_made(tmp_path: Path) -> None:
    """Its folder must be there; nothing is made."""
    assert found(tmp_path / "o.db").level is Level.GOOD
    assert list(tmp_path.iterdir()) == []
    missing = found(tmp_path / "no" / "o.db")
    assert missing.level is Level.ERROR
    assert "no folder" in missing.message


def test_one_that_is_there(tmp_path: Path) -> None:
    """Ours can be used, beside the daemon too; the look leaves nothing behind."""
    path = tmp_path / "o.db"
    table = ObjectTable(path)
    assert found(path) == Finding(Level.GOOD, str(path), "can be used")
    table.close()
    assert found(path).level is Level.GOOD
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_none(tmp_path: Path) -> None:
    """Another file, or no file at all: nobody waits for a pipe."""
    path = tmp_path / "o.db"
    path.write_bytes(b"no database" * 100)
    assert found(path).message == "cannot be used: file is not a database"
    path.unlink()
    os.mkfifo(path)
    assert found(path) == Finding(Level.ERROR, str(path), "is no file")


def test_one_that_may_not_be_written(tmp_path: Path) -> None:
    """A warning: the daemon may be somebody else."""
    path = tmp_path / "o.db"
    ObjectTable(path).close()
    with mock.patch("os.access", return_value=False):
        finding = found(path)
    assert finding.level is Level.WARNING
    assert f"{tmp_path} and {path}" in finding.message
