"""
``twistd gptproxy``: from options to a running service.

The only composition root: leaves are built first and handed down as arguments. The only place that asks for a reactor.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn, cast

from twisted.application.service import IService
from twisted.python import usage

from gptproxy import __version__
from gptproxy.config import ConfigurationError, Settings, load_settings

__all__ = ["Options", "makeService"]

DEFAULT_PORT = "ssl:443"


class Options(usage.Options):
    """The command line behind ``twistd gptproxy``."""

    synopsis = "[--config FILE] [--port ENDPOINT]..."
    longdesc = (
        "Serves OpenAI's API to whoever has a token of the configured GitLab, and answers from OpenAI or Azure. "
        "Without --config it reads /etc/gptproxy/gptproxy.toml; where that is missing, the environment variables "
        "PrimaryApiKey, SecondaryApiKey and UserTokens; where they are not set either, callers bring their own "
        "Azure key."
    )
    optParameters = [
        ["config", "c", None, "Configuration file: TOML, or JSON where it ends in .json."],
    ]

    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        self["ports"] = []

    def opt_port(self, description: str) -> None:
        """Twisted endpoint to listen on, for example ssl:443 or tcp:8480:interface=127.0.0.1; may be repeated.
        [default: ssl:443] An ssl endpoint without a key of its own uses [tls] of the configuration."""
        self["ports"].append(description)

    opt_p = opt_port

    def opt_version(self) -> NoReturn:
        """Print gptproxy's version and exit."""
        sys.stdout.write(f"gptproxy {__version__}\n")
        raise SystemExit(0)

    def parseArgs(self, *stray: str) -> None:
        """
        :param stray: what belongs to no option.
        :raise UsageError: there is such a thing.
        """
        if stray:
            raise usage.UsageError(
                f"{stray[0]}: unknown argument; each endpoint needs a --port of its own"
            )

    def parseOptions(self, options: list[str] | None = None) -> None:
        """
        :param options: the command line.
        :raise SystemExit: it is wrong, or the configuration is: one line for each fault is on stderr, the status is 1.
            (twistd itself would print them on stdout, and on Twisted 24.11 exit with status 0.)
        """
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _exit(str(error))
        except ConfigurationError as error:
            _exit(str(error))

    def postOptions(self) -> None:
        """Read the configuration now: twistd may change the directory, and its standard error, later."""
        working_directory = Path.cwd()
        path = Path(self["config"]) if self["config"] is not None else None
        self.settings = load_settings(path, environ=os.environ, working_directory=working_directory)
        self["ports"] = self["ports"] or [DEFAULT_PORT]


def makeService(options: Options) -> IService:
    """
    :param options: the command line.
    :return: the daemon: it listens when started with privileges, and serves when started.
    :raise SystemExit: a file that the service needs cannot be used; stderr says which.
    """
    from twisted.internet import reactor as installed

    from gptproxy.daemon import daemon
    from gptproxy.http import ImmediateReactor, IReactor
    from gptproxy.listening import UnusableEndpoint

    # Twisted types its reactor by its oldest interfaces; the installed one provides these too.
    reactor = cast(IReactor, ImmediateReactor(installed))
    parent = options.parent
    try:
        return daemon(
            options.settings,
            options["ports"],
            reactor,
            pid_file=parent["pidfile"] if parent is not None else None,
            # On POSIX alone is there a background to go into, and an option to stay out of it.
            foreground=parent is None or bool(parent.get("nodaemon", True)),
        )
    except (ConfigurationError, UnusableEndpoint) as error:
        _exit(str(error))


def _exit(message: str) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"gptproxy: {line}\n")
    raise SystemExit(1)
