"""Tests of :mod:`gptproxy.check.ports`."""

from __future__ import annotations

import socket
from unittest import mock

import pytest

from gptproxy.check import Level, check_ports


def test_ports() -> None:
    """Somebody's, and nobody's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (finding,) = check_ports([f"ssl:{port}:interface=127.0.0.1"])
        assert finding.level is Level.WARNING
        assert "somebody has it" in finding.message
        assert finding.subject == f"port ssl:{port}:interface=127.0.0.1"
    assert [
        each.level for each in check_ports(["tcp:0", "tcp:port=0", r"tcp:0:interface=\:\:1"])
    ] == [Level.GOOD] * 3


@pytest.mark.parametrize("description", ["unix:/run/x", "tcp:", "tcp:x", "", "tls:x:tcp:1"])
def test_what_is_no_port(description: str) -> None:
    """Is passed over: the daemon says what it cannot understand."""
    assert check_ports([description]) == []


@pytest.mark.parametrize(
    ("error", "level", "words"),
    [
        (PermissionError(13, "Permission denied"), Level.WARNING, "CAP_NET_BIND_SERVICE"),
        (OSError(99, "Cannot assign requested address"), Level.ERROR, "Cannot assign"),
        (socket.gaierror(-2, "Name or service not known"), Level.ERROR, "Name or service"),
    ],
)
def test_ports_that_cannot_be_had(error: OSError, level: Level, words: str) -> None:
    """Who may not open it may check all the same."""
    with mock.patch("socket.socket.bind", side_effect=error):
        (finding,) = check_ports(["tcp:443"])
    assert finding.level is level
    assert words in finding.message
