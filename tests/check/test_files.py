"""Tests of :mod:`gptproxy.check.files`."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import pytest

from gptproxy.check import Level, check_files
from gptproxy.check.finding import Finding
from gptproxy.config import Settings, load_settings

KEY = "4f29ec7c704d453fbb15e82a6700beef"


def settings_in(directory: Path, api_key: str, environ: dict[str, str] | None = None) -> Settings:
    path = directory / "gptproxy.toml"
    path.write_text(
        f'[gitlab]\nurl = "https://git.example.com"\n[[upstream]]\nname = "a"\nkind = "openai"\napi_key = {api_key}\n'
    )
    path.chmod(0o640)
    return load_settings(path, environ=environ or {}, working_directory=directory)


def found(settings: Settings, name: str) -> Finding:
    (finding,) = [
        each for each in check_files(settings, frozenset()) if each.subject.endswith(name)
    ]
    return finding


@pytest.mark.parametrize(
    ("mode", "level", "words"),
    [
        (0o600, Level.GOOD, "mode 0600"),
        (0o640, Level.GOOD, "mode 0640"),
        (0o644, Level.ERROR, "chmod o="),
        (0o660, Level.ERROR, "chmod go-w"),
        (0o602, Level.ERROR, "chmod go-w"),
    ],
)
def test_a_secret_is_for_its_owner_and_the_group(
    tmp_path: Path, mode: int, level: Level, words: str
) -> None:
    """Readable by owner and group, writable by the owner: whatever is wider is an error that says what to do."""
    secret = tmp_path / "a.key"
    secret.write_text(KEY)
    secret.chmod(mode)
    finding = found(settings_in(tmp_path, '{file = "a.key"}'), "a.key")
    assert finding.level is level
    assert words in finding.message
    assert KEY not in str(finding)


def test_a_configuration_with_a_secret_in_it_is_one(tmp_path: Path) -> None:
    """Readable by all it is an error where a key is written in it, and none where keys come from elsewhere."""
    settings = settings_in(tmp_path, f'"{KEY}"')
    (tmp_path / "gptproxy.toml").chmod(0o644)
    assert found(settings, "gptproxy.toml").level is Level.ERROR
    (tmp_path / "a.key").write_text(KEY)
    settings = settings_in(tmp_path, '{file = "a.key"}')
    (tmp_path / "gptproxy.toml").chmod(0o644)
    assert found(settings, "gptproxy.toml").level is Level.GOOD


def test_a_secret_of_the_environment_is_in_no_file(tmp_path: Path) -> None:
    """The configuration that only names the variable may be read by all."""
    settings = settings_in(tmp_path, '{env = "OPENAI_KEY"}', {"OPENAI_KEY": KEY})
    (tmp_path / "gptproxy.toml").chmod(0o644)
    findings = check_files(settings, frozenset((KEY,)))
    assert findings[0].level is Level.GOOD


def test_a_folder_that_all_may_write_is_an_error(tmp_path: Path) -> None:
    """Whoever may rename in the folder may replace the file."""
    settings = settings_in(tmp_path, f'"{KEY}"')
    tmp_path.chmod(0o777)
    assert "folder is writable by all" in found(settings, "gptproxy.toml").message
    tmp_path.chmod(0o1777)
    assert found(settings, "gptproxy.toml").level is Level.GOOD


def test_a_missing_key_is_a_warning(tmp_path: Path) -> None:
    """A daemon on a plain port needs none."""
    assert found(settings_in(tmp_path, f'"{KEY}"'), "key.pem").level is Level.WARNING


def test_a_file_that_went_away_is_an_error(tmp_path: Path) -> None:
    """Between reading it and looking at it."""
    (tmp_path / "a.key").write_text(KEY)
    settings = settings_in(tmp_path, '{file = "a.key"}')
    (tmp_path / "a.key").unlink()
    assert "cannot be looked at" in found(settings, "a.key").message


def test_somebody_elses_file_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who owns it may change it: root and whoever runs this are expected to."""
    settings = settings_in(tmp_path, f'"{KEY}"')
    owner = (tmp_path / "gptproxy.toml").stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1000)
    expected = Level.GOOD if owner == 0 else Level.WARNING
    assert found(settings, "gptproxy.toml").level is expected


def test_without_a_file_there_is_none_to_look_at(tmp_path: Path) -> None:
    """Settings from the environment name no file but the certificate's key."""
    settings = load_settings(
        None, environ={}, default_path=tmp_path / "none", working_directory=tmp_path
    )
    assert [finding.subject for finding in check_files(settings, frozenset())] == [
        str(tmp_path / "key.pem")
    ]


def test_nothing_in_a_finding_steers_a_terminal() -> None:
    """A file's name is shown as text."""
    assert "\x1b" not in str(Finding(Level.GOOD, "a\x1b[2J", "well"))


def test_what_may_not_be_looked_at(tmp_path: Path) -> None:
    """A key in a folder that is shut is not one that is missing, and hides nothing that the others found."""
    settings = settings_in(tmp_path, f'"{KEY}"')
    stat = Path.stat

    def shut(path: Path, **options: bool) -> os.stat_result:
        if path.name == "key.pem":
            raise PermissionError(13, "Permission denied")
        return stat(path, **options)

    with mock.patch.object(Path, "stat", shut):
        finding = found(settings, "key.pem")
    assert finding.level is Level.ERROR
    assert finding.message == "cannot be looked at: Permission denied"
