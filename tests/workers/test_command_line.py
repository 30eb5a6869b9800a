"""How a worker is started."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gptproxy.workers.command_line import (
    SHELL,
    is_shared,
    log_options,
    shell_words,
    with_port,
    worker_environment,
)


def test_the_shell_becomes_the_program() -> None:
    """It has the number that it is told the sockets are for, its arguments as they are, and leaves Ctrl-C alone."""
    script = (
        "import os, signal, sys; print(os.environ['LISTEN_PID'] == str(os.getpid()), sys.argv[1:], "
        "signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    words = shell_words("gptproxy", [sys.executable, "-c", script, "a b", "$x", "'"])
    done = subprocess.run(words, executable=SHELL, capture_output=True, text=True, check=True)
    assert done.stdout == "True ['a b', '$x', \"'\"] True\n"


def test_environment() -> None:
    """The parent's, but for what the service manager says to the parent alone."""
    environ = {
        "PATH": "/bin",
        "LISTEN_FDS": "1",
        "LISTEN_PID": "5",
        "LISTEN_FDNAMES": "x",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "WATCHDOG_USEC": "7",
        "WATCHDOG_PID": "5",
    }
    assert worker_environment(environ, 2, "/run/n", 1.5, {"A": "b"}) == {
        "PATH": "/bin",
        "LISTEN_FDS": "2",
        "NOTIFY_SOCKET": "/run/n",
        "WATCHDOG_USEC": "1500000",
        "A": "b",
    }


@pytest.mark.parametrize(
    ("description", "shared"),
    [
        ("tcp:80", True),
        ("ssl:443", True),
        ("ssl:443:interface=::1", True),
        ("ssl:443:privateKey=k.pem", False),
        ("unix:/run/x", False),
        ("tcp6:80", False),
        ("", False),
    ],
)
def test_shared(description: str, shared: bool) -> None:
    """TCP's; TLS with the key of [tls]."""
    assert is_shared(description) is shared


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("tcp:0", "tcp:77"),
        ("ssl:0:interface=127.0.0.1", "ssl:77:interface=127.0.0.1"),
        ("tcp:port=0", "tcp:port=77"),
        ("tcp:interface=0.0.0.0:port=0", "tcp:interface=0.0.0.0:port=77"),
        ("tcp:80:backlog=0", "tcp:80:backlog=0"),
        ("ssl:443", "ssl:443"),
    ],
)
def test_any_port(description: str, expected: str) -> None:
    """Where any would do, the workers are told which it was."""
    assert with_port(description, 77) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"nodaemon": 1}, []),
        ({"nodaemon": 1, "logfile": "-"}, []),
        ({"nodaemon": 0}, ["--logfile", "twistd-2.log"]),
        ({"nodaemon": 1, "logfile": "/var/log/g.log"}, ["--logfile", "/var/log/g-2.log"]),
        ({"logfile": "log/plain"}, ["--logfile", "log/plain-2"]),
        ({"logger": "a.b", "logfile": "x"}, ["--logger", "a.b"]),
        ({"syslog": 1, "prefix": "p"}, ["--syslog", "--prefix", "p"]),
        ({"syslog": 1}, ["--syslog", "--prefix", "gptproxy"]),
    ],
)
def test_log(options: dict[str, object], words: list[str]) -> None:
    """To where the parent's goes; a file is each one's own."""
    assert log_options(options, 2) == words


def test_environ_is_not_changed() -> None:
    """The process's own stays what it is."""
    before = dict(os.environ)
    worker_environment(os.environ, 1, "n", 1.0, {"GPTPROXY_WORKER": "1:2:3"})
    assert dict(os.environ) == before
