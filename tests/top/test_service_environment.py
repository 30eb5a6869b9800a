"""What commands beside the service have of it."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from gptproxy.config import DEFAULT_PATH
from gptproxy.service_environment import service_environment


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """:return: a system with the service's configuration, data and credentials."""
    for name in ("etc/gptproxy", "var/lib/gptproxy", "run/credentials/gptproxy.service"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/gptproxy/gptproxy.toml").touch()
    return tmp_path


@pytest.mark.parametrize("config", [None, DEFAULT_PATH])
def test_beside_the_service(root: Path, config: Path | None) -> None:
    """Its configuration means its credentials and its data."""
    assert service_environment({"HOME": "/"}, config, root) == {
        "CREDENTIALS_DIRECTORY": str(root / "run/credentials/gptproxy.service"),
        "STATE_DIRECTORY": str(root / "var/lib/gptproxy"),
    }


def test_another_configuration(root: Path) -> None:
    """Is not the service's: nothing is added."""
    assert service_environment({}, root / "other.toml", root) == {}


def test_no_service(tmp_path: Path) -> None:
    """Without its configuration there is none, whatever stands beside."""
    (tmp_path / "var/lib/gptproxy").mkdir(parents=True)
    assert service_environment({}, None, tmp_path) == {}


def test_an_ordinary_user(root: Path) -> None:
    """May not look into /etc/gptproxy: that is for whoever reads the configuration to say, not a traceback."""
    refused = PermissionError(13, "Permission denied")
    with mock.patch.object(Path, "stat", side_effect=refused):
        assert service_environment({}, None, root) == {}


def test_other_services(root: Path) -> None:
    """Of a like name have credentials of their own."""
    (root / "run/credentials/gptproxy-exporter.service").mkdir()
    found = service_environment({}, None, root)["CREDENTIALS_DIRECTORY"]
    assert found.endswith("/gptproxy.service")


def test_what_is_said_wins(root: Path) -> None:
    """As in the service itself, and where an administrator names the folder."""
    said = {"CREDENTIALS_DIRECTORY": "/etc/credstore", "STATE_DIRECTORY": "/srv"}
    assert service_environment(said, None, root) == {}


def test_workers(root: Path) -> None:
    """One that shares the port has the same credentials; where nothing runs there are none to be seen."""
    (root / "run/credentials/gptproxy.service").rmdir()
    assert "CREDENTIALS_DIRECTORY" not in service_environment({}, None, root)
    (root / "run/credentials/gptproxy@2.service").mkdir()
    found = service_environment({}, None, root)["CREDENTIALS_DIRECTORY"]
    assert found.endswith("/gptproxy@2.service")
    (root / "var/lib/gptproxy").rmdir()
    assert list(service_environment({}, None, root)) == ["CREDENTIALS_DIRECTORY"]
