"""
What systemd gives to the service and not to a shell: where its credentials and its data are.

Pure but for looking whether folders are there; imports nothing of gptproxy but the configuration's own place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gptproxy.config import DEFAULT_PATH

__all__ = ["service_environment"]

_ROOT = Path("/")


def service_environment(
    environ: Mapping[str, str], config: Path | None, root: Path = _ROOT
) -> dict[str, str]:
    """
    For commands beside the service, which are to see what it sees: encrypted credentials too, which systemd lays open
    for as long as it runs, to root and to the service's user (systemd.exec(5), CREDENTIALS).

    :param environ: the process's environment; what stands there wins.
    :param config: the configuration that was asked for; another one than the service's is not the service's business.
    :param root: what stands before the paths.
    :return: what is to be added.
    """
    if config not in (None, DEFAULT_PATH) or not (root / DEFAULT_PATH.relative_to("/")).exists():
        return {}
    # A worker that shares the port (gptproxy@1.service) has its own copy.
    running = sorted((root / "run/credentials").glob("gptproxy*.service"))
    state = root / "var/lib/gptproxy"
    found = {
        "CREDENTIALS_DIRECTORY": str(running[0]) if running else None,
        "STATE_DIRECTORY": str(state) if state.is_dir() else None,
    }
    return {
        name: value for name, value in found.items() if value is not None and name not in environ
    }
