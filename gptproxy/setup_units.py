"""
``gptproxy setup --systemd``: the package's units and its user, for an installation elsewhere.

Imports the process room's unit files as data, and of Twisted the list of plugins that twistd keeps.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

from gptproxy.config import DEFAULT_PATH
from gptproxy.setup_files import replace_file

__all__ = ["unit_files", "worker_unit", "write_units"]

_DEBIAN_COMMAND = "ExecStart=/usr/bin/twistd3 "
_DEBIAN_CONFIGURATION = "--config /etc/gptproxy/gptproxy.toml"

_OF_A_WORKER = (
    ("or Azure OpenAI\n", "or Azure OpenAI, worker %i\n"),
    ("NonBlocking=yes\n", "NonBlocking=yes\nSockets=gptproxy.socket\n"),
    (
        "RuntimeDirectory=gptproxy\n",
        (
            '# From inside it is /run/gptproxy: [admin] listen = "unix:/run/gptproxy/admin" is one socket for each.\n'
            "RuntimeDirectory=gptproxy-%i\nBindPaths=/run/gptproxy-%i:/run/gptproxy\n"
        ),
    ),
)
"""Lines of the service, and what stands in their place where several share the port."""


def write_units(path: Path | None, root: Path = Path("/")) -> int:
    """
    Write the units of a service that runs this very installation.

    :param path: the configuration that it will read; None: the daemon's own place.
    :param root: what stands before the units' paths.
    :return: the exit status.
    """
    twistd = Path(sys.executable).parent / "twistd"
    if not twistd.exists():
        return _failed(
            f"{twistd} is not there: gptproxy must be installed beside Twisted, in a venv"
        )
    if twistd.is_relative_to("/home") or twistd.is_relative_to("/root"):
        return _failed(
            f"{twistd} is in a home, which the service may not see: install it below /opt, say"
        )
    found = unit_files(str(twistd), (path or DEFAULT_PATH).absolute())
    for target, text in found.items():
        below = root / target.relative_to("/")
        try:
            below.parent.mkdir(parents=True, exist_ok=True)
            replace_file(below, text, 0o644)
        except OSError as error:
            return _failed(f"{below} cannot be written: {error.strerror}")
        sys.stdout.write(f"wrote {below}\n")
    if root == Path("/"):
        # twistd's list of plugins is written as it is looked through. The service may not write it, and would say so.
        list(getPlugins(IServiceMaker))
    sys.stdout.write(
        "Now:\n  systemd-sysusers\n  chgrp -R gptproxy /etc/gptproxy && chmod 640 /etc/gptproxy/key.pem\n"
        "  systemctl daemon-reload\n  systemctl enable --now gptproxy.socket gptproxy.service\n"
    )
    return 0


def _failed(message: str) -> int:
    sys.stderr.write(f"gptproxy: {message}\n")
    return 1


def unit_files(twistd: str, configuration: Path) -> dict[Path, str]:
    """
    :param twistd: the command of the installation.
    :param configuration: the file.
    :return: the Debian package's units and its user, for an installation elsewhere.
    """
    units = files("gptproxy.process") / "units"
    service = (units / "gptproxy.service").read_text("utf-8")
    command = f"ExecStart={_for_systemd(twistd)} "
    service = service.replace(_DEBIAN_COMMAND, command)
    service = service.replace(_DEBIAN_CONFIGURATION, f"--config {_for_systemd(str(configuration))}")
    # The package's manual pages are not there.
    service, socket = (
        "".join(line for line in text.splitlines(keepends=True) if "man:gptproxy" not in line)
        for text in (service, (units / "gptproxy.socket").read_text("utf-8"))
    )
    return {
        Path("/etc/systemd/system/gptproxy.service"): service,
        Path("/etc/systemd/system/gptproxy@.service"): worker_unit(service),
        Path("/etc/systemd/system/gptproxy.socket"): socket,
        Path("/etc/sysusers.d/gptproxy.conf"): (units / "gptproxy.conf").read_text("utf-8"),
    }


def worker_unit(service: str) -> str:
    """
    :param service: gptproxy.service.
    :return: gptproxy@.service: processes that share the socket unit's port and are restarted one after the other.
    :raise ValueError: it is another service.
    """
    for line, instead in _OF_A_WORKER:
        if service.count(line) != 1:
            raise ValueError(f"not once in the service: {line}")
        service = service.replace(line, instead)
    return service


def _for_systemd(text: str) -> str:
    """:return: one word of a command line (systemd.service(5), COMMAND LINES; systemd.unit(5), SPECIFIERS)."""
    doubled = text.replace("%", "%%").replace("$", "$$")
    plain = all(character.isalnum() or character in "/._+-%$@" for character in doubled)
    return doubled if plain else json.dumps(doubled, ensure_ascii=False)
