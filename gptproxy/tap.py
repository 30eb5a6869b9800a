"""
``twistd gptproxy``: from options to a running service.

The only composition root: leaves are built first and handed down as arguments. The only place that asks for a reactor.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from attrs import evolve
from twisted.application.service import IService, IServiceCollection
from twisted.internet.interfaces import IReactorFDSet
from twisted.python import usage

from gptproxy import __version__
from gptproxy.config import ConfigurationError, Problem, Settings, load_settings

__all__ = ["Options", "makeService"]

DEFAULT_PORT = "ssl:443"

_TWISTD = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


class Options(usage.Options):
    """The command line behind ``twistd gptproxy``."""

    synopsis = "[--config FILE] [--port ENDPOINT]... [--workers N]"
    longdesc = (
        "Serves OpenAI's API to whoever has a token of the configured GitLab, and answers from OpenAI or Azure. "
        "Without --config it reads /etc/gptproxy/gptproxy.toml; where that is missing, the environment variables "
        "PrimaryApiKey, SecondaryApiKey and UserTokens; where they are not set either, callers bring their own "
        "Azure key."
    )
    optParameters = [
        ["config", "c", None, "Configuration file: TOML, or JSON where it ends in .json."],
        [
            "workers",
            "w",
            None,
            "Processes, or auto for one on each core. [default: [process] workers]",
        ],
    ]

    settings: Settings
    workers: int = 1

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
        self._working_directory = Path.cwd()
        self.settings = self.load()
        self["ports"] = self["ports"] or [DEFAULT_PORT]
        from gptproxy.workers import worker_count

        try:
            self.workers = worker_count(self.settings.process, self["workers"])
        except ValueError:
            raise usage.UsageError("--workers: must be a number from 1 to 256, or auto") from None

    def load(self) -> Settings:
        """
        Read the configuration.

        :return: the settings.
        :raise ConfigurationError: it is wrong.
        """
        path = Path(self["config"]) if self["config"] is not None else None
        folder = self._working_directory
        return load_settings(path, environ=os.environ, working_directory=folder)


def makeService(options: Options) -> IService:
    """
    :param options: the command line.
    :return: the daemon: it listens when started with privileges, and serves when started.
    :raise SystemExit: a file that the service needs cannot be used; stderr says which.
    """
    from twisted.internet import reactor as installed

    from gptproxy.http import ImmediateReactor, IReactor
    from gptproxy.listening import UnusableEndpoint
    from gptproxy.logs import Logs
    from gptproxy.workers import ParentWatch, divided, member_from, share_metrics

    # Twisted types its reactor by its oldest interfaces; the installed one provides these too.
    reactor = cast(IReactor, ImmediateReactor(installed))
    parent = options.parent
    pid_file = parent["pidfile"] if parent is not None else None
    # On POSIX alone is there a background to go into, and an option to stay out of it.
    foreground = parent is None or bool(parent.get("nodaemon", True))
    member = member_from(os.environ)
    settings = options.settings
    try:
        if member is None and options.workers > 1:
            return _several(options, installed, pid_file, foreground=foreground)
        from gptproxy.daemon import daemon

        load = options.load
        if member is not None:
            if settings.admin.listen is not None:
                # Nobody counts anything else, and prometheus_client need not be there.
                share_metrics(member)
            workers = member.workers

            def load() -> Settings:
                whole = options.load()
                return evolve(whole, limits=divided(whole.limits, workers))

            settings = evolve(settings, limits=divided(settings.limits, workers))
        service = daemon(
            settings,
            options["ports"],
            reactor,
            pid_file=pid_file,
            foreground=foreground,
            environ=os.environ,
            load=load,
            logs=None if parent is None else Logs(parent, settings, os.environ, reactor, reactor),
        )
    except (ConfigurationError, UnusableEndpoint) as error:
        _exit(str(error))
    if member is not None:
        ParentWatch(cast(IReactorFDSet, reactor)).setServiceParent(IServiceCollection(service))
    return service


def _several(options: Options, reactor: Any, pid_file: str | None, *, foreground: bool) -> IService:
    """:return: the parent of several workers, each of which is what makeService returns for one."""
    from gptproxy.logs import LoggedService, Logs
    from gptproxy.tls import server_certificate
    from gptproxy.workers import WorkerCommand, add_workers, is_shared, log_options

    settings = options.settings
    parent: Mapping[str, object] = options.parent or {}
    folder = Path.cwd()
    config = options["config"]
    path = None if config is None else folder / config

    def check() -> float:
        fresh = load_settings(path, environ=os.environ, working_directory=folder)
        if any(port.startswith("ssl:") for port in options["ports"]):
            server_certificate(fresh.tls, fresh.source)
        return fresh.process.drain_seconds

    def words(number: int, ports: Sequence[str]) -> list[str]:
        safe = [] if "" in sys.path else ["-P"]
        words = [sys.executable, *safe, "-c", _TWISTD, "--nodaemon", "--pidfile="]
        words += log_options(parent, number)
        if parent.get("reactor"):
            words += ["--reactor", str(parent["reactor"])]
        words += ["gptproxy", "--workers", "1"]
        if path is not None:
            words += ["--config", str(path)]
        for port in ports[: len(options["ports"])]:
            words += ["--port", port]
        return words

    ports = list(options["ports"])
    if settings.admin.listen is not None:
        if not is_shared(settings.admin.listen):
            problem = "several workers share a listener of TCP alone: tcp:9480:interface=127.0.0.1"
            raise ConfigurationError([Problem(settings.source, "admin.listen", problem)])
        ports.append(settings.admin.listen)
    service = LoggedService(Logs(parent, settings, os.environ, reactor, reactor))
    add_workers(
        service,
        options.workers,
        # Without a file, the folder is where the certificate is looked for.
        WorkerCommand(words, os.environ, str(folder) if path is None else None),
        ports,
        reactor,
        drain_seconds=settings.process.drain_seconds,
        check=check,
        environ=os.environ,
        pid_file=pid_file,
        foreground=foreground,
    )
    return service


def _exit(message: str) -> NoReturn:
    for line in message.splitlines():
        sys.stderr.write(f"gptproxy: {line}\n")
    raise SystemExit(1)
