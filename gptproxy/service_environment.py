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
    if config not in (None, DEFAULT_PATH) or not _is_there(root / DEFAULT_PATH.relative_to("/")):
        return {}
    credentials = root / "run/credentials"
    # A worker that shares the port (gptproxy@1.service) has its own copy.
    running = [credentials / "gptproxy.service", *sorted(credentials.glob("gptproxy@*.service"))]
    state = root / "var/lib/gptproxy"
    found = {
        "CREDENTIALS_DIRECTORY": next((str(one) for one in running if _is_there(one)), None),
        "STATE_DIRECTORY": str(state) if _is_there(state) else None,
    }
    return {
        name: value for name, value in found.items() if value is not None and name not in environ
    }


def _is_there(path: Path) -> bool:
    """:return: whether it can be seen: one who may not look into its folder has nothing of it."""
    try:
        path.stat()
    except OSError:
        return False
    return True
